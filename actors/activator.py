"""Waking what rests: before a request is decided, everything it touches is loaded from the snapshots.

A partition's requests are decided in the order they came: one that waits for a stock holds up those behind
it, and what they need is loaded along with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, cast

from actors.loader import Loader
from actors.origins import Asking
from actors.owned import OwnedPartition
from actors.queries import QUERY_NAMES, ExplainStock, ReadBin, ReadReservation, ReadStock, RecallReservation
from actors.requests import Request
from actors.soundness import Soundness
from engine.apply import UNFIT
from engine.commands import (
    AdjustStock,
    CountStock,
    ExpireStock,
    HoldStock,
    MoveStock,
    PickStock,
    ReceiveStock,
    ReserveLine,
    ReserveStock,
    SettleAttempt,
    StockKey,
    UnholdStock,
)
from engine.images import Rows, restore
from engine.moving import count_needs_past
from engine.state import NEVER_MS
from engine.touching import keys_of, reservation_number, stock_keys
from persistence.ports import RowsChanged, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from actors.host import Host

_OF_ONE_STOCK = frozenset(
    {
        ReserveLine,
        ReceiveStock,
        PickStock,
        MoveStock,
        AdjustStock,
        HoldStock,
        UnholdStock,
        ReadBin,
        ReadStock,
        ExplainStock,
    }
)
"""What touches the stock that it names, and nothing else: most of what comes."""
_LOOK_AHEAD = 1_000
"""Queued requests whose stocks are loaded together."""
_DRAIN_MAX = 500
"""Requests decided in one go before others get a turn."""


@dataclass(slots=True)
class Needs:
    """What is not active yet."""

    stocks: set[StockKey] = field(default_factory=set)
    reservations: dict[int, list[Request]] = field(default_factory=dict)
    attempts: dict[str, list[Request]] = field(default_factory=dict)
    counts: list[Request] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.stocks or self.reservations or self.attempts or self.counts)


class Activator:
    """Loads what requests need, and drains the partitions' queues."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._loader = Loader(host.snapshots, host.ledger, host.spawn)
        self._soundness = Soundness(host.ledger, Asking(self._loader.at, self._loader.last_of))

    def is_prepared(self, owned: OwnedPartition, request: Request) -> bool:
        """Whether a request can be decided now. Expires what is due at the stocks it touches."""
        command = request.command
        if type(command) is ReserveStock and len(command.lines) == 1:
            command = command.lines[0]
        if type(command) in _OF_ONE_STOCK:
            stock = owned.state.stocks.get((command.site, command.sku))
            if stock is None:
                if owned.complete:
                    return True
            elif owned.unchecked and (command.site, command.sku) in owned.unchecked:
                pass
            elif stock.due_ms == NEVER_MS or stock.due_ms > self._now_ms(owned):
                return True
        needs = Needs()
        self._collect(owned, request, needs)
        return not needs

    def _now_ms(self, owned: OwnedPartition) -> int:
        """Return the time by which the next command is decided: a partition's never goes back."""
        return max(self._host.clock(), owned.state.at_ms)

    def _collect(self, owned: OwnedPartition, request: Request, needs: Needs) -> None:
        """Add what a request lacks."""
        state, command = owned.state, request.command
        if type(command) is RecallReservation:
            return  # The ledger alone knows.
        number = command.number if type(command) is ReadReservation else None
        is_query = type(command) in QUERY_NAMES
        if number is None and not is_query:
            number = reservation_number(command)
        if number is not None and number not in state.reservations:
            if request.looked_up is not owned and number <= owned.snapshot_seq:
                needs.reservations.setdefault(number, []).append(request)
            return
        if (
            type(command) is SettleAttempt
            and command.attempt not in state.attempts
            and request.looked_up is not owned
        ):
            needs.attempts.setdefault(command.attempt, []).append(request)
            return
        keys: list[StockKey]
        if type(command) is ReadReservation:
            keys = keys_of(state.reservations[command.number])
        elif is_query:
            keys = [(command.site, command.sku)]
        else:
            keys = list(stock_keys(state, command))
        if (
            not self._lacks_stocks(owned, keys, needs)
            and type(command) is CountStock
            and count_needs_past(state, command)
        ):
            needs.counts.append(request)

    def _lacks_stocks(self, owned: OwnedPartition, keys: list[StockKey], needs: Needs) -> bool:
        """Add stocks that rest or were not checked; at those that are active, expire what is due."""
        stocks, unchecked = owned.state.stocks, owned.unchecked
        resting = [] if owned.complete else [key for key in keys if key not in stocks or key in unchecked]
        now_ms = self._now_ms(owned)
        for key in keys:
            stock = stocks.get(key)
            if stock is not None and stock.due_ms <= now_ms and key not in unchecked:
                others = [] if owned.complete else stock_keys(owned.state, ExpireStock(*key))
                asleep = [other for other in others if other not in stocks or other in unchecked]
                resting += asleep
                if not asleep:
                    self._host.expire(owned, stock)
        needs.stocks.update(resting)
        return bool(resting)

    def wake(self, owned: OwnedPartition) -> None:
        """Start to work on a partition's queue, unless that is under way."""
        if owned.is_ready and owned.queue and not owned.is_activating:
            owned.is_activating = True
            self._host.spawn(self._run(owned))

    async def _run(self, owned: OwnedPartition) -> None:
        host, number = self._host, owned.state.number
        retry_s = 0.02
        try:
            while owned.queue and owned.is_ready and host.owned.get(number) is owned:
                try:
                    await self._load(owned)
                except Unavailable:
                    await host.sleep(retry_s)
                    retry_s = min(retry_s * 2, 0.5)
                    continue
                except RowsChanged as fault:
                    host.ownership.refuse_changed(fault)
                    continue
                for _ in range(_DRAIN_MAX):
                    if not self._has_next(owned):
                        break
                    host.handle(owned, owned.queue.popleft())
                if host.committer.open.requests or host.committer.open.entries:
                    host.committer.kick()
                await host.sleep(0)
        finally:
            owned.is_activating = False

    def _has_next(self, owned: OwnedPartition) -> bool:
        """Whether the first request of the queue can be decided now."""
        return owned.is_ready and bool(owned.queue) and self.is_prepared(owned, owned.queue[0])

    async def _load(self, owned: OwnedPartition) -> None:
        """Load what the first requests of the queue need. Raises Unavailable or RowsChanged."""
        needs = Needs()
        for request in islice(owned.queue, _LOOK_AHEAD):
            self._collect(owned, request, needs)
        number, snapshots = owned.state.number, self._host.snapshots
        for reservation, waiting in needs.reservations.items():
            rows = await snapshots.load_reservation(number, reservation)
            if await self._is_wrong(owned, reservation, rows):
                return
            self._restore(owned, (), rows, waiting)
        for attempt, waiting in needs.attempts.items():
            rows = await snapshots.load_attempt(number, attempt)
            if not rows.reservations and await self._is_lost(owned, attempt, waiting):
                return
            if await self._is_wrong(owned, None, rows):
                return
            self._restore(owned, (), rows, waiting)
        if needs.stocks and not await self._wake_stocks(owned, needs.stocks):
            return
        for request in needs.counts:
            await self._look_back(owned, request)

    async def _wake_stocks(self, owned: OwnedPartition, keys: set[StockKey]) -> bool:
        """Make resting stocks active, and compare with the ledger what came from a snapshot.

        False: the snapshot is wrong, and the partition is being rebuilt. Raises Unavailable.
        """
        number = owned.state.number
        asleep = {key for key in keys if key not in owned.state.stocks}
        loaded = await self._loader.load(number, asleep, keys, owned.committed_seq)
        if self._host.owned.get(number) is not owned:
            return False
        try:
            restore(owned.state, asleep, loaded.rows)
            owned.unchecked |= asleep
            why = await self._soundness.of_stocks(owned, keys, loaded.last)
        except UNFIT as fault:
            why = f"rows that cannot be read: {fault!r}"
        if why:
            if self._host.owned.get(number) is owned:
                self._host.ownership.distrust(number, why)
            return False
        owned.unchecked -= keys
        return True

    async def _is_wrong(self, owned: OwnedPartition, number: int | None, rows: Rows) -> bool:
        """Whether the rows of a reservation are not what the ledger says, or there are none and should be.

        Then the partition is being rebuilt. Raises Unavailable.
        """
        return await self._is_distrusted(owned, self._soundness.of_rows(owned, number, rows))

    async def _is_lost(self, owned: OwnedPartition, attempt: str, waiting: list[Request]) -> bool:
        """Whether the ledger has the decision of an attempt that the snapshot does not know."""
        asked = cast("list[SettleAttempt]", [request.command for request in waiting])
        opened_seq = min(command.opened_seq for command in asked)
        return await self._is_distrusted(owned, self._soundness.of_attempt(owned, attempt, opened_seq))

    async def _is_distrusted(self, owned: OwnedPartition, looking: Awaitable[str]) -> bool:
        try:
            why = await looking
        except UNFIT as fault:
            why = f"rows that cannot be read: {fault!r}"
        if why and self._host.owned.get(owned.state.number) is owned:
            self._host.ownership.distrust(owned.state.number, why)
        return bool(why)

    def _restore(
        self,
        owned: OwnedPartition,
        keys: set[StockKey] | tuple[()],
        rows: Rows,
        waiting: list[Request] | tuple[()],
    ) -> None:
        try:
            restore(owned.state, keys, rows)
        except UNFIT as fault:
            self._host.ownership.distrust(owned.state.number, f"rows that cannot be read: {fault!r}")
            return
        for request in waiting:
            request.looked_up = owned
        if waiting:
            owned.visitors.update(row.number for row in rows.reservations)

    async def _look_back(self, owned: OwnedPartition, request: Request) -> None:
        """Fill in what was on hand when the counter looked."""
        count: CountStock = request.command
        assert count.seen_seq is not None
        entries = await self._host.ledger.balances(
            owned.state.number, (count.site, count.sku), count.seen_seq
        )
        lots = {
            entry.lot: entry.on_hand
            for entry in entries
            if entry.location == count.location and entry.on_hand
        }
        lot = count.lot
        if lot is None:
            bin_ = owned.state.stocks[count.site, count.sku].bins[count.location]
            now = [found.code for found in bin_.lots if found.on_hand]
            lot = now[0] if now else next(iter(lots), "")
        request.command = count._replace(on_hand_seen=lots.get(lot, 0))

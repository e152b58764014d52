"""The auditor: checks while the host runs that memory, the snapshot and the ledger are the same stock.

It goes through the host's partitions one after another. Of each it has the database add up the whole ledger,
by kinds and quantities alone, a stretch at a time, and looks whether each row's balances follow from the sum.
Then it compares each lot: memory with the sum, and the snapshot's row with the sum, also where a stock rests.
A lot that moved on meanwhile is compared with the ledger's row that moved it, which the next round adds up; a
row that a snapshot will write again is left to the next round too. Reserved units are compared with what open
reservations hold.

It works in steps of some milliseconds, rests in proportion to what they took, and longer on a busy host.
"""

from __future__ import annotations

from collections import Counter
from time import perf_counter
from typing import TYPE_CHECKING

import structlog

from actors.sums import Balance, Place, Sum, Sums
from persistence.ports import SUMMED_MAX, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    from actors.host import Host
    from actors.owned import OwnedPartition
    from engine.commands import StockKey
    from engine.entries import Entry
    from engine.images import LotRow
    from engine.state import Reservation, Stock

_log = structlog.get_logger()

_ROUND_S = 1.0
"""Between rounds."""
_STINT_S = 0.02
"""Work after which there is a rest."""
_REST = 20
"""Rests are so many times as long as the work before: a twentieth of the time at most."""
_BUSY_REST = 50
_BUSY_IN_FLIGHT = 64
"""Requests in flight from which on a host is busy."""
_COMPARED_MAX = 1_000
"""Lots and reservations that are looked at in one go: 2 ms. A stock with more lots is taken whole."""
_LOTS_MAX = 50_000
"""Lots whose sums are remembered: 25 MB. A partition that has more is audited in shares of its SKUs."""
_SHARES_MAX = 4_096
_DURABLE_TRIES = 400
_DURABLE_POLL_S = 0.005
_LOGGED_MAX = 100
"""Places that are logged in a round."""

_NOTHING = Sum()


Seen = dict[Place, tuple[int, Balance]]
"""A stock in memory, as it was at one sequence number: each lot's last entry, and its balances."""


class Auditor:
    """Compares memory and snapshots with the sum of the ledger.

    `pace` is awaited after each step with the seconds that it took.
    """

    def __init__(
        self,
        host: Host,
        *,
        pace: Callable[[float], Awaitable[None]] | None = None,
        stretch: int = SUMMED_MAX,
        lots_max: int = _LOTS_MAX,
    ) -> None:
        self._host = host
        self._pace = pace or self._rest
        self._stretch = stretch
        self._lots_max = lots_max
        self._began_s = 0.0
        self._spent_s = 0.0
        self._found = 0
        self._logged = 0

    async def run(self) -> None:
        """Audit until cancelled."""
        while True:
            await self._host.sleep(_ROUND_S)
            await self.round()

    async def round(self) -> None:
        """Audit everything once.

        What is found is published at once; it is taken back when a whole round finds less.
        """
        gauges = self._host.gauges
        self._found = self._logged = 0
        self._began_s = perf_counter()
        is_whole = bool(self._host.owned)
        for owned in list(self._host.owned.values()):
            try:
                await self._audit(owned)
            except Unavailable as fault:
                _log.info("audit_waits", fault=str(fault))
                is_whole = False
            is_whole = is_whole and self._is_ours(owned)
            await self._stepped()
        if is_whole:
            gauges.drift = self._found
            gauges.audit_rounds += 1

    async def _stepped(self) -> None:
        """Publish what was found, and give others a turn."""
        self._host.gauges.drift = max(self._host.gauges.drift, self._found)
        await self._pace(perf_counter() - self._began_s)
        self._began_s = perf_counter()

    async def _rest(self, spent_s: float) -> None:
        self._spent_s += spent_s
        if self._spent_s >= _STINT_S:
            is_busy = self._host.in_flight >= _BUSY_IN_FLIGHT
            await self._host.sleep(self._spent_s * (_BUSY_REST if is_busy else _REST))
            self._spent_s = 0.0

    def _is_ours(self, owned: OwnedPartition) -> bool:
        """Whether what was seen of a partition still counts: it was neither lost nor rewound."""
        return owned.is_ready and self._host.owned.get(owned.state.number) is owned

    async def _audit(self, owned: OwnedPartition) -> None:
        """Audit a partition, in shares of its SKUs if it has very many lots. Raises Unavailable."""
        todo = [(0, 1)]
        while todo and self._is_ours(owned):
            share, shares = todo.pop()
            sums = Sums(share, shares)
            if await self._add_up(owned, sums, self._lots_max if shares < _SHARES_MAX else None):
                await self._compare(owned, sums)
            else:
                todo += [(share, shares * 2), (share + shares, shares * 2)]

    async def _add_up(self, owned: OwnedPartition, sums: Sums, lots_max: int | None) -> bool:
        """Add up what of a partition's ledger is durable now; False when it has too many lots."""
        number, until_seq = owned.state.number, owned.committed_seq
        while sums.seq < until_seq and self._is_ours(owned):
            next_seq = min(sums.seq + self._stretch, until_seq)
            sums.add(await self._host.ledger.sums(number, sums.seq, next_seq), next_seq)
            if lots_max is not None and sums.lots > lots_max:
                return False
            await self._stepped()
        return True

    async def _compare(self, owned: OwnedPartition, sums: Sums) -> None:
        """Compare memory and the snapshot with the sums, some stocks at a time."""
        stocks = owned.state.stocks
        keys = [*sums.of, *(key for key in stocks if key not in sums.of and sums.has(key[1]))]
        group: list[StockKey] = []
        weight = 0
        for key in keys:
            group.append(key)
            stock = stocks.get(key)
            weight += 1 + len(sums.of.get(key, ())) + len((stock and stock.reservations) or ())
            if weight >= _COMPARED_MAX:
                await self._compare_stocks(owned, sums, group)
                await self._stepped()
                group, weight = [], 0
        await self._compare_stocks(owned, sums, group)

    async def _compare_stocks(self, owned: OwnedPartition, sums: Sums, keys: list[StockKey]) -> None:
        if not keys or not self._is_ours(owned):
            return
        host, state = self._host, owned.state
        snapshot_seq, seq = owned.snapshot_seq, state.seq
        seen = {key: _lots_of(state.stocks[key]) for key in keys if key in state.stocks}
        for key in seen:
            await self._compare_reservations(key, state.stocks.get(key))
        rows: dict[StockKey, dict[Place, LotRow]] = {}
        for row in await host.snapshots.lots(keys):
            rows.setdefault((row.site, row.sku), {})[row.location, row.lot] = row
        last = await self._moved_on(owned, sums, seen, seq)
        if not self._is_ours(owned):
            return
        for key in keys:
            self._compare_stock(key, sums, seen.get(key), rows.get(key, {}), last, snapshot_seq)
        host.gauges.audits += len(keys)

    async def _moved_on(
        self, owned: OwnedPartition, sums: Sums, seen: dict[StockKey, Seen], seq: int
    ) -> dict[int, Entry] | None:
        """Return the last entries of lots that have one after those added up; None: not durable yet."""
        seqs = [lot_seq for lots in seen.values() for lot_seq, _ in lots.values() if lot_seq > sums.seq]
        if not seqs:
            return {}
        for _ in range(_DURABLE_TRIES):
            if owned.committed_seq >= seq or not self._is_ours(owned):
                break
            await self._host.sleep(_DURABLE_POLL_S)
        else:
            return None
        entries = await self._host.ledger.at([(owned.state.number, lot_seq) for lot_seq in seqs])
        return {entry.seq: entry for entry in entries}

    def _compare_stock(
        self,
        key: StockKey,
        sums: Sums,
        seen: Seen | None,
        rows: dict[Place, LotRow],
        last: dict[int, Entry] | None,
        snapshot_seq: int,
    ) -> None:
        totals = sums.of.get(key, {})
        for place in totals.keys() | rows.keys() | (seen or {}).keys():
            total = totals.get(place, _NOTHING)
            self._differ(key, place, "entries", total.beyond, (0, 0, 0))
            if seen is not None:
                lot_seq, balance = seen.get(place, (0, (0, 0, 0)))
                if lot_seq <= sums.seq:
                    self._differ(key, place, "memory", balance, total.balance)
                elif last is not None:
                    self._differ(key, place, "memory", balance, _balance_at(last.get(lot_seq), key, place))
            row = rows.get(place)
            is_written = seen is None or total.seq <= snapshot_seq
            if is_written and (row is None or row.seq <= sums.seq):
                balance = (row.on_hand, row.reserved, row.held) if row else (0, 0, 0)
                self._differ(key, place, "snapshot", balance, total.balance)

    async def _compare_reservations(self, key: StockKey, stock: Stock | None) -> None:
        """Compare reserved units with what open reservations hold, unless the stock changes meanwhile."""
        if stock is None:
            return
        seq = _last_seq(stock)
        promised: Counter[Place] = Counter()
        for some in _in_groups((stock.reservations or {}).values()):
            _add_promised(promised, key, some)
            if len(some) == _COMPARED_MAX:
                await self._host.sleep(0)
        if _last_seq(stock) != seq:
            return
        reserved = {place: balance[1] for place, (_, balance) in _lots_of(stock).items()}
        for place in reserved.keys() | promised.keys():
            self._differ(key, place, "reservations", (0, promised[place], 0), (0, reserved.get(place, 0), 0))

    def _differ(self, key: StockKey, place: Place, what: str, found: Balance, expected: Balance) -> None:
        """Count by how many units a place differs, and log it."""
        if found == expected:
            return
        self._found += sum(abs(one - other) for one, other in zip(found, expected, strict=True))
        self._logged += 1
        if self._logged <= _LOGGED_MAX:
            site, sku = key
            location, lot = place
            _log.error(
                "drift",
                of=what,
                site=site,
                sku=sku,
                location=location,
                lot=lot,
                found=found,
                expected=expected,
            )


def _lots_of(stock: Stock) -> Seen:
    return {
        (bin_.location, lot.code): (lot.seq, (lot.on_hand, lot.reserved, lot.held))
        for bin_ in stock.bins.values()
        for lot in bin_.lots
    }


def _last_seq(stock: Stock) -> int:
    return max((bin_.seq for bin_ in stock.bins.values()), default=0)


def _balance_at(entry: Entry | None, key: StockKey, place: Place) -> Balance:
    """Return what an entry says of a lot; nothing when it is about another."""
    if entry is None or (entry.site, entry.sku, entry.location, entry.lot) != (*key, *place):
        return (0, 0, 0)
    return entry.on_hand, entry.reserved, entry.held


def _in_groups(reservations: Iterable[Reservation]) -> Iterator[list[Reservation]]:
    """Go through reservations as they are now, some at a time."""
    every = list(reservations)
    for start in range(0, len(every), _COMPARED_MAX):
        yield every[start : start + _COMPARED_MAX]


def _add_promised(promised: Counter[Place], key: StockKey, reservations: list[Reservation]) -> None:
    """Add what reservations hold of each lot of a stock."""
    for reservation in reservations:
        for line in reservation.lines:
            if (line.site, line.sku) == key:
                for allocation in line.allocations:
                    promised[allocation.location, allocation.lot] += allocation.open

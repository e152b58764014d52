"""What the owner's clock does: expire what is due, and settle attempts that were left undecided."""

from __future__ import annotations

import heapq
from collections import deque
from typing import TYPE_CHECKING

import structlog

from actors.outcomes import Answered, Fault
from actors.owned import OwnedPartition
from actors.ports import Gateway
from actors.requests import Request
from engine.commands import AbandonReservation, ConfirmReservation, ExpireStock, SettleAttempt, StockKey
from engine.touching import keys_of

if TYPE_CHECKING:
    from actors.host import Host
    from engine.state import Reservation

_log = structlog.get_logger()

_TICK_S = 0.1
_DUE_PER_TICK = 1_000
_SETTLING_MAX = 100
"""Shares that are settled at the same time; the others are next."""
_RESTING_TTL_S = 30.0
"""How long a share is waited for at the most that a new owner knows from the snapshot alone."""


class Clockwork:
    """Sends a host the commands that are due. Promptness only: nothing due is ever sold, ticked or not."""

    def __init__(self, host: Host, peers: Gateway) -> None:
        self._host = host
        self._peers = peers
        self._overdue: deque[tuple[int, int]] = deque()
        """(partition, number) of the tentative shares that are settled next. One that could not be settled
        comes last again, so that those whose home stays away keep nobody waiting."""
        self._settling: set[tuple[int, int]] = set()
        self._seen_s: dict[tuple[int, int], float] = {}
        """Since when tentative shares are known here, by the host's stopwatch."""

    async def run(self) -> None:
        """Tick until cancelled."""
        host = self._host
        since_sweep_s = 0.0
        while True:
            await host.sleep(_TICK_S)
            self.expire_due()
            since_sweep_s += _TICK_S
            if since_sweep_s >= host.options.tentative_sweep_s:
                since_sweep_s = 0.0
                self.settle_overdue()

    def expire_due(self) -> None:
        """Have everything expired whose time has come."""
        now_ms = self._host.clock()
        due: list[Request] = []
        for owned in self._host.owned.values():
            if owned.is_ready:
                owned_ms = max(now_ms, owned.state.at_ms)
                due += [
                    Request(None, 0, owned.state.number, "expire", ExpireStock(*key))
                    for key in _due_keys(owned, owned_ms, _DUE_PER_TICK - len(due))
                ]
        if due:
            self._host.receive(due, is_internal=True)

    def settle_overdue(self) -> None:
        """Ask the home partitions of tentative shares that are past their deadline what became of them.

        A clock that was set back makes nobody wait: what has been known here for as long is overdue too.
        """
        host, now_ms, now_s = self._host, self._host.clock(), self._host.stopwatch()
        seen_s: dict[tuple[int, int], float] = {}
        overdue = []
        for number, owned in host.owned.items():
            for reservation, deadline_ms in owned.state.tentative.items():
                share = number, reservation
                since_s = seen_s[share] = self._seen_s.get(share, now_s)
                if deadline_ms <= now_ms or now_s - since_s >= _ttl_s(owned, reservation, deadline_ms):
                    overdue.append(share)
        self._seen_s = seen_s
        if len(self._overdue) < _SETTLING_MAX:
            known = self._settling.union(self._overdue)
            self._overdue.extend(share for share in overdue if share not in known)
        while self._overdue and len(self._settling) < _SETTLING_MAX:
            share = number, reservation = self._overdue.popleft()
            found = host.owned.get(number)
            if found is not None and reservation in found.state.tentative:
                self._settling.add(share)
                host.spawn(self._settle(number, reservation))

    async def _settle(self, number: int, reservation_number: int) -> None:
        try:
            await self._settle_share(number, reservation_number)
        except Fault as fault:
            _log.info("settling_waits", partition=number, fault=str(fault))
        finally:
            self._settling.discard((number, reservation_number))

    async def _settle_share(self, number: int, reservation_number: int) -> None:
        owned = self._host.owned.get(number)
        reservation = owned.state.reservations.get(reservation_number) if owned is not None else None
        if owned is not None and reservation is None:
            await self._activate(owned, reservation_number)
            reservation = owned.state.reservations.get(reservation_number)
        if owned is None or reservation is None or reservation.deadline_ms is None:
            return
        if _is_unchecked(owned, reservation):
            await self._wake(owned, keys_of(reservation)[0])
            return  # The next sweep finds it compared, or the partition rebuilt.
        assert reservation.home is not None and reservation.attempt is not None  # noqa: PT018 - one fact
        attempt, (home, opened_seq) = reservation.attempt, reservation.home
        key = f"{attempt} settle {number} {self._host.clock()}"
        asked = await self._peers.submit(home, SettleAttempt(attempt, opened_seq), key)
        if not isinstance(asked, Answered):  # Home has been put back to before the attempt was opened.
            _log.info("settling_waits", partition=number, fault=str(asked.code))
            return
        opened_at_ms = reservation.opened_at_ms
        if asked.view["decided"]:
            command: ConfirmReservation | AbandonReservation = ConfirmReservation(
                reservation_number, opened_at_ms, asked.view["home_number"], asked.view["expires_at_ms"]
            )
        else:
            command = AbandonReservation(reservation_number, opened_at_ms)
        await self._peers.submit(number, command, f"{attempt} settled {number}")

    async def _activate(self, owned: OwnedPartition, reservation_number: int) -> None:
        """Wake a share that only the snapshot knows, through the mailbox."""
        rows = await self._host.snapshots.load_reservation(owned.state.number, reservation_number)
        if not rows.reservations or not rows.reservations[0].open:
            owned.state.tentative.pop(reservation_number, None)
            return
        await self._wake(owned, (rows.lines[0].site, rows.lines[0].sku))

    async def _wake(self, owned: OwnedPartition, key: StockKey) -> None:
        """Wake a stock through the mailbox."""
        wake = Request(None, 0, owned.state.number, "expire", ExpireStock(*key))
        self._host.receive([wake], is_internal=True)
        await self._host.sleep(_TICK_S)


def _is_unchecked(owned: OwnedPartition, share: Reservation) -> bool:
    """Whether a share's row was not compared with the ledger yet: its deadline is not to be believed."""
    keys = keys_of(share)
    return bool(keys) and all(key in owned.unchecked for key in keys)


def _ttl_s(owned: OwnedPartition, number: int, deadline_ms: int) -> float:
    """Return the seconds that a tentative share was given."""
    reservation = owned.state.reservations.get(number)
    return _RESTING_TTL_S if reservation is None else (deadline_ms - reservation.opened_at_ms) / 1000


def _due_keys(owned: OwnedPartition, now_ms: int, most: int) -> list[StockKey]:
    """Take from the heap what is due and not done yet; a stock whose time moved has another place there."""
    due, state = owned.state.due, owned.state
    keys: list[StockKey] = []
    while due and due[0][0] <= now_ms and len(keys) < most:
        _, key = heapq.heappop(due)
        stock = state.stocks.get(key)
        if stock.due_ms <= now_ms if stock is not None else not owned.complete:
            keys.append(key)
    return keys

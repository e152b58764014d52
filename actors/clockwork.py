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
from engine.state import NEVER_MS

if TYPE_CHECKING:
    from actors.host import Host

_log = structlog.get_logger()

_TICK_S = 0.1
_DUE_PER_TICK = 1_000
_SETTLING_MAX = 100
"""Shares that are settled at the same time; the others are next."""


class Clockwork:
    """Sends a host the commands that are due. Promptness only: nothing due is ever sold, ticked or not."""

    def __init__(self, host: Host, peers: Gateway) -> None:
        self._host = host
        self._peers = peers
        self._overdue: deque[tuple[int, int]] = deque()
        """(partition, number) of the tentative shares that are settled next. One that could not be settled
        comes last again, so that those whose home stays away keep nobody waiting."""
        self._settling: set[tuple[int, int]] = set()

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
        """Ask the home partitions of tentative shares that are past their deadline what became of them."""
        now_ms = self._host.clock()
        if len(self._overdue) < _SETTLING_MAX:
            known = self._settling.union(self._overdue)
            self._overdue.extend(
                (number, reservation)
                for number, owned in self._host.owned.items()
                for reservation, deadline_ms in owned.state.tentative.items()
                if deadline_ms <= now_ms and (number, reservation) not in known
            )
        while self._overdue and len(self._settling) < _SETTLING_MAX:
            share = number, reservation = self._overdue.popleft()
            owned = self._host.owned.get(number)
            if owned is not None and owned.state.tentative.get(reservation, NEVER_MS) <= now_ms:
                self._settling.add(share)
                self._host.spawn(self._settle(number, reservation))

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
        assert reservation.home is not None and reservation.attempt is not None  # noqa: PT018 - one fact
        attempt, home = reservation.attempt, reservation.home[0]
        key = f"{attempt} settle {number} {self._host.clock()}"
        asked = await self._peers.submit(home, SettleAttempt(attempt, reservation.deadline_ms), key)
        if not isinstance(asked, Answered):
            return
        opened_at_ms = reservation.opened_at_ms
        if asked.view["decided"]:
            command: ConfirmReservation | AbandonReservation = ConfirmReservation(
                reservation_number, opened_at_ms, asked.view["home_number"], asked.view["expires_at_ms"]
            )
        elif asked.view["abandoned"]:
            command = AbandonReservation(reservation_number, opened_at_ms)
        else:
            return
        await self._peers.submit(number, command, f"{attempt} settled {number}")

    async def _activate(self, owned: OwnedPartition, reservation_number: int) -> None:
        """Wake a share that only the snapshot knows, through the mailbox."""
        rows = await self._host.snapshots.load_reservation(owned.state.number, reservation_number)
        if not rows.reservations or not rows.reservations[0].open:
            owned.state.tentative.pop(reservation_number, None)
            return
        line = rows.lines[0]
        wake = Request(None, 0, owned.state.number, "expire", ExpireStock(line.site, line.sku))
        self._host.receive([wake], is_internal=True)
        await self._host.sleep(_TICK_S)


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

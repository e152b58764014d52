"""A warehouse's day through lanes: reserves, picks of what was reserved, receipts, moves and counts.

Of a hundred operations 50 reserve, 25 pick, 12 receive a carton, 8 move a unit and 5 count. A count finds
what its bin held when somebody looked, so it changes nothing, but it is an entry all the same.
"""

import asyncio
import random
from collections import Counter, deque
from functools import partial
from typing import Any

from actors.gateway import LaneGateway
from actors.outcomes import Answered, Outcome, OutcomeUnknown, Unavailable
from bench.driving import ACCEPTED, UNAVAILABLE, Drive
from bench.lanes_load import LanesLoad
from bench.workloads import Workload, keys_of
from engine.commands import (
    Command,
    CountStock,
    MoveStock,
    PickReservation,
    ReceiveStock,
    ReserveLine,
    ReserveStock,
)
from engine.partitioning import ReservationAddress, reservation_address

_PICKS, _RESERVES, _RECEIPTS, _MOVES = 0.25, 0.5, 0.12, 0.08
"""Shares of the operations; the rest are counts. Who has nothing to pick or to count reserves or moves."""
_CARTON = 12


class WarehouseLoad(LanesLoad):
    """Operations of every kind, in a mix."""

    async def closed(
        self, workload: Workload, salt: int, *, in_flight: int, warm_s: float, seconds: float
    ) -> dict[str, Any]:
        """See `Driven.closed`; `acknowledged` and `on_hand` are by how much each bin's units grew."""
        drive = Drive()
        operations = _Operations(self.gateway, workload, salt, drive)
        window = await drive.closed(operations.send, in_flight=in_flight, warm_s=warm_s, seconds=seconds)
        told = window.plain(operations.draws)
        return {**told, "acknowledged": operations.reserved, "on_hand": operations.on_hand}


class _Operations:
    """Sends the operations, and keeps what is reserved to be picked, and what was seen to be counted."""

    def __init__(self, gateway: LaneGateway, workload: Workload, salt: int, drive: Drive) -> None:
        self.draws = workload.sequence(salt)
        self._gateway = gateway
        self._workload = workload
        self._partitions = [workload.partition(index, gateway.partitions) for index in range(workload.bins)]
        self._keys = keys_of(salt)
        self._chance = random.Random(salt)
        self._drive = drive
        self._held: deque[tuple[int, ReservationAddress]] = deque()
        self._seen: dict[int, tuple[int, int]] = {}
        self.reserved: Counter[int] = Counter()
        self.on_hand: Counter[int] = Counter()

    def send(self, number: int) -> None:
        """Send the next operation."""
        index = self.draws[number % len(self.draws)]
        drawn = self._chance.random()
        if drawn < _PICKS and self._held:
            index, address = self._held.popleft()
            self._submit(number, index, PickReservation(address.number, address.opened_at_ms))
        elif drawn < _PICKS + _RESERVES:
            line = ReserveLine(self._workload.name, self._workload.sku(index), 1)
            self._submit(number, index, ReserveStock((line,)))
        else:
            self._submit(number, index, self._on_the_floor(index, drawn - _PICKS - _RESERVES))

    def _on_the_floor(self, index: int, drawn: float) -> Command:
        site, sku, location = self._workload.name, self._workload.sku(index), self._workload.location(index)
        if drawn < _RECEIPTS:
            return ReceiveStock(site, sku, location, _CARTON)
        if drawn < _RECEIPTS + _MOVES or index not in self._seen:
            return MoveStock(site, sku, location, f"{location}-B", 1)
        on_hand, seq = self._seen.pop(index)
        return CountStock(site, sku, location, on_hand, seen_seq=seq)

    def _submit(self, number: int, index: int, command: Command) -> None:
        key = f"{self._keys.getrandbits(128):032x}"
        future = self._gateway.submit(self._partitions[index], command, key)
        future.add_done_callback(partial(self._answered, number, index, command))

    def _answered(self, number: int, index: int, command: Command, future: asyncio.Future[Outcome]) -> None:
        fault = future.exception()
        if fault is not None:
            if isinstance(fault, Unavailable) and not isinstance(fault, OutcomeUnknown):
                if isinstance(command, PickReservation):
                    address = ReservationAddress(
                        self._partitions[index], command.number, command.opened_at_ms
                    )
                    self._held.append((index, address))
                self._drive.ended(number, UNAVAILABLE)
            else:
                self._drive.failed(fault)
            return
        outcome = future.result()
        if not isinstance(outcome, Answered):
            self._drive.failed(AssertionError(f"{command} was refused: {outcome}"))
            return
        self._note(index, command, outcome.view)
        self._drive.ended(number, ACCEPTED)

    def _note(self, index: int, command: Command, view: dict[str, Any]) -> None:
        if isinstance(command, ReserveStock):
            self.reserved[index] += 1
            address = reservation_address(view["id"])
            assert address is not None
            self._held.append((index, address))
        elif isinstance(command, PickReservation):
            self.reserved[index] -= 1
            self.on_hand[index] -= 1
        elif isinstance(command, ReceiveStock):
            self.on_hand[index] += _CARTON
            self._seen[index] = view["on_hand"], view["seq"]

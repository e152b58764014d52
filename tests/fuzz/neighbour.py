"""A well-behaved caller beside hostile ones: it is served all the time, with right answers."""

import asyncio
from collections.abc import Sequence
from typing import Any

from actors.gateway import LaneGateway
from actors.outcomes import Answered, Outcome
from actors.queries import ReadStock
from engine.commands import Command, PickStock, ReceiveStock, ReserveLine, ReserveStock
from engine.partitioning import partition_of
from persistence.placement import Placement

SITE = "good neighbour"


class OneHost:
    """A directory that knows one host."""

    def __init__(self, address: str, partitions: int) -> None:
        self._placements = [Placement(number, "one", address, 1) for number in range(partitions)]

    async def placements(self) -> Sequence[Placement]:
        """See `Directory.placements`."""
        return self._placements


class Neighbour:
    """Receives, reserves, picks and reads, and knows what the answers must be."""

    def __init__(self, gateway: LaneGateway, name: str = "neighbour") -> None:
        self._gateway = gateway
        self._name = name
        self._stock = {f"{name} {number}": [0, 0] for number in range(5)}
        """[on hand, reserved] by SKU."""
        self.answers = 0
        self.is_over = False

    async def keep_asking(self) -> int:
        """Ask until it is over; return how many answers came. Raises AssertionError at a wrong one."""
        while not self.is_over:
            await self.ask_about_all()
        return self.answers

    async def ask_about_all(self) -> None:
        """Change each SKU's stock once, and see that it is what it must be."""
        for sku in self._stock:
            await self.ask_about(sku)

    async def ask_about(self, sku: str) -> None:
        """Change a SKU's stock, and see that it is what it must be."""
        stock = self._stock[sku]
        await self._change(sku, ReceiveStock(SITE, sku, "A", 7))
        stock[0] += 7
        await self._change(sku, ReserveStock((ReserveLine(SITE, sku, 2),), 3600))
        stock[1] += 2
        await self._change(sku, PickStock(SITE, sku, 4))
        stock[0] -= 4
        await self._read(sku)

    async def _change(self, sku: str, command: Command) -> None:
        self.answers += 1
        key = f"{self._name} {self.answers}"
        _view_of(await self._gateway.submit(self._partition(sku), command, key))

    async def _read(self, sku: str) -> None:
        asked: asyncio.Future[Outcome] = self._gateway.query(self._partition(sku), ReadStock(SITE, sku))
        view = _view_of(await asked)
        self.answers += 1
        assert [view["on_hand"], view["reserved"]] == self._stock[sku], (sku, view, self._stock[sku])

    def _partition(self, sku: str) -> int:
        return partition_of(SITE, sku, self._gateway.partitions)


def _view_of(outcome: Outcome) -> dict[str, Any]:
    assert isinstance(outcome, Answered), outcome
    return outcome.view

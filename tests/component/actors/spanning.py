"""A reservation of one line in each of three partitions."""

import asyncio
from collections.abc import Awaitable
from typing import Any

from actors.outcomes import Outcome
from actors.queries import Query
from engine.commands import Command, ReserveLine
from tests.component.actors.world import (
    PARTITIONS,
    World,
    skus_in,
    until,
)

SKUS = [skus_in(number, 1)[0] for number in (2, 5, 9)]
"""One in each of three partitions; the first decides."""


class KilledError(BaseException):
    """The coordinator does not exist any more."""


class MortalGateway:
    """A gateway whose owner is killed at its n-th command: before it is sent, or when it is answered."""

    def __init__(self, w: World, *, dies_at: int, sends_it: bool) -> None:
        self.partitions = PARTITIONS
        self._gateway = w.gateway
        self._left = dies_at
        self._sends_it = sends_it
        self.is_dead = False
        self.sent: list[asyncio.Future[Outcome]] = []

    def submit(self, partition: int, command: Command, key: str) -> Awaitable[Outcome]:
        """See `Gateway.submit`."""
        self._left -= 1
        if self.is_dead or (self._left == 0 and not self._sends_it):
            self.is_dead = True
            raise KilledError
        sent = self._gateway.submit(partition, command, key)
        self.sent.append(sent)
        return self._die_after(sent) if self._left == 0 else sent

    async def _die_after(self, sent: Awaitable[Outcome]) -> Outcome:
        await sent
        self.is_dead = True
        raise KilledError

    def query(self, partition: int, query: Query) -> Awaitable[Outcome]:
        """See `Gateway.query`."""
        if self.is_dead:
            raise KilledError
        return self._gateway.query(partition, query)

    async def flush(self) -> None:
        """Nobody asks."""

    async def hosts(self) -> list[dict[str, Any]]:
        """Nobody asks."""
        return []


def lines_of(quantity: int = 1, skus: list[str] | None = None) -> list[ReserveLine]:
    return [ReserveLine("LON", sku, quantity, index=index) for index, sku in enumerate(skus or SKUS)]


async def reserve(w: World, lines: list[ReserveLine], key: str, **fields: Any) -> Outcome:
    options = {"ttl_s": None, "reference": None, "partial": False, **fields}
    return await w.reservations.reserve(lines, key=key, **options)


async def fill(w: World, quantity: int = 10) -> None:
    for sku in SKUS:
        await w.receive(sku, quantity)


async def reserved(w: World) -> list[int]:
    """Return the units reserved of each SKU, once nothing is undecided any more."""
    return [(await w.stock(sku))[1] for sku in SKUS]


async def sweep(w: World) -> None:
    """Let the deadline of whatever is undecided pass, and have it settled."""
    w.now_ms += 2_001
    host = w.hosts[-1]
    host.clockwork.settle_overdue()
    await until(lambda: not any(owned.state.tentative for owned in host.host.owned.values()))

"""A small world of hosts on memory adapters, with a clock that the test holds."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from actors.gateway import LaneGateway
from actors.host import Host, HostOptions
from actors.outcomes import Answered, Outcome
from actors.reservations import SpanningReservations
from actors.running_host import RunningHost
from engine.commands import Command, ReceiveStock, ReserveLine, ReserveStock
from engine.partitioning import partition_of
from engine.refusals import Refused
from persistence.memory import MemoryCursors, MemoryDatabase, MemoryDirectory, MemoryLedger, MemorySnapshots, MemoryStreams

TOKEN = "lane-token"
PARTITIONS = 16


class World:
    """Hosts that share a database, and a gateway to them."""

    def __init__(self) -> None:
        self.now_ms = 1_700_000_000_000
        self.database = MemoryDatabase(PARTITIONS)
        self.streams = MemoryStreams()
        self.directory = MemoryDirectory(self.database)
        self.hosts: list[RunningHost] = []
        self.gateway = LaneGateway(self.directory, TOKEN, PARTITIONS, timeout_s=5.0)
        self.reservations = SpanningReservations(self.gateway, lambda: self.now_ms, tentative_ttl_s=2.0)
        self._keys = 0

    async def host(self, name: str, partitions: list[int] | None = None, **options: Any) -> RunningHost:
        """Start a host and have it take partitions: all, unless told otherwise."""
        core = Host(
            HostOptions(name, **options),
            MemoryLedger(self.database, name),
            MemorySnapshots(self.database),
            lambda: self.now_ms,
        )
        running = RunningHost(
            core, self.streams, MemoryCursors(self.database), self.directory, token=TOKEN, partitions=PARTITIONS
        )
        await running.start("127.0.0.1")
        await running.take(list(range(PARTITIONS)) if partitions is None else partitions)
        self.hosts.append(running)
        return running

    def key(self) -> str:
        """Return a new key."""
        self._keys += 1
        return f"key-{self._keys}"

    async def ask(self, command: Command, key: str | None = None) -> Outcome:
        """Send a command to whoever owns its SKU."""
        first = command.lines[0] if isinstance(command, ReserveStock) else command
        number = partition_of(first.site, first.sku, PARTITIONS)  # type: ignore[union-attr]
        return await self.gateway.submit(number, command, key or self.key())

    async def receive(self, sku: str, quantity: int, location: str = "A", **fields: Any) -> dict[str, Any]:
        """Receive stock; return the bin."""
        return view_of(await self.ask(ReceiveStock("LON", sku, location, quantity, **fields)))

    async def reserve(self, sku: str, quantity: int, key: str | None = None, **fields: Any) -> Outcome:
        """Reserve one line."""
        return await self.ask(ReserveStock((ReserveLine("LON", sku, quantity),), **fields), key)

    async def close(self) -> None:
        """Stop everything."""
        await self.gateway.close()
        for host in self.hosts:
            await host.stop()


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    """Return a world with one host that owns all."""
    made = World()
    try:
        await made.host("first")
        yield made
    finally:
        await made.close()


def view_of(outcome: Outcome) -> dict[str, Any]:
    """Return the view of an answer; fail on a refusal."""
    assert isinstance(outcome, Answered), outcome
    return outcome.view


def code_of(outcome: Outcome) -> str:
    """Return the code of a refusal; fail on an answer."""
    assert isinstance(outcome, Refused), outcome
    return str(outcome.code)


async def until(condition: Callable[[], bool], deadline_s: float = 5.0) -> None:
    """Wait for a condition with a deadline."""
    async with asyncio.timeout(deadline_s):
        while not condition():
            await asyncio.sleep(0.005)

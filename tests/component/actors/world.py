"""A small world of hosts on memory adapters, with a clock that the test holds."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from actors.gateway import LaneGateway
from actors.host import Host
from actors.host_options import HostOptions
from actors.outcomes import Answered, Outcome
from actors.queries import ReadStock
from actors.reservations import SpanningReservations
from actors.running_host import RunningHost
from engine.commands import Command, ReceiveStock, ReserveLine, ReserveStock
from engine.partitioning import partition_of
from engine.refusals import Refused
from persistence.memory import MemoryCursors, MemoryDatabase, MemoryDirectory
from tests import waiting
from tests.component.actors.steered import SteeredLedger, SteeredSnapshots, SteeredStreams

TOKEN = "lane-token"
PARTITIONS = 16


class World:
    """Hosts that share a database, and a gateway to them."""

    def __init__(self) -> None:
        self.now_ms = 1_700_000_000_000
        self.database = MemoryDatabase(PARTITIONS)
        self.streams = SteeredStreams()
        self.cursors = MemoryCursors(self.database)
        self.directory = MemoryDirectory(self.database)
        self.hosts: list[RunningHost] = []
        self.ledgers: list[SteeredLedger] = []
        self.snapshots: list[SteeredSnapshots] = []
        self.faults: list[BaseException] = []
        """What broke hosts: a test that does not expect any fails at its end."""
        self.gateway = LaneGateway(self.directory, TOKEN, PARTITIONS, timeout_s=5.0)
        self.reservations = SpanningReservations(self.gateway, tentative_ttl_s=2.0)
        self._keys = 0
        self.commit_s = 0.0
        """How long each append of hosts that are built from now on takes."""

    async def host(self, name: str, partitions: list[int] | None = None, **options: Any) -> RunningHost:
        """Start a host and have it take partitions: all, unless told otherwise."""
        running = self.build(name, **options)
        await running.start("127.0.0.1")
        await running.take(list(range(PARTITIONS)) if partitions is None else partitions)
        return running

    def build(self, name: str, **options: Any) -> RunningHost:
        """Put a host together; it is neither started nor owns anything."""
        ledger, snapshots = SteeredLedger(self.database, name), SteeredSnapshots(self.database)
        ledger.commit_s = self.commit_s
        core = Host(HostOptions(name, **options), ledger, snapshots, lambda: self.now_ms)
        running = RunningHost(
            core,
            self.streams,
            self.cursors,
            self.directory,
            token=TOKEN,
            partitions=PARTITIONS,
            on_broken=self.faults.append,
        )
        self.hosts.append(running)
        self.ledgers.append(ledger)
        self.snapshots.append(snapshots)
        return running

    async def kill(self, running: RunningHost) -> None:
        """End a host as `kill -9` does: nothing leaves any more, nothing is finished."""
        for lane in list(running.lanes.lanes):
            lane.close()
        await running.lanes.stop()
        for task in list(running.host._tasks):
            task.cancel()
        await asyncio.gather(*running.host._tasks, return_exceptions=True)
        await running.peers.close()
        self.hosts.remove(running)

    def key(self) -> str:
        """Return a new key."""
        self._keys += 1
        return f"key-{self._keys}"

    async def ask(self, command: Command, key: str | None = None) -> Outcome:
        """Send a command to whoever owns its SKU."""
        first = command.lines[0] if isinstance(command, ReserveStock) else command
        number = number_of(first.sku)  # type: ignore[union-attr]
        return await self.gateway.submit(number, command, key or self.key())

    async def receive(self, sku: str, quantity: int, location: str = "A", **fields: Any) -> dict[str, Any]:
        """Receive stock; return the bin."""
        return view_of(await self.ask(ReceiveStock("LON", sku, location, quantity, **fields)))

    async def reserve(self, sku: str, quantity: int, key: str | None = None, **fields: Any) -> Outcome:
        """Reserve one line."""
        return await self.ask(ReserveStock((ReserveLine("LON", sku, quantity),), **fields), key)

    async def stock(self, sku: str) -> tuple[int, int]:
        """Return (on hand, reserved) of a SKU."""
        view = view_of(await self.gateway.query(number_of(sku), ReadStock("LON", sku)))
        return view["on_hand"], view["reserved"]

    async def close(self) -> None:
        """Stop everything."""
        await self.gateway.close()
        for ledger, snapshots in zip(self.ledgers, self.snapshots, strict=True):
            for gate in (ledger.gate, *snapshots.gates):
                gate.release()
            snapshots.failing.clear()
        for host in self.hosts:
            await host.stop()


@asynccontextmanager
async def world(**options: Any) -> AsyncIterator[World]:
    """Return a world with one host that owns all. No host may have broken at its end."""
    made = World()
    try:
        await made.host("first", **options)
        yield made
        assert made.faults == []
    finally:
        await made.close()


def number_of(sku: str) -> int:
    """Return the partition of a SKU in London."""
    return partition_of("LON", sku, PARTITIONS)


def skus_in(number: int, most: int = 2) -> list[str]:
    """Return SKUs of one partition."""
    found = [f"SKU-{index}" for index in range(2000) if number_of(f"SKU-{index}") == number]
    return found[:most]


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
    await waiting.until(condition, deadline_s=deadline_s)

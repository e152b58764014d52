"""A large stock at rest, and callers who notice at once when it does not answer."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from actors.gateway import LaneGateway
from actors.outcomes import Answered, Unavailable
from actors.queries import ReadStock
from bench.lanes_load import LanesLoad
from bench.workloads import Workload
from engine.commands import ReserveLine, ReserveStock
from persistence.postgres import PostgresDirectory, Sessions
from tests.end_to_end.running import Running
from tests.waiting import until

_TIMEOUT_S = 120.0
_FILL_IN_FLIGHT = 256
_FILL_STEP = 50_000
_REST_S_MAX = 900.0


@dataclass(slots=True)
class LargeStock:
    """Bins of one unit type each, spread over all partitions; nothing happens to them but what a try asks."""

    binkeeper: Running
    bins: Workload
    gateway: LaneGateway
    sessions: Sessions
    reserved: Counter[int] = field(default_factory=Counter)
    """Units that were acknowledged, by bin."""
    _tries: int = 0

    @classmethod
    async def connect(cls, binkeeper: Running, bins: int) -> "LargeStock":
        """Return the stock of a running product; it is empty until it is filled."""
        sessions = Sessions(binkeeper.run["postgres_url"], "recovery", size=1)
        directory = PostgresDirectory(sessions)
        token = (binkeeper.home / "lane.token").read_text().strip()
        gateway = LaneGateway(directory, token, await directory.partitions(), timeout_s=_TIMEOUT_S)
        return cls(binkeeper, Workload("recovery", bins), gateway, sessions)

    async def close(self) -> None:
        """Close the lanes."""
        await self.gateway.close()
        await self.sessions.close()

    async def fill(self) -> None:
        """Receive stock into every bin, and wait until all of it is at rest."""
        load, total, began_s = LanesLoad(self.gateway, self.sessions), self.bins.bins, time.monotonic()
        for first in range(0, total, _FILL_STEP):
            end = min(first + _FILL_STEP, total)
            await load.fill(self.bins, first + 1, in_flight=_FILL_IN_FLIGHT, first=first, end=end)
            print(f"{end:,} of {total:,} bins after {time.monotonic() - began_s:.0f} s", flush=True)
        await self.rest()

    async def rest(self) -> None:
        """Wait until snapshots are written and all is broadcast, and somebody stands by."""
        await until(self._is_at_rest, "everything is written and broadcast", _REST_S_MAX)

    async def _is_at_rest(self) -> bool:
        try:
            await self.gateway.flush()
            hosts = await self.hosts()
        except Unavailable:
            return False
        return all(host["in_flight"] == host["courier_lag"] == host["tail_entries"] == 0 for host in hosts)

    async def hosts(self) -> list[dict[str, Any]]:
        """Return what the owners of all partitions say of themselves. Raises Unavailable if one is silent."""
        found = await self.gateway.hosts()
        if sum(host["partitions"] for host in found) < self.gateway.partitions:
            raise Unavailable("not every partition has an owner that answers")
        return found

    def ask_every_partition(self) -> "asyncio.Future[list[float]]":
        """Reserve a unit in a bin of each partition, at once; the times at which they were answered, in s.

        Each time other bins, so that they rest. Raises AssertionError when one is not answered well.
        """
        self._tries += 1
        chosen: dict[int, int] = {}
        first = self._tries * self.gateway.partitions * 31
        for step in range(self.bins.bins):  # With few bins, some partitions have none.
            index = (first + step) % self.bins.bins
            chosen.setdefault(self.bins.partition(index, self.gateway.partitions), index)
            if len(chosen) == self.gateway.partitions:
                break

        async def reserve(partition: int, index: int) -> float:
            line = ReserveLine(self.bins.name, self.bins.sku(index), 1)
            key = f"recovery-{self._tries}-{partition}"
            outcome = await self.gateway.submit(partition, ReserveStock((line,)), key)
            assert isinstance(outcome, Answered), outcome
            self.reserved[index] += 1
            return time.monotonic()

        return asyncio.gather(*(reserve(partition, index) for partition, index in chosen.items()))

    async def audit(self) -> int:
        """See that each bin that was asked has just what was acknowledged; return how many they are."""

        async def read(index: int) -> int:
            partition = self.bins.partition(index, self.gateway.partitions)
            outcome = await self.gateway.query(partition, ReadStock(self.bins.name, self.bins.sku(index)))
            assert isinstance(outcome, Answered), outcome
            return int(outcome.view["reserved"])

        asked = sorted(self.reserved)
        found = dict(zip(asked, await asyncio.gather(*map(read, asked)), strict=True))
        assert found == dict(self.reserved), [n for n in asked if found[n] != self.reserved[n]]
        return len(asked)

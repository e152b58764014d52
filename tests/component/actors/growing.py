"""A cluster of hosts in this process to which nodes are added, and whose time a test passes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from actors.newcomers import _LOOK_S, Newcomers
from actors.placing import Placing
from persistence.memory import MemoryWishes
from tests.component.actors.in_process import InProcessHost
from tests.component.actors.supervised import Supervised, supervised
from tests.component.actors.world import PARTITIONS, until


class Clock:
    """Time that a test passes."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Cluster:
    """A supervised world on nodes that come and go, whose time a test passes."""

    def __init__(self, s: Supervised, *, hosts: int) -> None:
        self.s = s
        self.clock = Clock()
        self.wishes = MemoryWishes()
        self.newcomers = Newcomers(self.clock)
        self.placing = Placing(
            s.supervisor,
            self.wishes,
            partitions=PARTITIONS,
            hosts=hosts,
            newcomers=self.newcomers,
            sleep=_short,
        )

    async def passes(self, seconds: float) -> None:
        """Let time pass, with a look at the nodes as often as there is one."""
        for _ in range(int(seconds / _LOOK_S)):
            self.clock.now_s += _LOOK_S
            await self.placing._share(self.newcomers)

    def shares(self) -> dict[str, list[int]]:
        """Return how many partitions each host of a place has, by node."""
        found: dict[str, list[int]] = {}
        for place in self.s.supervisor.places:
            assert isinstance(place.process, InProcessHost)
            assert set(place.process.running.host.owned) == place.partitions
            found.setdefault(place.process.node, []).append(len(place.partitions))
        return {node: sorted(counts) for node, counts in found.items()}

    def places(self) -> list[tuple[int, str, frozenset[int]]]:
        """Return all that would change if anything was moved."""
        return [
            (place.number, place.process.name if place.process else "", frozenset(place.partitions))
            for place in self.s.supervisor.places
        ]


async def _short(seconds: float) -> None:
    await asyncio.sleep(min(seconds, 0.01))


@asynccontextmanager
async def cluster(*, hosts: int = 2, standbys: int = 0) -> AsyncIterator[Cluster]:
    async with supervised(hosts=hosts, standbys=standbys, commit_s=0.001) as s:
        if standbys:
            await until(s.has_standby)
        yield Cluster(s, hosts=hosts)

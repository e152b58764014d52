"""Hosts in this process whose places a supervisor changes as it is wished, for tests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from actors.placing import Placing
from persistence.memory import MemoryWishes
from persistence.placement import Granted
from tests.component.actors.in_process import InProcessHost
from tests.component.actors.supervised import Supervised, supervised
from tests.component.actors.world import PARTITIONS
from tests.waiting import until


class Placed:
    """Places under a supervisor that grants wishes."""

    def __init__(self, s: Supervised, *, hosts: int, wishes: MemoryWishes | None = None) -> None:
        self.s = s
        self.wishes = wishes or MemoryWishes()
        self.placing = Placing(s.supervisor, self.wishes, partitions=PARTITIONS, hosts=hosts, sleep=_short)

    async def granted(self, number: int) -> Granted:
        """Wait until a wish is carried out."""
        return await granted(self.wishes, number)

    def owned(self) -> dict[str, set[int]]:
        """Return what each host of a place owns, by name."""
        found = {}
        for place in self.s.supervisor.places:
            assert isinstance(place.process, InProcessHost)
            found[place.process.name] = set(place.process.running.host.owned)
        return found


async def granted(wishes: MemoryWishes, number: int) -> Granted:
    """Wait until a wish is carried out."""

    async def carried_out() -> Granted | None:
        found = await wishes.granted()
        return found if found.number >= number else None

    return cast("Granted", await until(carried_out))


async def _short(seconds: float) -> None:
    await asyncio.sleep(min(seconds, 0.01))


@asynccontextmanager
async def placed(*, hosts: int = 2, standbys: int = 1) -> AsyncIterator[Placed]:
    async with supervised(hosts=hosts, standbys=standbys, commit_s=0.001) as s:
        made = Placed(s, hosts=hosts)
        running = asyncio.create_task(made.placing.run())
        try:
            yield made
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

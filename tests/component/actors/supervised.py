"""A world under a supervisor, in one process."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from actors.places import Place, first_places
from actors.spares import _PING_S
from actors.supervisor import HostProcess, Supervisor
from tests.component.actors.in_process import InProcessHost, InProcessLauncher
from tests.component.actors.world import PARTITIONS, TOKEN, World, number_of


class Supervised:
    """A world under a supervisor."""

    def __init__(
        self, *, hosts: int, standbys: int, isolated: Iterable[int] = (), commit_s: float = 0.0
    ) -> None:
        self.world = World()
        self.world.commit_s = commit_s
        self.launcher = InProcessLauncher(self.world)
        self.seen: list[list[str]] = []
        self.asked: list[str] = []
        """Hosts that were to be launched, where a test watches that."""
        self.standbys_are_due = asyncio.Event()
        """Set by a test when the time has come to look at the standbys; the other sleeps are real."""
        self.supervisor = Supervisor(
            self.launcher,
            self.world.gateway.control,
            TOKEN,
            partitions=PARTITIONS,
            hosts=hosts,
            standbys=standbys,
            changed=lambda processes: self.seen.append([process.name for process in processes]),
            sleep=self._sleep,
        )
        self.supervisor.arrange(first_places(PARTITIONS, hosts, isolated))

    async def _sleep(self, seconds: float) -> None:
        if seconds == _PING_S:
            await self.standbys_are_due.wait()
            self.standbys_are_due.clear()
        else:
            await asyncio.sleep(seconds)

    def owner(self, sku: str) -> InProcessHost:
        """Return the host that serves a SKU."""
        process: HostProcess | None = self.place_of(sku).process
        assert isinstance(process, InProcessHost)
        return process

    def place_of(self, sku: str) -> Place:
        """Return the place of a SKU's partition."""
        return next(place for place in self.supervisor.places if number_of(sku) in place.partitions)

    def has_standby(self) -> bool:
        """Whether one more host is ready than there are places."""
        return len(self.supervisor.processes()) == len(self.supervisor.places) + 1


@asynccontextmanager
async def supervised(
    *, hosts: int = 2, standbys: int = 1, isolated: Iterable[int] = (), commit_s: float = 0.0
) -> AsyncIterator[Supervised]:
    """Return a world whose places are served. No host may have broken at its end."""
    made = Supervised(hosts=hosts, standbys=standbys, isolated=isolated, commit_s=commit_s)
    await made.supervisor.start()
    try:
        async with asyncio.timeout(5):
            await made.supervisor.serving()
        yield made
        assert made.world.faults == []
    finally:
        for ledger in made.world.ledgers:
            ledger.gate.release()
        await made.supervisor.stop()
        await made.world.close()

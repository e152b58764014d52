"""Starting hosts in a simulated world, and wishing where their partitions shall be."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actors.host import Host, HostOptions
from actors.outcomes import Unavailable
from actors.running_host import RunningHost
from persistence.memory.wishes import MemoryWishes
from simulation.broadcast import Mending, RemoteStreams
from simulation.loop import Process, SimulatedLoop
from simulation.storage import RemoteLedger, RemoteSnapshots, cursors, directory

if TYPE_CHECKING:
    from actors.supervisor import HostProcess
    from persistence.placement import Granted
    from simulation.world import World

TOKEN = "lane token"  # noqa: S105 - it guards nothing
START_S = (0.02, 0.3)
"""How long a process takes to start, from and to."""


@dataclass(slots=True)
class SimulatedHost:
    """A host as its launcher knows it."""

    name: str
    address: str
    process: Process
    running: RunningHost
    streams: RemoteStreams
    pid: int = 0
    node: str = ""


class CountedWishes(MemoryWishes):
    """What is wished of the placement, and how many partitions have moved for it."""

    def __init__(self, loop: SimulatedLoop) -> None:
        super().__init__()
        self._loop = loop

    async def grant(self, granted: Granted) -> None:
        """See `Wishes.grant`."""
        if granted.number > (await self.granted()).number:
            self._loop.effects["partition moved as it was wished"] += granted.moved
        await super().grant(granted)


class Launcher:
    """Starts the processes of hosts."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def nodes(self) -> list[str]:
        """See `Launcher.nodes`."""
        return [""]

    async def launch(self, name: str, _node: str | None = None) -> HostProcess:
        """See `Launcher.launch`."""
        world = self._world
        await asyncio.sleep(world.random.uniform(*START_S))
        process = Process(world._next(name))
        world.starting.append(process)
        if world.doomed_s:
            after_s = world.doomed_s.pop(0)
            world.loop.later(after_s, lambda: world.kill_starting(process))
        ready: asyncio.Future[SimulatedHost] = world.loop.create_future()
        died = Unavailable("the process died while it started")
        process.on_killed.append(lambda: settle(ready, None, died))
        world.loop.spawn(process, self._run(process, ready))
        return await ready

    async def _run(self, process: Process, ready: asyncio.Future[SimulatedHost]) -> None:
        world, name = self._world, process.name

        def broken(fault: BaseException) -> None:
            world.broken.append(f"{name}: {type(fault).__name__}: {fault}")
            for host in [host for host in world.hosts if host.process is process]:
                world.kill_host(host)

        core = Host(
            HostOptions(
                name,
                key_window=80,
                recovered_keys=40,
                snapshot_interval_s=0.7,
                snapshot_entries=200,
                active_stocks_max=4,
            ),
            RemoteLedger(world.storage, name),
            RemoteSnapshots(world.storage, name),
            world.clock(name),
            stopwatch=world.loop.time,
        )
        streams = RemoteStreams(world.broadcast, name)
        running = RunningHost(
            core,
            streams,
            cursors(world.storage),
            directory(world.storage),
            token=TOKEN,
            partitions=world.partitions,
            on_broken=broken,
        )
        running.courier.overtaken._streams = Mending(streams)
        # Importing, connecting and preparing take a while, in which nothing of it listens.
        await asyncio.sleep(world.random.uniform(*START_S))
        address = await running.start("127.0.0.1")
        host = SimulatedHost(name, address, process, running, streams)
        world.starting.remove(process)
        world.hosts.append(host)
        if not ready.done():
            ready.set_result(host)

    async def kill(self, process: HostProcess) -> None:
        """See `Launcher.kill`. A paused one goes on for a moment: the signal has to arrive."""
        assert isinstance(process, SimulatedHost)
        world = self._world
        await asyncio.sleep(world.random.choice((0.0, 0.01, 3.0, 20.0)))
        world.kill_host(process)

    async def stop(self, process: HostProcess) -> None:
        """See `Launcher.stop`."""
        assert isinstance(process, SimulatedHost)
        await process.running.stop()
        self._world.kill_host(process)


def settle(answer: asyncio.Future[Any], result: object, fault: Exception | None) -> None:
    """Give a caller what came of its request, unless it has gone."""
    if answer.done():
        return
    if fault is None:
        answer.set_result(result)
    else:
        answer.set_exception(fault)

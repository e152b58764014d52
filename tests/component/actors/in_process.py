"""A launcher whose hosts live in this process: real hosts, real lanes, no Ray."""

from collections import Counter
from dataclasses import dataclass

from actors.outcomes import Unavailable
from actors.running_host import RunningHost
from actors.supervisor import HostProcess
from tests.component.actors.world import World


@dataclass(slots=True)
class InProcessHost:
    """A host as its launcher knows it."""

    name: str
    address: str
    pid: int
    node: str
    running: RunningHost
    is_alive: bool = True


class InProcessLauncher:
    """Starts hosts in a world."""

    def __init__(self, w: World) -> None:
        self._world = w
        self.launched: list[InProcessHost] = []
        self.killed: list[str] = []
        self.stopped: list[str] = []
        self.is_out_of_room = False
        self.node_names = [""]
        """Nodes that hosts can be started on; a host that is told no node goes to the one with the fewest."""
        self.refused = 0

    async def nodes(self) -> list[str]:
        """See `Launcher.nodes`."""
        return self.node_names

    async def launch(self, name: str, node: str | None = None) -> HostProcess:
        """See `Launcher.launch`."""
        if self.is_out_of_room:
            self.refused += 1
            message = "no room"
            raise Unavailable(message)
        running = self._world.build(name)
        used = Counter(process.node for process in self.launched if process.is_alive)
        node = node if node is not None else min(self.node_names, key=lambda one: used[one])
        process = InProcessHost(name, await running.start("127.0.0.1"), 0, node, running)
        self.launched.append(process)
        return process

    async def kill(self, process: HostProcess) -> None:
        """See `Launcher.kill`."""
        assert isinstance(process, InProcessHost)
        self.killed.append(process.name)
        if process.is_alive:
            process.is_alive = False
            await self._world.kill(process.running)

    async def stop(self, process: HostProcess) -> None:
        """See `Launcher.stop`."""
        assert isinstance(process, InProcessHost)
        self.stopped.append(process.name)
        if process.is_alive:
            process.is_alive = False
            await process.running.stop()
            self._world.hosts.remove(process.running)

    async def crash(self, process: HostProcess) -> None:
        """Let a host die by itself."""
        assert isinstance(process, InProcessHost)
        process.is_alive = False
        await self._world.kill(process.running)

"""Hosts that are started and own nothing: the next one for a place is taken from them.

A number of them is kept ready as standbys, so that a dead host is replaced without waiting for a process.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import structlog

from actors.launching import Launcher
from actors.nodes import Nodes
from actors.outcomes import Unavailable
from actors.places import HostProcess

_log = structlog.get_logger()

_PING_S = 5.0
_RETRY_S = 0.1
_RETRY_S_MAX = 1.0


class Spares:
    """Launches hosts, as many as are waited for and `standbys` more when `is_time` for those.

    `answers` asks a host whether it lives, and `came` is told of each that is ready.
    """

    def __init__(
        self,
        launcher: Launcher,
        nodes: Nodes,
        standbys: int,
        *,
        is_time: Callable[[], bool],
        answers: Callable[[HostProcess], Awaitable[bool]],
        came: Callable[[], None],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self.ready: list[HostProcess] = []
        """Oldest first."""
        self._launcher = launcher
        self._nodes = nodes
        self._standbys = standbys
        self._is_time = is_time
        self._answers = answers
        self._tell_came = came
        self._sleep = sleep
        self._came = asyncio.Event()
        """Set when there is one more that is ready."""
        self._waiting = 0
        """Places that have no host."""
        self._launches: dict[asyncio.Task[None], str | None] = {}
        """Hosts that are being started, with the node that each shall lie on."""
        self._given_up: set[asyncio.Task[None]] = set()
        """Those on nodes that may be lost: they may come all the same, but are not waited for."""
        self._launched = 0
        self._retry_s = _RETRY_S
        self._is_stopping = False
        self._watch: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start to replace those that die. The first are launched when somebody waits for one."""
        self._watch = asyncio.create_task(self._replace_dead())

    async def stop(self) -> None:
        """Launch nothing any more. Those that are ready are the caller's to end."""
        self._is_stopping = True
        tasks = [*self._launches] if self._watch is None else [*self._launches, self._watch]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def next(self) -> HostProcess:
        """Return a host that is ready, or else the first that will be: one may be on its way as a standby."""
        self._waiting += 1
        try:
            while not self.ready:
                self.launch_missing()
                self._came.clear()
                await self._came.wait()
            return self.ready.pop(self._nearest())
        finally:
            self._waiting -= 1

    def lost(self, process: HostProcess) -> None:
        """Take the next hosts from other nodes, if there are any: the whole node may be lost."""
        self._nodes.doubt(process.node)
        if self._nodes.has_others:
            self._given_up.update(task for task, node in self._launches.items() if node == process.node)

    def _nearest(self) -> int:
        """Return the index of the oldest host on a node that is not doubted, if there is such a one."""
        doubted = [self._nodes.is_doubted(process.node) for process in self.ready]
        return doubted.index(min(doubted))

    async def launch_on(self, node: str) -> HostProcess:
        """Start a host on a node; it is the caller's, and none of the spares. Raises Unavailable."""
        process = await self._launcher.launch(self._next_name(), node)
        if process.node != node:
            await self._launcher.kill(process)
            raise Unavailable(f"node {node} takes no host")
        return process

    def launch_missing(self) -> None:
        """Launch a host for every place that waits for one, and the standbys if it is time."""
        wanted = self._waiting + (self._standbys if self._is_time() else 0)
        coming = len(self._launches.keys() - self._given_up)
        for _ in range(wanted - len(self.ready) - coming):
            launch = asyncio.create_task(self._launch(self._next_name()))
            self._launches[launch] = None
            launch.add_done_callback(self._launch_ended)

    def _next_name(self) -> str:
        self._launched += 1
        return f"host-{self._launched}"

    def _launch_ended(self, launch: asyncio.Task[None]) -> None:
        del self._launches[launch]
        self._given_up.discard(launch)
        if not self._is_stopping:
            self.launch_missing()

    async def _launch(self, name: str) -> None:
        node: str | None = None
        try:
            node = await self._nodes.best(self._launches.values())
            self._launches[cast("asyncio.Task[None]", asyncio.current_task())] = node
            process = await self._launcher.launch(name, node)
        except Unavailable as fault:
            _log.warning("launch_waits", host=name, fault=str(fault))
            if node is not None:
                self._nodes.doubt(node)  # The next try goes to another, if there is one.
            await self._sleep(self._retry_s)
            self._retry_s = min(self._retry_s * 2, _RETRY_S_MAX)
        except Exception as fault:  # noqa: BLE001 - nobody else would start one
            _log.error("supervisor_failed", exc_info=fault)
            await self._sleep(_RETRY_S_MAX)
        else:
            self._retry_s = _RETRY_S
            self.ready.append(process)
            self._came.set()
            self._tell_came()

    async def _replace_dead(self) -> None:
        """Replace those that do not answer any more."""
        while True:
            try:
                for spare in list(self.ready):
                    if not await self._answers(spare) and spare in self.ready:
                        self.ready.remove(spare)
                        self.lost(spare)
                        self.launch_missing()
                        await self._launcher.kill(spare)
            except Exception as fault:  # noqa: BLE001 - nobody else would look
                _log.error("supervisor_failed", exc_info=fault)
            await self._sleep(_PING_S)

"""Hosts that are started and own nothing: the next one for a place is taken from them.

A number of them is kept ready as standbys, so that a dead host is replaced without waiting for a process.
Those beyond it, that were given up and came after all, are ended.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import structlog

from actors.launching import Launcher
from actors.nodes import Nodes
from actors.outcomes import Unavailable
from actors.places import HostProcess

_log = structlog.get_logger()

_PING_S = 5.0
_START_S_MAX = 20.0
"""A host on a node that was asked for is not waited for any longer; a start takes 2 to 3 s on idle cores."""
_RETRY_S = 0.1
_RETRY_S_MAX = 1.0


class Spares:
    """Launches hosts, as many as are waited for and `standbys` more when `is_time` for those.

    `answers` asks a host whether it lives, and `changed` is told when one more or less is ready.
    """

    def __init__(
        self,
        launcher: Launcher,
        nodes: Nodes,
        standbys: int,
        *,
        is_time: Callable[[], bool],
        answers: Callable[[HostProcess], Awaitable[bool]],
        changed: Callable[[], None],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self.ready: list[HostProcess] = []
        """Oldest first."""
        self._launcher = launcher
        self._nodes = nodes
        self._standbys = standbys
        self._is_time = is_time
        self._answers = answers
        self._changed = changed
        self._sleep = sleep
        self._came = asyncio.Event()
        """Set when there is one more that is ready."""
        self._waiting = 0
        """Places that have no host."""
        self._launches: dict[asyncio.Task[None], str | None] = {}
        """Hosts that are being started, with the node that each shall lie on."""
        self._given_up: set[asyncio.Task[None]] = set()
        """Those on nodes that may be lost: they may come all the same, but are not waited for."""
        self._endings: set[asyncio.Task[None]] = set()
        """Those that nobody needs are being ended."""
        self._asked_for: dict[asyncio.Task[HostProcess], str] = {}
        """Hosts that are being started on a node for somebody, none of the spares."""
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
        tasks: list[asyncio.Task[Any]] = [*self._launches, *self._asked_for]
        if self._watch is not None:
            tasks.append(self._watch)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *self._endings, return_exceptions=True)

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
        self._nodes.lost(process.node)
        for launch, node in self._asked_for.items():
            if node == process.node:
                launch.cancel()
        if self._nodes.has_others:
            self._given_up.update(task for task, node in self._launches.items() if node == process.node)

    def _nearest(self) -> int:
        """Return the index of the oldest host on a node that is not doubted, if there is such a one."""
        doubted = [self._nodes.is_doubted(process.node) for process in self.ready]
        return doubted.index(min(doubted))

    async def take_on(self, node: str) -> HostProcess:
        """Return a host on a node: one that is ready there, else one that is started. It is the caller's.

        Raises Unavailable; a node on which none starts is doubted.
        """
        for spare in self.ready:
            if spare.node == node and not self._nodes.is_doubted(node):
                self.ready.remove(spare)
                return spare
        return await self._started_on(node)

    async def _started_on(self, node: str) -> HostProcess:
        """Start a host on a node, unless that loses another meanwhile. Raises Unavailable."""
        asked_s = asyncio.get_running_loop().time()
        launch = asyncio.create_task(self._launcher.launch(self._next_name(), node))
        self._asked_for[launch] = node
        try:
            await asyncio.wait([launch], timeout=_START_S_MAX)
            process = await self._on(node, launch)
        except Unavailable:
            self._nodes.failed(node)  # The next try goes to another, if there is one.
            raise
        finally:
            launch.cancel()
            del self._asked_for[launch]
        self._nodes.started(node, asked_s)
        return process

    async def _on(self, node: str, launch: asyncio.Task[HostProcess]) -> HostProcess:
        """Return the host that has been started by now. Raises Unavailable: there is none, or not there."""
        if not launch.done() or launch.cancelled():
            raise Unavailable(f"node {node} starts no host")
        process = launch.result()
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
            self._end_surplus()

    def _end_surplus(self) -> None:
        """End those beyond the standbys that nobody waits for: they were given up, and came after all.

        None while a place is not served: it may need them.
        """
        surplus = len(self.ready) - self._waiting - self._standbys if self._is_time() else 0
        for _ in range(surplus):
            count = self._nodes.count()
            spare = max(self.ready, key=lambda one: (self._nodes.is_doubted(one.node), count[one.node]))
            self.ready.remove(spare)
            ending = asyncio.create_task(self._launcher.stop(spare))
            self._endings.add(ending)
            ending.add_done_callback(self._endings.discard)
            _log.info("surplus_ended", host=spare.name)
            self._changed()

    async def _launch(self, name: str) -> None:
        node: str | None = None
        asked_s = asyncio.get_running_loop().time()
        try:
            node = await self._nodes.best(self._launches.values())
            self._launches[cast("asyncio.Task[None]", asyncio.current_task())] = node
            process = await self._launcher.launch(name, node)
        except Unavailable as fault:
            _log.warning("launch_waits", host=name, fault=str(fault))
            if node is not None:
                self._nodes.failed(node)  # The next try goes to another, if there is one.
            await self._sleep(self._retry_s)
            self._retry_s = min(self._retry_s * 2, _RETRY_S_MAX)
        except Exception as fault:  # noqa: BLE001 - nobody else would start one
            _log.error("supervisor_failed", exc_info=fault)
            await self._sleep(_RETRY_S_MAX)
        else:
            self._retry_s = _RETRY_S
            self._nodes.started(process.node, asked_s)
            self.ready.append(process)
            self._came.set()
            self._changed()

    async def _replace_dead(self) -> None:
        """Replace those that do not answer any more."""
        while True:
            try:
                for spare in list(self.ready):
                    asked_s = asyncio.get_running_loop().time()
                    if await self._answers(spare):
                        self._nodes.answered(spare.node, asked_s)
                    elif spare in self.ready:
                        self.ready.remove(spare)
                        self.lost(spare)
                        self.launch_missing()
                        await self._launcher.kill(spare)
                self._end_surplus()
            except Exception as fault:  # noqa: BLE001 - nobody else would look
                _log.error("supervisor_failed", exc_info=fault)
            await self._sleep(_PING_S)

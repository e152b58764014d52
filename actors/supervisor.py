"""The supervisor: keeps a host on every place, gives each its partitions, and replaces what dies.

It decides when to try; that two hosts never both commit is the ledger's doing (`claimed` entries), not its
own. Hosts to put on places come from `actors.spares`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, cast

import structlog

from actors.launching import Launcher
from actors.nodes import Nodes
from actors.outcomes import Unavailable
from actors.places import HostProcess, Move, Moved, Place, first_places
from actors.spares import Spares
from actors.watching import Control, HostGone, Watch, owned_by, watching

__all__ = ["Control", "HostProcess", "Launcher", "Place", "Supervisor"]

_log = structlog.get_logger()

_PING_S = 0.5
_SUSPECT_S = 4.0
"""A host that does not answer for so long is replaced; one whose lane breaks, at once."""
_TAKE_TIMEOUT_S = 30.0
_HAND_OVER_TIMEOUT_S = 25.0
"""A snapshot, a pause and a claim; see `actors.handing_over`."""
_RETRY_S = 0.1
_RETRY_S_MAX = 1.0


class Supervisor:
    """Watches `hosts` places and keeps `standbys` hosts ready."""

    def __init__(
        self,
        launcher: Launcher,
        control: Control,
        token: str,
        *,
        partitions: int,
        hosts: int,
        standbys: int = 1,
        changed: Callable[[list[HostProcess]], None] = lambda _: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._launcher = launcher
        self._control = control
        self._token = token
        self._changed = changed
        self._sleep = sleep
        self.places = first_places(partitions, hosts)
        self._nodes = Nodes(launcher, self.processes)
        self._spares = Spares(
            launcher,
            self._nodes,
            standbys,
            is_time=self._is_time_for_standbys,
            answers=self._answers,
            changed=lambda: changed(self.processes()),
            sleep=sleep,
        )
        self._keepers: dict[Place, asyncio.Task[None]] = {}
        self._moving: set[int] = set()
        """Partitions that are on their way from one place to another: nobody misses them."""
        self._kills: set[asyncio.Task[None]] = set()
        self._serving = asyncio.Event()

    async def start(self) -> None:
        """Start to keep every place served. Returns at once; see `serving`."""
        for place in self.places:
            self._keepers[place] = asyncio.create_task(self._keep(place))
        self._spares.start()

    def arrange(self, places: list[Place]) -> None:
        """Begin with these places instead of even shares."""
        assert not self._keepers, "places of a supervisor that runs are moved"
        self.places = places

    def doubt_nodes_for(self, seconds: float) -> None:
        """Believe only after so long that a node lives which lost a host and which Ray still names."""
        self._nodes.lost_s_max = seconds

    async def serving(self) -> None:
        """Wait until every place is served."""
        await self._serving.wait()

    async def stop(self) -> None:
        """Stop all hosts in order: each answers what is in flight and writes its snapshots."""
        for keeper in self._keepers.values():
            keeper.cancel()
        await asyncio.gather(
            self._spares.stop(), *self._keepers.values(), *self._kills, return_exceptions=True
        )
        await asyncio.gather(*(self._launcher.stop(process) for process in self.processes()))

    def processes(self) -> list[HostProcess]:
        """Return the hosts there are, standbys last."""
        return [place.process for place in self.places if place.process is not None] + self._spares.ready

    # Moving on purpose

    def add_place(self, *, is_dedicated: bool = False, process: HostProcess | None = None) -> Place:
        """Open a place without partitions; a host is found for it, unless one is given."""
        number = 1 + max((place.number for place in self.places), default=-1)
        place = Place(number, (), is_dedicated=is_dedicated)
        self.places.append(place)
        self._keepers[place] = asyncio.create_task(self._keep(place, process))
        return place

    async def take_on(self, node: str) -> HostProcess:
        """Find or start a host on a node, for `add_place`. Raises Unavailable: the node is doubted then."""
        return await self._spares.take_on(node)

    async def nodes(self) -> list[str]:
        """Return the nodes that hosts can be started on. Raises Unavailable."""
        return await self._nodes.ask()

    def is_doubted(self, node: str) -> bool:
        """Whether a node may be lost, or starts no hosts: see `actors.nodes`."""
        return self._nodes.is_doubted(node)

    async def close_place(self, place: Place) -> None:
        """Close a place that has no partitions any more, and stop its host."""
        assert not place.partitions, "a place with partitions must be kept"
        self.places.remove(place)
        keeper = self._keepers.pop(place)
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
        process, place.process = place.process, None
        if process is not None:
            self._changed(self.processes())
            await self._launcher.stop(process)

    async def move(self, move: Move) -> Moved:
        """Move partitions between places that are served; each belongs to the place of its host afterwards.

        Raises Unavailable: then they are where they were, or are given back to there.
        """
        source, target = move.source.process, move.target.process
        if source is None or target is None or not (move.source.is_serving and move.target.is_serving):
            raise Unavailable("a host is being replaced")
        fields = {"partitions": move.partitions, "address": target.address}
        self._moving.update(move.partitions)
        try:
            answer = await self._control(source.address, "hand_over", fields, _HAND_OVER_TIMEOUT_S)
            handed = cast("dict[str, Any]", answer)
            moved = Moved(handed["moved"], handed["refused"], float(handed["pause_ms"]))
            move.source.partitions.difference_update(moved.partitions)
            move.target.partitions.update(moved.partitions)
        finally:
            self._moving.difference_update(move.partitions)
        return moved

    # Keeping places

    async def _keep(self, place: Place, process: HostProcess | None = None) -> None:
        """Serve a place for ever."""
        while True:
            try:
                place.process, process = process or await self._spares.next(), None
                self._changed(self.processes())
                if place.partitions:
                    await self._take(place.process, place)
                place.is_serving = True
                if all(other.is_serving for other in self.places):
                    self._serving.set()
                _log.info("place_served", place=place.number, host=place.process.name)
                self._spares.launch_missing()
                await self._watch(place.process, place)
                _log.warning("host_lost", place=place.number, host=place.process.name)
            except Unavailable as fault:
                _log.warning("place_waits", place=place.number, fault=str(fault))
                await self._sleep(_RETRY_S)
            except Exception as fault:  # noqa: BLE001 - nobody else would serve the place
                _log.error("supervisor_failed", place=place.number, exc_info=fault)
                await self._sleep(_RETRY_S_MAX)
            place.is_serving = False
            lost, place.process = place.process, None
            if lost is not None:
                self._spares.lost(lost)
                kill = asyncio.create_task(self._launcher.kill(lost))
                self._kills.add(kill)
                kill.add_done_callback(self._kills.discard)

    async def _take(self, process: HostProcess, place: Place) -> None:
        """Give a host its partitions. While storage is away a host that lives is asked again, not replaced.

        Raises Unavailable when the host is dead.
        """
        retry_s = _RETRY_S
        async with self._watching(process) as watch:
            while True:
                try:
                    await watch.ask("take", sorted(place.partitions), _TAKE_TIMEOUT_S)
                except HostGone:
                    raise
                except Unavailable as fault:
                    await watch.owned()
                    _log.warning("place_waits", place=place.number, host=process.name, fault=str(fault))
                    await self._sleep(retry_s)
                    retry_s = min(retry_s * 2, _RETRY_S_MAX)
                else:
                    return

    def _is_time_for_standbys(self) -> bool:
        """Standbys are launched with the first hosts, so that the first to die finds one.

        Later they wait until every place is served: starting one takes two seconds of a core that a recovery
        needs.
        """
        return not self._serving.is_set() or all(place.is_serving for place in self.places)

    async def _answers(self, process: HostProcess) -> bool:
        return await owned_by(process.address, self._control, _SUSPECT_S) is not None

    async def _take_missing(self, watch: Watch, place: Place, host: str, missing: set[int]) -> None:
        """Give a host back what it lost of its place's partitions. The next ping tells if it has them.

        Raises HostGone.
        """
        _log.warning("place_incomplete", place=place.number, host=host, missing=len(missing))
        try:
            await watch.ask("take", sorted(missing), _TAKE_TIMEOUT_S)
        except HostGone:
            raise
        except Unavailable as fault:
            _log.warning("place_waits", place=place.number, host=host, fault=str(fault))

    def _watching(self, process: HostProcess) -> AbstractAsyncContextManager[Watch]:
        return watching(process.address, self._token, self._control, ping_s=_PING_S, suspect_s=_SUSPECT_S)

    async def _watch(self, process: HostProcess, place: Place) -> None:
        """Return when a host is dead or does not answer. One that lost partitions takes them back.

        Raises Unavailable when it cannot be watched.
        """
        async with self._watching(process) as watch:
            with suppress(HostGone):
                while True:
                    asked_s = asyncio.get_running_loop().time()
                    owned = await watch.owned()
                    self._nodes.answered(process.node, asked_s)
                    if missing := place.partitions - self._moving - owned:
                        await self._take_missing(watch, place, process.name, missing)
                    await watch.pause()

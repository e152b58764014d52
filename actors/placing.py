"""Carries out what an administrator wishes of the places: isolated SKUs, an even spread, more or fewer hosts.

A wish is a state that shall be, not a step: it is stored, and whoever supervises next goes on with it. What
could not be done now is tried again until it is, or until another wish replaces it. A partition whose ledger
is refused is served by nobody and cannot move: it is left out, with the place that it lies in.

Between wishes, nodes that were added get their share by themselves, if the settings allow it. Isolated SKUs
stay where they are then, and hosts never become fewer.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from actors.newcomers import Newcomers
from actors.outcomes import Fault, Unavailable
from actors.places import HostProcess, Move, Moved, Place, crowded, emptying_moves, even_moves
from engine.partitioning import partition_of
from persistence.placement import Granted, Wish, Wishes

_log = structlog.get_logger()

_LOOK_S = 0.5
_RETRY_S = 1.0
_GROUP = 16
"""Partitions that move together: few enough for a short pause."""
_SERVED_S_MAX = 60.0
_POLL_S = 0.02


class Places(Protocol):
    """What a supervisor lets others do to its places."""

    places: list[Place]

    def add_place(self, *, is_dedicated: bool = False, process: HostProcess | None = None) -> Place:
        """Open a place without partitions."""

    async def take_on(self, node: str) -> HostProcess:
        """Find or start a host on a node. Raises Unavailable: the node is doubted then."""

    async def nodes(self) -> list[str]:
        """Return the nodes for hosts. Raises Unavailable."""

    def is_doubted(self, node: str) -> bool:
        """Whether a node may be lost, or starts no hosts."""

    async def close_place(self, place: Place) -> None:
        """Close a place without partitions."""

    async def move(self, move: Move) -> Moved:
        """Move partitions; return which have moved, and which cannot. Raises Unavailable."""


class Placing:
    """Brings the places to what is wished, one wish after another."""

    def __init__(
        self,
        supervisor: Places,
        wishes: Wishes,
        *,
        partitions: int,
        hosts: int,
        newcomers: Newcomers | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`newcomers` tells which nodes get a share by themselves; without it none does."""
        self._supervisor = supervisor
        self._wishes = wishes
        self._partitions = partitions
        self._hosts = hosts
        self._hosts_wished: int | None = None
        self._newcomers = newcomers
        self._sleep = sleep
        self._moved = 0
        self._pauses_ms: list[float] = []
        self._refused: set[int] = set()
        self._unfinished: int | None = None
        """How many shared places there shall be; None when there are."""

    async def run(self) -> None:
        """Carry wishes out, and give new nodes their share, until cancelled."""
        while True:
            try:
                wish, granted = await self._wishes.wished(), await self._wishes.granted()
                if wish.number > granted.number:
                    await self.carry_out(wish, granted)
                    continue
                self._hosts_wished = wish.hosts  # Also where another supervisor has granted it.
                if self._newcomers is not None and self._newcomers.is_time():
                    await self._share(self._newcomers)
            except Fault as fault:
                _log.warning("placing_waits", fault=str(fault))
                await self._sleep(_RETRY_S)
            except Exception as fault:  # noqa: BLE001 - nobody else would carry wishes out
                _log.error("supervisor_failed", exc_info=fault)
                await self._sleep(_RETRY_S)
            await self._sleep(_LOOK_S)

    async def carry_out(self, wish: Wish, before: Granted) -> None:
        """Bring the places to what is wished, and say so. Raises Unavailable: try it again."""
        if wish.number != before.begun:
            self._moved, self._pauses_ms = 0, []
            await self._wishes.grant(before._replace(begun=wish.number))
        self._refused = set()
        await self._isolate({partition_of(*stock, self._partitions) for stock in wish.isolated})
        if wish.spread > before.number:
            await self._spread(wish.hosts)
        pause_ms = max(self._pauses_ms, default=0.0)
        hosts = len(self._supervisor.places)
        refused = tuple(sorted(self._refused))
        if refused:
            _log.warning("partitions_left_out", number=wish.number, partitions=refused)
        await self._wishes.grant(
            Granted(wish.number, wish.number, self._moved, hosts, round(pause_ms, 1), refused)
        )
        _log.info("wish_granted", number=wish.number, moved=self._moved, pause_ms_max=round(pause_ms, 1))

    # What is isolated

    async def _isolate(self, partitions: set[int]) -> None:
        """Give each of these partitions, and no other, a host of its own."""
        for place in [place for place in self._supervisor.places if place.is_dedicated]:
            if not place.partitions <= partitions:
                await self._empty(place, self._shared())
            if not place.partitions:  # Also one that an attempt before left behind.
                await self._supervisor.close_place(place)
        for partition in sorted(partitions):
            source = self._place_of(partition)
            if not source.is_dedicated:
                target = self._supervisor.add_place(is_dedicated=True)
                await self._served(target)
                await self._move([partition], source, target)
                if not target.partitions:
                    await self._supervisor.close_place(target)

    # An even spread

    async def _spread(self, hosts: int | None) -> None:
        """Spread the other partitions evenly over shared places, and these over the nodes."""
        nodes = await self._supervisor.nodes()
        self._hosts_wished = hosts
        await self._level(self._wanted(nodes))
        while (found := crowded(self._supervisor.places, self._trusted(nodes))) is not None:
            place, node = found
            try:
                process = await self._supervisor.take_on(node)
            except Unavailable as fault:
                await self._supervisor.nodes()  # Raises when it is Ray that is away, not the node.
                _log.warning("node_left_out", node=node, fault=str(fault))
                continue
            if not await self._relocate(place, process):
                break

    def _wanted(self, nodes: list[str]) -> int:
        """Return how many shared places there shall be."""
        return min(self._hosts_wished or max(self._hosts, len(nodes)), self._partitions)

    def _trusted(self, nodes: list[str]) -> list[str]:
        return [node for node in nodes if not self._supervisor.is_doubted(node)]

    async def _level(self, wanted: int) -> None:
        """Have so many shared places, with as many partitions each. Raises Unavailable: try it again."""
        self._unfinished = wanted
        while len(self._shared()) < wanted:
            self._supervisor.add_place()
        for place in reversed(self._shared()[wanted:]):
            await self._empty(place, self._shared()[:wanted])
            if not place.partitions:
                await self._supervisor.close_place(place)
        shared = self._shared()[:wanted]
        for place in shared:
            await self._served(place)
        for partitions, source, target in even_moves(shared):
            await self._move(partitions, source, target)
        self._unfinished = None

    async def _relocate(self, place: Place, process: HostProcess) -> bool:
        """Have a place served by another host; return whether nothing was left where it was."""
        before = self._unfinished
        self._unfinished = len(self._shared())
        fresh = self._supervisor.add_place(is_dedicated=place.is_dedicated, process=process)
        await self._served(fresh)
        await self._move(sorted(place.partitions), place, fresh)
        for one in (place, fresh):
            if not one.partitions:
                await self._supervisor.close_place(one)
        self._unfinished = before
        return not place.partitions

    # Nodes that were added

    async def _share(self, newcomers: Newcomers) -> None:
        """Give nodes that were added their share, if it is time."""
        try:
            nodes = self._trusted(await self._supervisor.nodes())
        except Unavailable:
            nodes = []  # While Ray's control store is away nobody is added.
        due = newcomers.look(nodes, self._supervisor.places)
        if due and not self._has_share(nodes, due):
            due = []
        if due is None or (not due and self._unfinished is None):
            return
        newcomers.moved()
        self._moved, self._pauses_ms, self._refused = 0, [], set()
        try:
            if self._unfinished is not None:
                await self._level(self._unfinished)
            await self._share_with(due, nodes)
        except Unavailable as fault:
            _log.warning("sharing_waits", nodes=due, fault=str(fault))
            return
        pause_ms = round(max(self._pauses_ms, default=0.0), 1)
        _log.info("partitions_shared", nodes=due, moved=self._moved, pause_ms_max=pause_ms)

    def _has_share(self, nodes: list[str], due: list[str]) -> bool:
        """Whether one more host, or one of those there are, should lie on a node that has none."""
        if len(self._shared()) < self._wanted(nodes):
            return True
        return crowded(self._supervisor.places, nodes, self._shared(), due) is not None

    async def _share_with(self, due: list[str], nodes: list[str]) -> None:
        """Give nodes a host more each, if there shall be more, and hosts of nodes that have too many."""
        for node in due:
            if len(self._shared()) < self._wanted(nodes):
                self._supervisor.add_place(process=await self._supervisor.take_on(node))
                await self._level(len(self._shared()))
        while (found := crowded(self._supervisor.places, nodes, self._shared(), due)) is not None:
            place, node = found
            if not await self._relocate(place, await self._supervisor.take_on(node)):
                break

    # Moves

    async def _empty(self, place: Place, others: list[Place]) -> None:
        """Give a place's partitions to those others that have the fewest."""
        for partitions, source, target in emptying_moves(place, others):
            await self._move(partitions, source, target)

    async def _move(self, partitions: list[int], source: Place, target: Place) -> None:
        """Move what can be moved. Raises Unavailable when something else has stayed: try it again."""
        for start in range(0, len(partitions), _GROUP):
            group = partitions[start : start + _GROUP]
            moved = await self._supervisor.move(Move(group, source, target))
            self._pauses_ms.append(moved.pause_ms)
            self._moved += len(moved.partitions)
            self._refused.update(moved.refused)
            if stayed := set(group) - {*moved.partitions, *moved.refused}:
                raise Unavailable(f"{len(stayed)} of {len(group)} partitions have not moved yet")

    async def _served(self, place: Place) -> None:
        """Wait until a place has its host. Raises Unavailable."""
        for _ in range(int(_SERVED_S_MAX / _POLL_S)):
            if place.is_serving:
                return
            await self._sleep(_POLL_S)
        raise Unavailable(f"place {place.number} has no host yet")

    def _shared(self) -> list[Place]:
        return [place for place in self._supervisor.places if not place.is_dedicated]

    def _place_of(self, partition: int) -> Place:
        return next(place for place in self._supervisor.places if partition in place.partitions)

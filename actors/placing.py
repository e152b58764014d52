"""Carries out what an administrator wishes of the places: isolated SKUs, an even spread, more or fewer hosts.

A wish is a state that shall be, not a step: it is stored, and whoever supervises next goes on with it. What
could not be done now is tried again until it is, or until another wish replaces it. A partition whose ledger
is refused is served by nobody and cannot move: it is left out, with the place that it lies in.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

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

    async def launch_on(self, node: str) -> HostProcess:
        """Start a host on a node. Raises Unavailable."""

    async def nodes(self) -> list[str]:
        """Return the nodes for hosts. Raises Unavailable."""

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
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._supervisor = supervisor
        self._wishes = wishes
        self._partitions = partitions
        self._hosts = hosts
        self._sleep = sleep
        self._moved = 0
        self._pauses_ms: list[float] = []
        self._refused: set[int] = set()

    async def run(self) -> None:
        """Carry wishes out until cancelled."""
        while True:
            try:
                wish, granted = await self._wishes.wished(), await self._wishes.granted()
                if wish.number > granted.number:
                    await self.carry_out(wish, granted)
                    continue
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
        wanted = min(hosts or max(self._hosts, len(nodes)), self._partitions)
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
        while (found := crowded(self._supervisor.places, nodes)) is not None:
            if not await self._relocate(*found):
                break

    async def _relocate(self, place: Place, node: str) -> bool:
        """Have a place served by a host on another node; return whether nothing was left where it was."""
        process = await self._supervisor.launch_on(node)
        fresh = self._supervisor.add_place(is_dedicated=place.is_dedicated, process=process)
        await self._served(fresh)
        await self._move(sorted(place.partitions), place, fresh)
        for one in (place, fresh):
            if not one.partitions:
                await self._supervisor.close_place(one)
        return not place.partitions

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

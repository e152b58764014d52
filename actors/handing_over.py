"""Handing partitions over to another host on purpose: nothing fails, and their requests wait a moment.

    snapshot -> pause -> drain what was decided -> the other host takes -> requests that waited are sent there

That only one host ever commits is the ledger's doing, as with every claim; the pause makes it smooth.
Whatever goes wrong, each partition ends with one owner: the other host if it has claimed it, else this one.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, Protocol

import structlog

from actors.outcomes import Unavailable
from actors.retrying import until_available

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from actors.committer import Batch
    from actors.host import Host
    from actors.owned import OwnedPartition
    from actors.snapshotter import Snapshotter

_log = structlog.get_logger()

_SNAPSHOT_S_MAX = 10.0
"""How long the snapshot before the pause may take; a longer tail only makes the pause longer."""
_DRAIN_S_MAX = 2.0
_TAKE_S_MAX = 5.0
"""The way there included. With the drain it is less than the 10 s that a caller waits for its answer."""
_LOOK_S = 0.05


class Peers(Protocol):
    """Reaches other hosts."""

    def control(self, address: str, name: str, fields: object, timeout_s: float) -> Awaitable[object]:
        """Ask the host at an address. Raises Unavailable."""


class HandedOver(NamedTuple):
    """What became of a hand-over."""

    moved: list[int]
    """Partitions that the other host has now."""
    refused: list[int]
    """Those whose ledger is refused here: nobody serves them, and they stay as they are."""
    pause_ms: float
    """From the last decision here until the other host is ready."""


class HandingOver:
    """Gives partitions of one host to others."""

    def __init__(self, host: Host, snapshotter: Snapshotter, peers: Peers) -> None:
        self._host = host
        self._snapshotter = snapshotter
        self._peers = peers
        self._turn = asyncio.Lock()
        self._committed = asyncio.Event()
        self._flushed = asyncio.Event()
        self._flushed.set()
        self.leaving: dict[int, OwnedPartition] = {}
        """Partitions that are paused: owned, and about to be another's."""
        host.on_committed.append(self._note)

    def _note(self, _: Batch) -> None:
        self._committed.set()

    async def hand_over(self, partitions: list[int], address: str) -> HandedOver:
        """Have the host at `address` take partitions that are ours; others are left out.

        What has not moved is served here again. Raises Unavailable when nothing has.
        """
        async with self._turn:
            refused = sorted(self._host.refused.keys() & set(partitions))
            ours = {n: o for n, o in self._owned(partitions).items() if o.is_ready}
            if not ours:
                return HandedOver([], refused, 0.0)
            await self._written(frozenset(ours))
            started = self._host.stopwatch()
            self.leaving = {n: o for n, o in ours.items() if self._host.owned.get(n) is o and o.is_ready}
            for owned in self.leaving.values():
                owned.is_ready = False
            gone: frozenset[int] = frozenset()
            try:
                await self._drained()
                gone = await self._taken(address)
            finally:
                pause_ms = (self._host.stopwatch() - started) * 1000
                self._end(gone)
            _log.info("partitions_handed_over", to=address, partitions=len(gone), pause_ms=round(pause_ms, 1))
            return HandedOver(sorted(gone), refused, pause_ms)

    def _owned(self, partitions: list[int]) -> dict[int, OwnedPartition]:
        owned = self._host.owned
        return {number: owned[number] for number in partitions if number in owned}

    async def _written(self, partitions: frozenset[int]) -> None:
        """Have snapshots written, and wait for that for a while; one that is late goes on behind the move.

        A flush is never cancelled: what is dirty is in its hands, and it alone knows how far it has come.
        """
        if self._flushed.is_set():  # Else the flush of a hand-over before has not ended yet.
            self._flushed.clear()
            self._host.spawn(self._flush(partitions))
        with suppress(TimeoutError):
            async with asyncio.timeout(_SNAPSHOT_S_MAX):
                await self._flushed.wait()

    async def _flush(self, partitions: frozenset[int]) -> None:
        await self._snapshotter.flush(partitions)
        self._flushed.set()

    async def _drained(self) -> None:
        """Wait until all that was decided in the leaving partitions is durable. Raises Unavailable."""
        deadline_s = self._host.stopwatch() + _DRAIN_S_MAX
        while waiting := [o for o in self.leaving.values() if o.committed_seq < o.state.seq]:
            if any(self._host.owned.get(owned.state.number) is not owned for owned in waiting):
                raise Unavailable("a partition was lost, or is being decided again")
            if self._host.stopwatch() > deadline_s:
                raise Unavailable("commits take too long for a hand-over")
            self._committed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._committed.wait()

    async def _taken(self, address: str) -> frozenset[int]:
        """Have the other host take them; return which have moved. Raises Unavailable when none has."""
        host = self._host
        numbers = sorted(number for number, o in self.leaving.items() if host.owned.get(number) is o)
        epochs = host.ownership.epochs_of(numbers)
        try:
            await self._peers.control(address, "take", numbers, _TAKE_S_MAX)
        except Unavailable:
            # It may have claimed them all the same, some or all: the database knows.
            gone = await until_available(lambda: host.snapshots.lost(epochs), host.sleep)
            if not gone:
                raise
            return gone
        return frozenset(numbers)

    def _end(self, gone: frozenset[int]) -> None:
        """Send what waits for the partitions that have moved to their owner; serve the others again."""
        host = self._host
        leaving, self.leaving = self.leaving, {}
        moved = frozenset(number for number in gone if host.owned.get(number) is leaving[number])
        if moved:
            host.ownership.let_go(moved, [host.committer.open])
        for number, owned in leaving.items():
            if host.owned.get(number) is owned and not host.ownership.is_distrusted(number):
                owned.is_ready = True
                host.activator.wake(owned)

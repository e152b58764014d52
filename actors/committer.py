"""Group commit and the output gate.

Whatever was decided while the last batch was being committed is the next batch: there is no timer. An answer
waits in its batch and leaves when the batch is durable; one that made no entries waits until its owner is
known to be the owner still.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from time import perf_counter
from typing import Protocol

import structlog

from actors.gauges import Gauges
from actors.read_gate import ReadGate
from actors.requests import Request
from actors.retrying import RETRY_S_FIRST, RETRY_S_MAX, until_available
from engine.entries import Entry
from persistence.ports import KeysTaken, Ledger, OutcomeUnknown, PartitionsLost, Snapshots, Unavailable

_log = structlog.get_logger()


class Batch:
    """Entries that are committed together, and the requests that wait for it."""

    __slots__ = ("entries", "requests")

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.requests: list[Request] = []

    def without(self, partitions: Iterable[int]) -> list[Request]:
        """Take partitions out of the batch; return the requests that were theirs."""
        gone = set(partitions)
        self.entries = [entry for entry in self.entries if entry.partition not in gone]
        taken = [request for request in self.requests if request.partition in gone]
        self.requests = [request for request in self.requests if request.partition not in gone]
        return taken


class Gate(Protocol):
    """Lets answers go."""

    def committed(self, batch: Batch) -> None:
        """The batch is durable: its answers may leave."""

    def let_go(self, requests: list[Request]) -> None:
        """These answers may leave."""


class Owner(Protocol):
    """Knows what is owned, and is told what is not any more."""

    def epochs_of(self, partitions: Iterable[int]) -> dict[int, int]:
        """Return the epochs under which partitions are owned; others are left out."""

    def lose(self, partitions: frozenset[int], batches: list[Batch]) -> None:
        """Others own these partitions: take them out of the batches and turn their requests away."""

    def lost_since(self, claims: set[tuple[int, int]]) -> None:
        """Others own these partitions, which were owned under these epochs: give them up."""

    def give_back(self, requests: list[Request]) -> None:
        """Turn requests away: their partition has another owner, and nothing of them happened."""

    def rewind(self, keys: frozenset[str], batches: list[Batch]) -> None:
        """These keys happened long ago: take their partitions out of the batches, and decide them again."""


class Committer:
    """Commits one batch after another."""

    def __init__(
        self,
        ledger: Ledger,
        snapshots: Snapshots,
        gate: Gate,
        owner: Owner,
        gauges: Gauges,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._ledger = ledger
        self._gate = gate
        self._owner = owner
        self._gauges = gauges
        self._sleep = sleep
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._passed = asyncio.Event()
        self.open = Batch()
        """It takes what is decided now."""
        self.closed = Batch()
        """The batch that was closed last: it takes nothing more, and may be on its way."""
        self.reads = ReadGate(snapshots, gate, owner, sleep)
        self.is_committing = False

    def kick(self) -> None:
        """Say that the open batch has something in it."""
        if not self._wake.is_set():
            self._wake.set()
            self._idle.clear()

    @property
    def is_idle(self) -> bool:
        """Whether the state holds nothing that is not durable."""
        return not self.is_committing and not self.open.requests and not self.open.entries

    async def drained(self) -> None:
        """Wait until everything decided so far is durable and answered."""
        await self._idle.wait()
        await self.reads.drained()

    async def passed(self) -> None:
        """Wait until the batch that is on its way, if there is one, has ended."""
        if self.is_committing:
            await self._passed.wait()

    async def run(self) -> None:
        """Commit batches until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self.open.requests or self.open.entries:
                batch, self.open = self.open, Batch()
                self.closed = batch
                self.is_committing = True
                self._passed.clear()
                await self._commit(batch)
                self.is_committing = False
                self._passed.set()
                if len(batch.requests) > 1:
                    await self._gathered()
            if not self._wake.is_set():
                self._idle.set()

    async def _gathered(self) -> None:
        """Let what lies in the sockets be decided first: a larger batch costs each of its requests less.

        Nobody waits for it where there is nothing: two turns of the loop, one to read and one to decide.
        """
        await self._sleep(0)
        await self._sleep(0)

    async def _commit(self, batch: Batch) -> None:
        """Make a batch durable, however often it takes, then let its answers go.

        All that a partition decided before is durable by now: answers of partitions without an entry in the
        batch need not wait for it.
        """
        started = perf_counter()
        written = {entry.partition for entry in batch.entries}
        unwritten = {request.partition for request in batch.requests} - written
        if unwritten:
            self.reads.put(batch.without(unwritten), self._owner.epochs_of(unwritten))
        if batch.entries:
            await self._append(batch)
            self._gauges.commit(len(batch.entries), perf_counter() - started)
        self._gate.committed(batch)

    async def _append(self, batch: Batch) -> None:
        retry_s = RETRY_S_FIRST
        while batch.entries:
            try:
                await self._ledger.append(batch.entries)
            except PartitionsLost as lost:
                self._owner.lose(lost.partitions, [batch, self.open])
            except KeysTaken as taken:
                self._owner.rewind(taken.keys, [batch, self.open])
            except Unavailable as fault:
                _log.warning("commit_waits", fault=str(fault), retry_s=retry_s)
                await self._sleep(retry_s)
                retry_s = min(retry_s * 2, RETRY_S_MAX)
            except OutcomeUnknown as fault:
                _log.warning("commit_unknown", fault=str(fault))
                if await self._find_out(batch.entries):
                    return
            else:
                return

    async def _find_out(self, entries: list[Entry]) -> bool:
        return await until_available(lambda: self._ledger.is_committed(entries), self._sleep, OutcomeUnknown)

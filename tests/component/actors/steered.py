"""Adapters in memory that a test steers: they wait, fail and lose answers when it says so."""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from engine.commands import StockKey
from engine.entries import Entry
from engine.images import LotRow, Rows
from persistence.memory import MemoryDatabase, MemoryLedger, MemorySnapshots, MemoryStreams
from persistence.ports import Head, Message, OutcomeUnknown, Recovery, Unavailable


class Gate:
    """Open unless a test holds it; tells how many wait at it."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self.waiting = 0

    async def passed(self) -> None:
        """Wait while the gate is held."""
        self.waiting += 1
        try:
            await self._open.wait()
        finally:
            self.waiting -= 1

    def hold(self) -> None:
        """Let nobody pass."""
        self._open.clear()

    def release(self) -> None:
        """Let everybody pass."""
        self._open.set()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the gate for the length of a block."""
        self.hold()
        try:
            yield
        finally:
            self.release()


class SteeredLedger(MemoryLedger):
    """A ledger whose appends wait at `gate`, and end as `outcomes` say: none left means well.

    unavailable: nothing is committed. lost_request: unknown, not committed. lost_answer: unknown, committed.
    """

    def __init__(self, database: MemoryDatabase, host: str) -> None:
        super().__init__(database, host)
        self.gate = Gate()
        self.outcomes: deque[str] = deque()
        self.batches: list[list[Entry]] = []
        """What was committed, a list an append."""
        self.commit_s = 0.0
        """How long each append takes."""
        self.questions: deque[str] = deque()
        """How the next `is_committed` end: `unavailable` or well."""
        self.gone: set[tuple[int, int]] = set()
        """(partition, seq) of rows that `read` and `missing` do not find: the list itself has no gaps."""

    async def read(self, partition: int, after_seq: int, limit: int) -> list[Entry]:
        """See `Ledger.read`."""
        lost = sum(number == partition for number, _ in self.gone)
        found = await super().read(partition, after_seq, limit + lost)
        return [entry for entry in found if (partition, entry.seq) not in self.gone][:limit]

    async def missing(self, partition: int, after_seq: int, until_seq: int) -> int | None:
        """See `Ledger.missing`."""
        lost = [seq for number, seq in self.gone if number == partition and after_seq < seq <= until_seq]
        return min(lost) if lost else await super().missing(partition, after_seq, until_seq)

    async def append(self, entries: Sequence[Entry]) -> None:
        """See `Ledger.append`."""
        await self.gate.passed()
        if self.commit_s:
            await asyncio.sleep(self.commit_s)
        outcome = self.outcomes.popleft() if self.outcomes else "well"
        if outcome == "unavailable":
            raise Unavailable(outcome)
        if outcome == "lost_request":
            raise OutcomeUnknown(outcome)
        await super().append(entries)
        self.batches.append(list(entries))
        if outcome == "lost_answer":
            raise OutcomeUnknown(outcome)

    async def is_committed(self, entries: Sequence[Entry]) -> bool:
        """See `Ledger.is_committed`."""
        if self.questions and self.questions.popleft() == "unavailable":
            message = "the question"
            raise Unavailable(message)
        return await super().is_committed(entries)


class SteeredSnapshots(MemorySnapshots):
    """Snapshots that wait at gates, and fail as long as a test says so."""

    def __init__(self, database: MemoryDatabase) -> None:
        super().__init__(database)
        self.check_gate = Gate()
        self.load_gate = Gate()
        self.lots_gate = Gate()
        self.recover_gate = Gate()
        self.save_gate = Gate()
        self.gates = [self.check_gate, self.load_gate, self.lots_gate, self.recover_gate, self.save_gate]
        self.failing: set[str] = set()
        """Names of methods that raise Unavailable."""
        self.loads = 0
        self.checks = 0
        self.failed = 0

    async def lost(self, epochs: dict[int, int]) -> frozenset[int]:
        """See `Snapshots.lost`."""
        self.checks += 1
        await self.check_gate.passed()
        self._fail("lost")
        return await super().lost(epochs)

    async def load(self, stocks: Sequence[tuple[int, StockKey]]) -> Rows:
        """See `Snapshots.load`."""
        self.loads += 1
        await self.load_gate.passed()
        self._fail("load")
        return await super().load(stocks)

    async def lots(self, stocks: Sequence[StockKey]) -> list[LotRow]:
        """See `Snapshots.lots`."""
        await self.lots_gate.passed()
        self._fail("lots")
        return await super().lots(stocks)

    async def recover(self, partitions: Sequence[int], recent_keys: int) -> Recovery:
        """See `Snapshots.recover`."""
        await self.recover_gate.passed()
        self._fail("recover")
        return await super().recover(partitions, recent_keys)

    async def save(self, epochs: dict[int, tuple[int, int, int]], rows: Rows) -> frozenset[int]:
        """See `Snapshots.save`."""
        await self.save_gate.passed()
        self._fail("save")
        return await super().save(epochs, rows)

    async def replace(self, head: Head, rows: Rows) -> bool:
        """See `Snapshots.replace`."""
        self._fail("replace")
        return await super().replace(head, rows)

    def _fail(self, name: str) -> None:
        if name in self.failing:
            self.failed += 1
            raise Unavailable(name)


class SteeredStreams(MemoryStreams):
    """Streams that can be away, and can lose what they had."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = False
        self.may_have_lost = False
        self.stored_before_failing = 0
        """How many messages of the next publishes are stored although they fail."""

    async def publish(self, messages: Sequence[Message]) -> None:
        """See `Streams.publish`."""
        if self.is_away:
            stored = list(messages)[: self.stored_before_failing]
            self.stored_before_failing -= len(stored)
            await super().publish(stored)
            message = "streams are away"
            raise Unavailable(message)
        if self.may_have_lost:
            message = "streams were away: their tails are not known"
            raise Unavailable(message)
        await super().publish(messages)

    async def ledger_tails(self, partitions: Sequence[int]) -> dict[int, int]:
        """See `Streams.ledger_tails`."""
        if self.is_away or self.may_have_lost:
            message = "streams are or were away"
            raise Unavailable(message)
        return await super().ledger_tails(partitions)

    def start_over(self) -> None:
        """See `Streams.start_over`."""
        self.may_have_lost = False

    def wipe(self) -> None:
        """Forget everything, as a server that lost its disk."""
        self.may_have_lost = True
        self.stock.clear()
        self.ledger.clear()
        self.tails.clear()
        self._message_ids.clear()

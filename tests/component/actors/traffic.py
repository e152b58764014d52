"""Continuous load on a world, and what must be true of its ledger afterwards."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from actors.outcomes import Answered, Outcome
from engine.entries import Kind
from engine.refusals import Refused
from tests.component.actors.world import World, number_of
from tests.waiting import until

STOCK = 1_000_000


class Traffic:
    """Callers that each have one request open at any time, over some SKUs."""

    def __init__(self, w: World, skus: list[str], *, callers: int = 24) -> None:
        self.world = w
        self.skus = skus
        self.acknowledged: list[str] = []
        """Keys whose reservation was answered."""
        self.failures: list[BaseException | Refused] = []
        self.waited_s_max = 0.0
        self._callers = callers
        self._is_over = False
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Stock up and begin."""
        for sku in self.skus:
            await self.world.receive(sku, STOCK)
        self._tasks = [asyncio.create_task(self._call(n)) for n in range(self._callers)]

    async def more(self, answers: int = 200) -> None:
        """Wait until so many more answers have come."""
        wanted = len(self.acknowledged) + answers
        await until(lambda: len(self.acknowledged) >= wanted or self.failures, deadline_s=20)

    async def stop(self) -> None:
        """Let every caller have its last answer."""
        self._is_over = True
        await asyncio.gather(*self._tasks)

    async def _call(self, caller: int) -> None:
        loop = asyncio.get_running_loop()
        number = caller
        while not self._is_over:
            number += 1
            sku, key = self.skus[number % len(self.skus)], self.world.key()
            started_s = loop.time()
            try:
                # Some keys are sent twice at once: once they must happen all the same.
                asked = [self.world.reserve(sku, 1, key) for _ in range(1 + number % 2)]
                outcomes: list[Outcome] = await asyncio.gather(*asked)
            except Exception as fault:  # noqa: BLE001 - it is what the test looks for
                self.failures.append(fault)
                return
            self.waited_s_max = max(self.waited_s_max, loop.time() - started_s)
            for outcome in outcomes:
                if isinstance(outcome, Answered):
                    self.acknowledged.append(key)
                else:
                    self.failures.append(outcome)

    def assert_kept(self) -> None:
        """Nothing failed; every key happened once; each host wrote only under its own claims."""
        assert self.failures == []
        assert self.acknowledged
        entries = [entry for tables in self.world.database.partitions for entry in tables.ledger]
        times = Counter(e.key for e in entries if e.kind == Kind.STOCK_RESERVED and e.sku in self.skus)
        assert times == dict.fromkeys(self.acknowledged, 1)
        self._assert_one_writer()

    def _assert_one_writer(self) -> None:
        writers = {
            (entry.partition, entry.seq): ledger.host
            for ledger in self.world.ledgers
            for batch in ledger.batches
            for entry in batch
        }
        for number in {number_of(sku) for sku in self.skus}:
            owner = None
            for seq, entry in enumerate(self.world.database.partitions[number].ledger, start=1):
                assert entry.seq == seq
                if entry.kind == Kind.PARTITION_CLAIMED:
                    owner = json.loads(entry.detail or "")["host"]
                else:
                    assert writers[number, seq] == owner


@asynccontextmanager
async def traffic(w: World, skus: list[str]) -> AsyncIterator[Traffic]:
    """Load a world for the length of a block; at its end all that must be true is checked."""
    made = Traffic(w, skus)
    await made.start()
    try:
        await made.more()
        yield made
        await made.more()
    finally:
        await made.stop()
    made.assert_kept()

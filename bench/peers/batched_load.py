"""Load on the batched procedure: group commit in the client, as an expert would set it against an engine's.

Callers hand their requests to senders, one a connection; a sender sends what has come while its last batch
was under way as one call. Those that are free at once share what waits: so one decides while another commits.
"""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import asyncpg

from bench.callers import Caller, Callers
from bench.workloads import Workload

_RESERVE = "SELECT reserve_batch($1, $2, $3, $4)"
_RESERVE_ORDERS = "SELECT reserve_order_batch($1, $2, $3, $4, $5)"
_SETTINGS = {"plan_cache_mode": "force_generic_plan"}
"""A plan for each batch anew costs as much as the batch, and is the same plan."""


class BatchedLoad:
    """Reserves in batches. Its connections live as long as a load: a server has only so many."""

    def __init__(self, postgres_url: str, connections: int = 2) -> None:
        self._postgres_url = postgres_url
        self._connections = connections

    async def close(self) -> None:
        """Do nothing: connections live as long as a load."""

    async def closed(
        self, workload: Workload, salt: int, *, in_flight: int, warm_s: float, seconds: float
    ) -> dict[str, Any]:
        """Keep `in_flight` reserves under way: for `warm_s`, which do not count, then for `seconds`."""
        senders = _Senders(workload)
        callers = Callers(workload, salt, senders.submit)
        async with AsyncExitStack() as stack:
            tasks = []
            for _ in range(self._connections):
                connection = await asyncpg.connect(self._postgres_url, server_settings=_SETTINGS)
                stack.push_async_callback(connection.close)
                tasks.append(asyncio.create_task(senders.run(connection, callers)))
            try:
                return await callers.run(in_flight=in_flight, warm_s=warm_s, seconds=seconds)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)


class _Senders:
    """What waits to be sent, and those who send it."""

    def __init__(self, workload: Workload) -> None:
        self._site = workload.name
        self._is_orders = workload.lines_max > 1
        self._waiting: list[Caller] = []
        self._has_come = asyncio.Event()
        self._free = 0

    def submit(self, caller: Caller) -> None:
        """Have a request sent with the next batch."""
        self._waiting.append(caller)
        self._has_come.set()

    async def run(self, connection: Any, callers: Callers) -> None:  # noqa: ANN401 - asyncpg ships no types
        """Send batch after batch over one connection, until cancelled."""
        try:
            statement = await connection.prepare(_RESERVE_ORDERS if self._is_orders else _RESERVE)
            while True:
                batch = await self._next_batch()
                results = await statement.fetchval(*self._arguments(batch))
                for caller, is_reserved in zip(batch, results, strict=True):
                    callers.answered(caller, is_reserved=is_reserved)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as fault:
            callers.failed(fault)

    async def _next_batch(self) -> list[Caller]:
        """Return this sender's share of what waits, as soon as something does."""
        self._free += 1
        while not self._waiting:
            self._has_come.clear()
            await self._has_come.wait()
        share = -(-len(self._waiting) // self._free)
        self._free -= 1
        batch, self._waiting = self._waiting[:share], self._waiting[share:]
        return batch

    def _arguments(self, batch: list[Caller]) -> tuple[Any, ...]:
        keys = [caller.key for caller in batch]
        bins = [index for caller in batch for index in caller.bins]
        ones = [1] * len(bins)
        if not self._is_orders:
            return keys, self._site, bins, ones
        numbers = [number for number, caller in enumerate(batch, 1) for _ in caller.bins]
        return keys, self._site, numbers, bins, ones

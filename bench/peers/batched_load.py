"""Load on the batched procedure: group commit in the client, as an expert would set it against an engine's.

Callers hand their requests to senders, one a connection; a sender sends what has come while its last batch
was under way as one call. Those that are free at once share what waits: so one decides while another commits.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg

from bench.demand import Demand
from bench.driving import ACCEPTED, REFUSED, Drive, Driven
from bench.workloads import Workload

_RESERVE = "SELECT reserve_batch($1, $2, $3, $4)"
_RESERVE_ORDERS = "SELECT reserve_order_batch($1, $2, $3, $4, $5)"
_SETTINGS = {"plan_cache_mode": "force_generic_plan"}
"""A plan for each batch anew costs as much as the batch, and is the same plan."""

_Request = tuple[int, str, tuple[int, ...]]
"""Its number, its key, and its bins."""


class BatchedLoad(Driven):
    """Reserves in batches. Its connections live as long as a load: a server has only so many."""

    def __init__(self, postgres_url: str, connections: int = 2) -> None:
        self._postgres_url = postgres_url
        self._connections = connections

    async def close(self) -> None:
        """Do nothing: connections live as long as a load."""

    @asynccontextmanager
    async def sending(
        self,
        workload: Workload,
        salt: int,
        drive: Drive,
        width: int,  # noqa: ARG002 - batches take any number
    ) -> AsyncIterator["_Senders"]:
        """See `Driven.sending`."""
        senders = _Senders(workload, salt, drive)
        async with AsyncExitStack() as stack:
            tasks = []
            for _ in range(self._connections):
                connection = await asyncpg.connect(self._postgres_url, server_settings=_SETTINGS)
                stack.push_async_callback(connection.close)
                tasks.append(asyncio.create_task(senders.run(connection)))
            try:
                yield senders
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)


class _Senders:
    """What waits to be sent, and those who send it."""

    def __init__(self, workload: Workload, salt: int, drive: Drive) -> None:
        self._site = workload.name
        self._is_orders = workload.lines_max > 1
        self._demand = Demand(workload, salt)
        self.draws = self._demand.draws
        self._drive = drive
        self._waiting: list[_Request] = []
        self._has_come = asyncio.Event()
        self._free = 0

    def send(self, number: int) -> None:
        """Have the next reserve sent with the next batch."""
        self._waiting.append((number, *self._demand.of(number)))
        self._has_come.set()

    async def run(self, connection: Any) -> None:  # noqa: ANN401 - asyncpg ships no types
        """Send batch after batch over one connection, until cancelled."""
        try:
            statement = await connection.prepare(_RESERVE_ORDERS if self._is_orders else _RESERVE)
            while True:
                batch = await self._next_batch()
                results = await statement.fetchval(*self._arguments(batch))
                for (number, _, _), is_reserved in zip(batch, results, strict=True):
                    self._drive.ended(number, ACCEPTED if is_reserved else REFUSED)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as fault:
            self._drive.failed(fault)

    async def _next_batch(self) -> list[_Request]:
        """Return this sender's share of what waits, as soon as something does."""
        self._free += 1
        while not self._waiting:
            self._has_come.clear()
            await self._has_come.wait()
        share = -(-len(self._waiting) // self._free)
        self._free -= 1
        batch, self._waiting = self._waiting[:share], self._waiting[share:]
        return batch

    def _arguments(self, batch: list[_Request]) -> tuple[Any, ...]:
        keys = [key for _, key, _ in batch]
        bins = [index for _, _, wanted in batch for index in wanted]
        ones = [1] * len(bins)
        if not self._is_orders:
            return keys, self._site, bins, ones
        orders = [order for order, (_, _, wanted) in enumerate(batch, 1) for _ in wanted]
        return keys, self._site, orders, bins, ones

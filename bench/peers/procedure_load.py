"""Load on the stored procedure through asyncpg: callers share at most 32 connections, statements prepared."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg

from bench.demand import Demand
from bench.driving import ACCEPTED, REFUSED, Drive, Driven
from bench.workloads import Workload

CONNECTIONS_MAX = 32
"""More only wait for each other's locks and for the cores: this is where its rate is highest."""
_RESERVE = "SELECT reserve($1, $2, $3, 1)"
_RESERVE_ORDER = "SELECT reserve_order($1, $2, $3, $4)"


class ProcedureLoad(Driven):
    """Reserves one by one. Its connections live as long as a load: a server has only so many."""

    def __init__(self, postgres_url: str) -> None:
        self._postgres_url = postgres_url

    async def close(self) -> None:
        """Do nothing: connections live as long as a load."""

    @asynccontextmanager
    async def sending(
        self, workload: Workload, salt: int, drive: Drive, width: int
    ) -> AsyncIterator["_Requests"]:
        """See `Driven.sending`."""
        requests = _Requests(workload, salt, drive)
        async with AsyncExitStack() as stack:
            workers = []
            for _ in range(min(width, CONNECTIONS_MAX)):
                connection = await asyncpg.connect(self._postgres_url)
                stack.push_async_callback(connection.close)
                statement = await connection.prepare(_RESERVE_ORDER if workload.lines_max > 1 else _RESERVE)
                workers.append(asyncio.create_task(requests.carry(statement)))
            try:
                yield requests
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.wait(workers)


class _Requests:
    """What waits for a connection, and those who carry it."""

    def __init__(self, workload: Workload, salt: int, drive: Drive) -> None:
        self._workload = workload
        self._demand = Demand(workload, salt)
        self.draws = self._demand.draws
        self._drive = drive
        self._waiting: asyncio.Queue[tuple[int, str, tuple[int, ...]]] = asyncio.Queue()

    def send(self, number: int) -> None:
        """Have the next reserve sent by a connection that is free."""
        self._waiting.put_nowait((number, *self._demand.of(number)))

    async def carry(self, statement: Any) -> None:  # noqa: ANN401 - asyncpg ships no types
        """Carry requests over one connection, until cancelled."""
        site, is_orders = self._workload.name, self._workload.lines_max > 1
        try:
            while True:
                number, key, bins = await self._waiting.get()
                wanted = (list(bins), [1] * len(bins)) if is_orders else bins
                is_reserved = await statement.fetchval(key, site, *wanted)
                self._drive.ended(number, ACCEPTED if is_reserved else REFUSED)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as fault:
            self._drive.failed(fault)

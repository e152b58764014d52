"""Load on the stored procedure through asyncpg: callers share at most 32 connections, statements prepared."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import asyncpg

from bench.callers import Caller, Callers
from bench.workloads import Workload

CONNECTIONS_MAX = 32
"""More only wait for each other's locks and for the cores: this is where its rate is highest."""
_RESERVE = "SELECT reserve($1, $2, $3, 1)"
_RESERVE_ORDER = "SELECT reserve_order($1, $2, $3, $4)"


class ProcedureLoad:
    """Reserves one by one. Its connections live as long as a load: a server has only so many."""

    def __init__(self, postgres_url: str) -> None:
        self._postgres_url = postgres_url

    async def close(self) -> None:
        """Do nothing: connections live as long as a load."""

    async def closed(
        self, workload: Workload, salt: int, *, in_flight: int, warm_s: float, seconds: float
    ) -> dict[str, Any]:
        """Keep `in_flight` reserves under way: for `warm_s`, which do not count, then for `seconds`."""
        waiting: asyncio.Queue[Caller] = asyncio.Queue()
        callers = Callers(workload, salt, waiting.put_nowait)
        async with AsyncExitStack() as stack:
            workers = []
            for _ in range(min(in_flight, CONNECTIONS_MAX)):
                connection = await asyncpg.connect(self._postgres_url)
                stack.push_async_callback(connection.close)
                statement = await connection.prepare(_RESERVE_ORDER if workload.lines_max > 1 else _RESERVE)
                workers.append(asyncio.create_task(_carry(statement, workload, waiting, callers)))
            try:
                return await callers.run(in_flight=in_flight, warm_s=warm_s, seconds=seconds)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.wait(workers)


async def _carry(
    statement: Any,  # noqa: ANN401 - asyncpg ships no types
    workload: Workload,
    waiting: "asyncio.Queue[Caller]",
    callers: Callers,
) -> None:
    """Carry requests over one connection, until cancelled."""
    site, is_orders = workload.name, workload.lines_max > 1
    try:
        while True:
            caller = await waiting.get()
            bins = caller.bins
            wanted = (list(bins), [1] * len(bins)) if is_orders else bins
            callers.answered(caller, is_reserved=await statement.fetchval(caller.key, site, *wanted))
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as fault:
        callers.failed(fault)

"""The parent's end of a peer on Postgres: its tables, its stock, its books and its processes."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any, Self

import asyncpg
import psutil

from bench.audit import AuditFailed
from bench.peers.shop_schema import SCHEMA
from bench.workloads import ON_HAND, Workload

_BOOKS = """
SELECT bin, reserved, coalesce(units, 0)::bigint AS booked
FROM stock LEFT JOIN (
    SELECT bin, sum(quantity) AS units FROM reservation_line WHERE site = $1 GROUP BY bin
) AS booked USING (bin)
WHERE site = $1 ORDER BY bin
"""


class Shop:
    """A shop in a database of its own, which nobody else writes to. Its callers call Postgres themselves."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._postgres: psutil.Process

    async def create(self, *workloads: Workload) -> None:
        """Make the tables, the functions and the stock of the workloads."""
        async with _connected(self.url) as connection:
            await connection.execute(SCHEMA)
            for workload in workloads:
                await connection.execute(
                    "INSERT INTO stock (site, bin, on_hand) SELECT $1, generate_series(0, $2::int - 1), $3",
                    workload.name,
                    workload.bins,
                    ON_HAND,
                )
            await connection.execute("VACUUM ANALYZE stock")
            backend = await connection.fetchval("SELECT pg_backend_pid()")
            self._postgres = psutil.Process(psutil.Process(backend).ppid())

    @contextlib.asynccontextmanager
    async def started(self) -> AsyncIterator[Self]:
        """Itself: Postgres is there, and there is no other server."""
        yield self

    async def reserved(self, workload: Workload) -> list[int]:
        """Return the units reserved by bin. Raises AuditFailed where reservations' lines differ from them."""
        async with _connected(self.url) as connection:
            rows = await connection.fetch(_BOOKS, workload.name)
        if [row["bin"] for row in rows] != list(range(workload.bins)):
            raise AuditFailed(f"{workload.name}: {len(rows)} bins of {workload.bins}")
        apart = [row for row in rows if row["reserved"] != row["booked"]]
        if apart:
            bin_, reserved, booked = apart[0]
            raise AuditFailed(
                f"{workload.name}: {len(apart)} bins differ; bin {bin_}: {reserved} and {booked} in lines"
            )
        return [row["reserved"] for row in rows]

    def pids(self) -> dict[str, list[int]]:
        """Return the pids of the server's processes by role; of Postgres, all that there are now."""
        return {"postgres": [process.pid for process in (self._postgres, *self._postgres.children())]}


@contextlib.asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()

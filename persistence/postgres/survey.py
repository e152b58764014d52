"""A whole database on Postgres, as of one instant: one read-only transaction, read by cursors."""

# ruff: noqa: S608 - statements are put together from our own columns' names; values travel as parameters

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from engine.images import LineRow, LotRow, ReservationRow
from persistence.checksums import sift
from persistence.migrate import HEAD
from persistence.ports import UnsafeDatabase
from persistence.postgres.entries import ROW
from persistence.postgres.rows import LINE_COLUMNS, LOT_COLUMNS, RESERVATION_COLUMNS
from persistence.postgres.sessions import Connection, Sessions
from persistence.survey import STRETCH, Record, RepeatedKey, Stretch, View

_Row = TypeVar("_Row")

_READ_S_MAX = 24 * 3600.0
"""Reading a large database takes long, and nobody waits for it."""

_PARTITIONS = """\
SELECT CASE WHEN value ~ '^[0-9]{1,6}$' THEN value::int END FROM setting WHERE name = 'partitions'
"""
# The ledger's numbers are looked for from one to the next: to read all of it for them takes minutes.
_RECORDS = """\
WITH RECURSIVE in_ledger (number) AS (
    (SELECT partition FROM ledger ORDER BY partition LIMIT 1)
    UNION ALL
    SELECT (SELECT partition FROM ledger WHERE partition > number ORDER BY partition LIMIT 1)
    FROM in_ledger WHERE number IS NOT NULL
), known (number) AS (
    SELECT number FROM partition
    UNION SELECT number FROM in_ledger WHERE number IS NOT NULL
    UNION SELECT partition FROM stock_lot
    UNION SELECT partition FROM reservation
    UNION SELECT partition FROM reservation_line
    UNION SELECT partition FROM courier_cursor
    UNION SELECT generate_series(0, $1::int - 1)
)
SELECT known.number, coalesce(epoch, 0), coalesce(snapshot_seq, 0), coalesce(courier_cursor.seq, 0),
       partition.number IS NOT NULL
FROM known
LEFT JOIN partition ON partition.number = known.number
LEFT JOIN courier_cursor ON courier_cursor.partition = known.number
ORDER BY 1
"""
_ABOUT = """\
SELECT coalesce(sum(last.seq), 0)::bigint FROM partition
CROSS JOIN LATERAL (
    SELECT seq FROM ledger WHERE ledger.partition = number ORDER BY seq DESC LIMIT 1
) AS last
"""
_REPEATED = """\
SELECT key, array_agg(partition ORDER BY partition, seq), array_agg(seq ORDER BY partition, seq)
FROM ledger WHERE key IS NOT NULL GROUP BY key HAVING count(*) > 1
ORDER BY (array_agg(partition ORDER BY partition, seq))[2], (array_agg(seq ORDER BY partition, seq))[2]
LIMIT $1
"""
_WITHOUT_INDEXES = """\
SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off
"""
_WITH_INDEXES = """\
SET LOCAL enable_indexscan = on; SET LOCAL enable_indexonlyscan = on; SET LOCAL enable_bitmapscan = on
"""


class PostgresSurvey:
    """Looks at a database, whoever else works on it."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    @asynccontextmanager
    async def view(self) -> AsyncIterator[View]:
        """See `Survey.view`. Raises UnsafeDatabase where there is no ledger, or one of another version."""
        async with self._sessions.view() as connection:
            await connection.execute("SET LOCAL statement_timeout = 0")
            if await connection.fetchval("SELECT to_regclass('ledger') IS NULL"):
                raise UnsafeDatabase("the database has no ledger")
            if await connection.fetchval("SELECT to_regclass('alembic_version') IS NULL"):
                raise UnsafeDatabase("the ledger there is another program's")
            found = [row[0] for row in await connection.fetch("SELECT version_num FROM alembic_version")]
            if found != [HEAD]:
                raise UnsafeDatabase(f"its schema is of version {found}, and this program's is {HEAD}")
            yield _PostgresView(connection)

    async def others_at_work(self) -> list[str]:
        """Return the names of other Binkeeper sessions with the database: somebody may own partitions."""
        async with self._sessions.session() as connection:
            rows = await connection.fetch(
                "SELECT DISTINCT application_name FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name LIKE 'binkeeper:%'"
                " AND application_name <> current_setting('application_name') ORDER BY 1"
            )
        return [row[0] for row in rows]


class _PostgresView:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def partitions(self) -> int | None:
        """See `View.partitions`."""
        found = await self._connection.fetchval(_PARTITIONS)
        return None if found is None else int(found)

    async def records(self) -> list[Record]:
        """See `View.records`."""
        partitions = await self.partitions() or 0
        rows = await self._connection.fetch(_RECORDS, partitions, timeout=_READ_S_MAX)
        return list(map(Record._make, rows))

    async def entries_about(self) -> int:
        """See `View.entries_about`."""
        return int(await self._connection.fetchval(_ABOUT))

    async def entries(self, partition: int) -> AsyncIterator[Stretch]:
        """See `View.entries`."""
        query = f"SELECT {ROW} FROM ledger WHERE partition = $1 ORDER BY seq"
        async for rows in self._stretches(query, partition, tuple):
            yield Stretch(*sift(rows))

    async def lots(self, partition: int) -> AsyncIterator[list[LotRow]]:
        """See `View.lots`."""
        query = f"SELECT {LOT_COLUMNS} FROM stock_lot WHERE partition = $1"
        async for stretch in self._stretches(query, partition, LotRow._make):
            yield stretch

    async def reservations(self, partition: int) -> AsyncIterator[list[ReservationRow]]:
        """See `View.reservations`."""
        query = f"SELECT {RESERVATION_COLUMNS} FROM reservation WHERE partition = $1"
        async for stretch in self._stretches(query, partition, ReservationRow._make):
            yield stretch

    async def lines(self, partition: int) -> AsyncIterator[list[LineRow]]:
        """See `View.lines`."""
        query = f"SELECT {LINE_COLUMNS} FROM reservation_line WHERE partition = $1"
        async for stretch in self._stretches(query, partition, LineRow._make):
            yield stretch

    async def repeated_keys(self, limit: int) -> list[RepeatedKey]:
        """See `View.repeated_keys`."""
        # An index that is broken would say of itself that all is well.
        await self._connection.execute(_WITHOUT_INDEXES)
        rows = await self._connection.fetch(_REPEATED, limit, timeout=_READ_S_MAX)
        await self._connection.execute(_WITH_INDEXES)
        return [RepeatedKey(row[0], tuple(zip(row[1], row[2], strict=True))) for row in rows]

    async def _stretches(
        self, query: str, partition: int, make: Callable[[Any], _Row]
    ) -> AsyncIterator[list[_Row]]:
        cursor = await self._connection.cursor(query, partition, timeout=_READ_S_MAX)
        while rows := await cursor.fetch(STRETCH, timeout=_READ_S_MAX):
            yield list(map(make, rows))

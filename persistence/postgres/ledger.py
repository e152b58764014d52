"""The ledger on Postgres: one COPY per batch, on a connection of its own, is the commit.

A COPY outside a transaction block is one atomic statement, and needs two round trips: the server says first
that it is ready. An entry alone, which nothing shares the commit with, is a prepared INSERT and needs one.
Reads go through the pool.
"""

# ruff: noqa: S608 - statements are put together from our own columns' names; values travel as parameters

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple, Self

import asyncpg

from engine.commands import StockKey
from engine.entries import Entry, Kind
from persistence.ports import KeysTaken, LotBalance, LotSum, OutcomeUnknown, PartitionsLost, Unavailable
from persistence.postgres.faults import LOST, is_ours, is_rolled_back, repeatable
from persistence.postgres.sessions import Connection, Sessions
from persistence.postgres.sums import read_missing, read_sums

COLUMNS = ", ".join(Entry._fields)
_PLACES = ", ".join(f"${place}" for place in range(1, len(Entry._fields) + 1))
_INSERT = f"INSERT INTO ledger ({COLUMNS}) VALUES ({_PLACES})"
_APPEND_S_MAX = 15.0
_END_S_MAX = 5.0
_END_POLL_S = 0.01
_CONFLICTS_MAX = 5

_SEQ_AT = """\
WITH RECURSIVE search (low, high) AS (
    SELECT 0::bigint, coalesce((SELECT max(seq) FROM ledger WHERE partition = $1), 0)
    UNION ALL
    SELECT CASE WHEN middle.at_ms <= $2 THEN middle.seq ELSE low END,
           CASE WHEN middle.at_ms <= $2 THEN high ELSE middle.seq - 1 END
    FROM search
    CROSS JOIN LATERAL (
        SELECT seq, at_ms FROM ledger WHERE partition = $1 AND seq = (low + high + 1) / 2
    ) AS middle
    WHERE low < high
)
SELECT low FROM search WHERE low = high
"""
"""Sequence numbers have no gaps and times never fall: halving finds the place without an index on time."""

SETTLED = f"""\
SELECT settled.* FROM unnest($2::bigint[]) AS number
CROSS JOIN LATERAL (
    SELECT {COLUMNS} FROM ledger
    WHERE partition = $1 AND seq > number AND reservation = number
    AND kind IN ('{Kind.RESERVATION_CONFIRMED}', '{Kind.STOCK_RELEASED}', '{Kind.RESERVATION_EXPIRED}')
    ORDER BY seq LIMIT 1
) AS settled
"""
"""The entry that settled each tentative share: confirmed, given back, or expired, whichever came first."""
IN_ORDER = "SET LOCAL enable_sort = off"
"""Has the index walked in order up to the first that fits; else all that follow may be read and sorted."""

_LAST = """\
SELECT DISTINCT ON (partition, site, sku, location, lot)
       partition, site, sku, location, lot, seq, on_hand, reserved, held
FROM unnest($1::int[], $2::text[], $3::text[], $4::bigint[]) AS wanted (number, of_site, of_sku, until_seq)
CROSS JOIN LATERAL (
    SELECT partition, site, sku, location, lot, seq, on_hand, reserved, held FROM ledger
    WHERE partition = number AND hashtext(sku) = hashtext(of_sku) AND site = of_site AND sku = of_sku
    AND seq <= until_seq
    ORDER BY seq DESC LIMIT $5
) AS newest
ORDER BY partition, site, sku, location, lot, seq DESC
"""

_OF_STOCK = "partition = $1 AND hashtext(sku) = hashtext($3) AND site = $2 AND sku = $3"


class _Backend(NamedTuple):
    """A server process, told apart from a later one with the same pid."""

    pid: int
    started_at: datetime


class PostgresLedger:
    """The ledger. Appends wait for one another."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._turn = asyncio.Lock()
        self._connection: Connection = None
        self._insert: Any = None
        """The prepared INSERT of the connection."""
        self._backend: _Backend | None = None
        self._abandoned: set[_Backend] = set()
        """Sessions of appends with unknown outcome, which may still be at work."""

    @classmethod
    async def open(cls, sessions: Sessions) -> Self:
        """Return a connected ledger. Raises Unavailable, or UnsafeDatabase with what to change."""
        ledger = cls(sessions)
        await ledger._connected()
        return ledger

    async def close(self) -> None:
        """End the ledger's own session."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def append(self, entries: Sequence[Entry]) -> None:
        """See `Ledger.append`."""
        async with self._turn:
            for _ in range(_CONFLICTS_MAX):
                connection = await self._connected()
                try:
                    await self._write(connection, entries)
                except asyncpg.UniqueViolationError as error:
                    with self._dropped_when_silent():
                        collision = await _collision(connection, error, entries)
                    raise collision from error
                except asyncpg.TransactionRollbackError:
                    continue  # A deadlock with a claim: nothing was written, and the claim is through by now.
                return
        raise Unavailable("Postgres: the append was rolled back again and again")

    async def _write(self, connection: Connection, entries: Sequence[Entry]) -> None:
        try:
            if len(entries) == 1:
                await self._insert.fetch(*entries[0], timeout=_APPEND_S_MAX)
            else:
                await connection.copy_records_to_table(
                    "ledger", records=entries, columns=Entry._fields, timeout=_APPEND_S_MAX
                )
        except (asyncpg.UniqueViolationError, asyncpg.TransactionRollbackError):
            raise
        except asyncpg.IntegrityConstraintViolationError as error:
            raise AssertionError(f"the database refused what the engine decided: {error}") from error
        except asyncpg.PostgresError as error:
            if is_ours(error):
                raise
            if is_rolled_back(error):
                raise Unavailable(f"Postgres: {error}") from error
            self._abandon()
            raise OutcomeUnknown(f"Postgres: {error}") from error
        except LOST as error:
            if is_ours(error):
                raise
            self._abandon()
            raise OutcomeUnknown(f"Postgres: {str(error) or type(error).__name__}") from error
        except BaseException:
            self._abandon()
            raise

    async def is_committed(self, entries: Sequence[Entry]) -> bool:
        """See `Ledger.is_committed`."""
        async with self._turn:
            connection = await self._connected()
            with self._dropped_when_silent(), repeatable():
                for backend in tuple(self._abandoned):
                    await _end(connection, backend)
                    self._abandoned.discard(backend)
                found = await connection.fetch(
                    f"SELECT {COLUMNS} FROM ledger"
                    " JOIN unnest($1::int[], $2::bigint[]) AS ours (partition, seq) USING (partition, seq)",
                    [entry.partition for entry in entries],
                    [entry.seq for entry in entries],
                )
        stored = {(row[0], row[1]): tuple(row) for row in found}
        equal = sum(stored.get((entry.partition, entry.seq)) == entry for entry in entries)
        assert equal in (0, len(entries)), "an append was committed in part"
        return equal > 0 or not entries

    async def read(self, partition: int, after_seq: int, limit: int) -> list[Entry]:
        """See `Ledger.read`."""
        return await self._entries(
            "WHERE partition = $1 AND seq > $2 ORDER BY seq LIMIT $3", partition, after_seq, limit
        )

    async def history(self, partition: int, stock: StockKey, after_seq: int, limit: int) -> list[Entry]:
        """See `Ledger.history`."""
        return await self._entries(
            f"WHERE {_OF_STOCK} AND seq > $4 ORDER BY seq LIMIT $5", partition, *stock, after_seq, limit
        )

    async def of_reservation(self, partition: int, number: int, until_seq: int) -> list[Entry]:
        """See `Ledger.of_reservation`."""
        return await self._entries(
            "WHERE partition = $1 AND seq BETWEEN $2 AND $3 AND reservation = $2 ORDER BY seq",
            partition,
            number,
            until_seq,
        )

    async def at(self, places: Sequence[tuple[int, int]]) -> list[Entry]:
        """See `Ledger.at`."""
        return await self._entries(
            "JOIN (SELECT DISTINCT * FROM unnest($1::int[], $2::bigint[]) AS u (partition, seq)) AS ours"
            " USING (partition, seq) ORDER BY partition, seq",
            [partition for partition, _ in places],
            [seq for _, seq in places],
        )

    async def confirmations(self, partition: int, numbers: Sequence[int]) -> list[Entry]:
        """See `Ledger.confirmations`. Looks no further than where each share was settled: seconds later."""
        if not numbers:
            return []
        async with self._sessions.view() as connection:
            await connection.execute(IN_ORDER)
            rows = await connection.fetch(SETTLED, partition, sorted(set(numbers)))
        settled = sorted(map(Entry._make, rows), key=lambda entry: entry.seq)
        return [entry for entry in settled if entry.kind == Kind.RESERVATION_CONFIRMED]

    async def with_keys(self, keys: Sequence[str]) -> list[Entry]:
        """See `Ledger.with_keys`."""
        return await self._entries("WHERE key = ANY($1::text[]) ORDER BY partition, seq", list(keys))

    async def balances(self, partition: int, stock: StockKey, until_seq: int) -> list[Entry]:
        """See `Ledger.balances`."""
        return await self._entries(
            f"WHERE {_OF_STOCK} AND seq <= $4 ORDER BY location, lot, seq DESC",
            partition,
            *stock,
            until_seq,
            distinct="DISTINCT ON (location, lot)",
        )

    async def last(self, stocks: Sequence[tuple[int, StockKey, int]], depth: int) -> list[LotBalance]:
        """See `Ledger.last`."""
        async with self._sessions.session() as connection:
            rows = await connection.fetch(
                _LAST,
                [partition for partition, _, _ in stocks],
                [site for _, (site, _), _ in stocks],
                [sku for _, (_, sku), _ in stocks],
                [until_seq for _, _, until_seq in stocks],
                depth,
            )
        return list(map(LotBalance._make, rows))

    async def sums(self, partition: int, after_seq: int, until_seq: int) -> list[LotSum]:
        """See `Ledger.sums`."""
        async with self._sessions.session() as connection:
            return await read_sums(connection, partition, after_seq, until_seq)

    async def missing(self, partition: int, after_seq: int, until_seq: int) -> int | None:
        """See `Ledger.missing`."""
        async with self._sessions.session() as connection:
            return await read_missing(connection, partition, after_seq, until_seq)

    async def seq_at(self, partition: int, at_ms: int) -> int:
        """See `Ledger.seq_at`."""
        async with self._sessions.session() as connection:
            return int(await connection.fetchval(_SEQ_AT, partition, at_ms))

    async def head(self, partition: int) -> tuple[int, int]:
        """See `Ledger.head`."""
        async with self._sessions.session() as connection:
            row = await connection.fetchrow(
                "SELECT seq, at_ms FROM ledger WHERE partition = $1 ORDER BY seq DESC LIMIT 1", partition
            )
        return (row[0], row[1]) if row else (0, 0)

    async def _entries(self, condition: str, *arguments: object, distinct: str = "") -> list[Entry]:
        async with self._sessions.session() as connection:
            rows = await connection.fetch(f"SELECT {distinct} {COLUMNS} FROM ledger {condition}", *arguments)
        return list(map(Entry._make, rows))

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = None
            self._connection = await self._sessions.connect(command_s_max=_APPEND_S_MAX)
            with self._dropped_when_silent(), repeatable():
                row = await self._connection.fetchrow(
                    "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
                )
                self._insert = await self._connection.prepare(_INSERT)
            self._backend = _Backend(*row)
        return self._connection

    @contextmanager
    def _dropped_when_silent(self) -> Iterator[None]:
        """Give up a connection on which a read failed: on a silent one the next would wait without end."""
        try:
            yield
        except BaseException:
            if self._connection is not None:
                self._connection.terminate()
                self._connection = None
            raise

    def _abandon(self) -> None:
        """Give the connection up in the middle of an append."""
        assert self._backend is not None
        self._abandoned.add(self._backend)
        self._connection.terminate()
        self._connection = None


async def _collision(
    connection: Connection, error: asyncpg.UniqueViolationError, entries: Sequence[Entry]
) -> PartitionsLost | KeysTaken:
    """Return what an append collided with, now that it is rolled back. Raises Unavailable."""
    if error.constraint_name == "ledger_pkey":
        firsts: dict[int, int] = {}
        for entry in entries:
            firsts.setdefault(entry.partition, entry.seq)
        query = (
            "SELECT ours.partition FROM unnest($1::int[], $2::bigint[]) AS ours (partition, seq)"
            " WHERE EXISTS (SELECT FROM ledger l WHERE l.partition = ours.partition AND l.seq >= ours.seq)"
        )
        with repeatable():
            rows = await connection.fetch(query, list(firsts), list(firsts.values()))
        assert rows, "a batch has the same sequence number twice"
        return PartitionsLost(frozenset(row[0] for row in rows))
    assert error.constraint_name == "ledger_key_idx", error
    with repeatable():
        rows = await connection.fetch(
            "SELECT key FROM ledger WHERE key = ANY($1::text[])",
            [entry.key for entry in entries if entry.key is not None],
        )
    assert rows, "a batch has the same key twice"
    return KeysTaken(frozenset(row[0] for row in rows))


async def _end(connection: Connection, backend: _Backend) -> None:
    """End a session and wait until its transaction is over. Raises Unavailable after 5 s."""
    deadline = time.monotonic() + _END_S_MAX
    condition = "FROM pg_stat_activity WHERE pid = $1 AND backend_start = $2"
    while await connection.fetchval(f"SELECT pg_terminate_backend(pid) {condition}", *backend) is not None:
        if time.monotonic() > deadline:
            raise Unavailable("Postgres: a session of an append with unknown outcome does not end")
        await asyncio.sleep(_END_POLL_S)

"""The ledger on Postgres: one COPY per batch, on a connection of its own, is the commit.

A COPY outside a transaction block is one atomic statement, and needs two round trips: the server says first
that it is ready. An entry alone, which nothing shares the commit with, is a prepared INSERT and needs one.
What is read of the ledger is in `persistence.postgres.entries`.
"""

# ruff: noqa: S608 - statements are put together from our own columns' names; values travel as parameters

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple, Self

import asyncpg

from engine.entries import Entry
from persistence.checksums import COLUMNS, with_checksums
from persistence.ports import KeysTaken, OutcomeUnknown, PartitionsLost, Unavailable
from persistence.postgres.entries import StoredEntries
from persistence.postgres.faults import LOST, is_ours, is_rolled_back, repeatable
from persistence.postgres.sessions import Connection, Sessions

_PLACES = ", ".join(f"${place}" for place in range(1, len(COLUMNS) + 1))
_INSERT = f"INSERT INTO ledger ({', '.join(COLUMNS)}) VALUES ({_PLACES})"
_APPEND_S_MAX = 15.0
_END_S_MAX = 5.0
_END_POLL_S = 0.01
_CONFLICTS_MAX = 5


class _Backend(NamedTuple):
    """A server process, told apart from a later one with the same pid."""

    pid: int
    started_at: datetime


class PostgresLedger(StoredEntries):
    """The ledger: entries that are stored, and one connection that appends to them. Appends take turns."""

    def __init__(self, sessions: Sessions) -> None:
        super().__init__(sessions)
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
        rows = with_checksums(entries)
        try:
            if len(rows) == 1:
                await self._insert.fetch(*rows[0], timeout=_APPEND_S_MAX)
            else:
                await connection.copy_records_to_table(
                    "ledger", records=rows, columns=COLUMNS, timeout=_APPEND_S_MAX
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
                    f"SELECT {', '.join(Entry._fields)} FROM ledger"
                    " JOIN unnest($1::int[], $2::bigint[]) AS ours (partition, seq) USING (partition, seq)",
                    [entry.partition for entry in entries],
                    [entry.seq for entry in entries],
                )
        stored = {(row[0], row[1]): tuple(row) for row in found}
        equal = sum(stored.get((entry.partition, entry.seq)) == entry for entry in entries)
        assert equal in (0, len(entries)), "an append was committed in part"
        return equal > 0 or not entries

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

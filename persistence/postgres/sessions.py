"""Database sessions: a small pool that outlives the server's restarts, and connections for one owner."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from persistence.ports import Unavailable, UnsafeDatabase
from persistence.postgres.faults import LOST, repeatable

Connection = Any
"""asyncpg ships no types: `asyncpg.Connection`."""

_CONNECT_S_MAX = 5.0
_STATEMENT_S_MAX = 30
_IDLE_S_MAX = 300.0
_APPLICATION_NAME_BYTES_MAX = 63
"""Postgres cuts longer names."""

_REFUSED = (
    ("fsync", "off", "it loses what it acknowledged when the machine stops"),
    ("synchronous_commit", "off", "it acknowledges before a commit is on disk"),
    ("full_page_writes", "off", "it cannot repair pages that a crash tore"),
)


def application_name(host: str) -> str:
    """Return the name under which a host's sessions are known to the database."""
    name = f"binkeeper:{host}"
    if name.isascii() and name.isprintable() and len(name) <= _APPLICATION_NAME_BYTES_MAX:
        return name
    return f"binkeeper:{hashlib.blake2b(host.encode(), digest_size=16).hexdigest()}"


class Sessions:
    """Sessions with one database for one host. Nothing connects before the first is used."""

    def __init__(self, url: str, host: str, *, size: int = 4) -> None:
        self.host = host
        self._url = url
        self._settings = {
            "application_name": application_name(host),
            "statement_timeout": f"{_STATEMENT_S_MAX}s",
            "timezone": "UTC",
        }
        self._size = size
        self._pool: Any = None

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Connection]:
        """A session for reads and for writes that may be done again.

        Raises Unavailable when the server cannot be reached, or is lost meanwhile; the next call reconnects.
        """
        with repeatable():
            if self._pool is None:
                self._pool = asyncpg.create_pool(
                    self._url,
                    min_size=0,
                    max_size=self._size,
                    max_inactive_connection_lifetime=_IDLE_S_MAX,
                    timeout=_CONNECT_S_MAX,
                    command_timeout=_STATEMENT_S_MAX + 5,
                    server_settings=self._settings,
                )
            await self._pool
            async with self._pool.acquire() as connection:
                yield connection

    @asynccontextmanager
    async def view(self) -> AsyncIterator[Connection]:
        """A session in which all reads see the same instant. Raises as `session` does."""
        async with (
            self.session() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield connection

    async def connect(self, *, command_s_max: float) -> Connection:
        """Return a connection of the caller's own, to a server that keeps what it acknowledges.

        A command without an answer after `command_s_max` seconds is given up: a server whose machine is gone
        says nothing, not even that.
        Raises Unavailable, or UnsafeDatabase when the server's settings risk acknowledged changes.
        """
        settings = {**self._settings, "statement_timeout": "0"}
        try:
            connection = await asyncpg.connect(
                self._url,
                timeout=_CONNECT_S_MAX,
                command_timeout=command_s_max,
                server_settings=settings,
                statement_cache_size=20,
            )
        except (asyncpg.PostgresError, *LOST) as error:
            raise Unavailable(f"Postgres: {str(error) or type(error).__name__}") from error
        try:
            with repeatable():
                await _refuse_unsafe(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def close(self) -> None:
        """End the pool's sessions; those in use are cut off."""
        if self._pool is not None:
            self._pool.terminate()
            self._pool = None


async def _refuse_unsafe(connection: Connection) -> None:
    for name, refused, reason in _REFUSED:
        if await connection.fetchval("SELECT current_setting($1)", name) == refused:
            raise UnsafeDatabase(f"Postgres runs with {name} = {refused}: {reason}; set it to on")
    if await connection.fetchval("SELECT to_regclass('ledger') IS NULL"):
        raise UnsafeDatabase("the database has no ledger: run the migrations first")

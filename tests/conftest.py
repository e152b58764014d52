"""Real servers for tests: one Postgres, NATS and Binkeeper for a whole run, started when a test first asks.

Every test that asks for `postgres_url` finds a migrated database with `PARTITIONS` partitions and nothing
else; every test that asks for `nats_url` finds no streams. All share the database: making one takes 0.8 s.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import nats
import pytest

from binkeeper.embedded.nats import EmbeddedNats
from binkeeper.embedded.postgres import EmbeddedPostgres
from persistence.migrate import migrate
from tests.end_to_end.running import Running

PARTITIONS = 8

_CLEAR = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend';
DELETE FROM ledger;
DELETE FROM stock_lot;
DELETE FROM reservation;
DELETE FROM reservation_line;
DELETE FROM courier_cursor;
DELETE FROM setting WHERE name LIKE 'placement%';
UPDATE partition
SET host = '', address = '', epoch = 0, snapshot_seq = 0, snapshot_at_ms = 0, claimed_at_ms = 0;
"""

_numbers = count(1)


def _named(url: str, database: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


def _complete(work: Coroutine[Any, Any, None]) -> None:
    """Run to the end in a thread: the test that asks may have a loop running."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


def _execute(url: str, statement: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(url)
        await connection.execute(statement)
        await connection.close()

    _complete(run())


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[EmbeddedPostgres]:
    """A Postgres that lives as long as the run. A test that stops it starts it again."""
    with EmbeddedPostgres.temporary() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_postgres_url(postgres_server: EmbeddedPostgres) -> str:
    """A database with tables, for the whole run."""
    _execute(postgres_server.url, "CREATE DATABASE migrated")
    url = _named(postgres_server.url, "migrated")
    assert migrate(url, PARTITIONS) == PARTITIONS
    return url


@pytest.fixture
def empty_postgres_url(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """A database without tables."""
    name = f"empty_{next(_numbers)}"
    _execute(postgres_server.url, f"CREATE DATABASE {name}")
    yield _named(postgres_server.url, name)
    _execute(postgres_server.url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgres_url(migrated_postgres_url: str) -> str:
    """A migrated database without entries, owners or sessions that others left."""
    _execute(migrated_postgres_url, _CLEAR)
    return migrated_postgres_url


@pytest.fixture(scope="session")
def nats_server() -> Iterator[EmbeddedNats]:
    """A NATS that lives as long as the run. A test that stops it starts it again."""
    with EmbeddedNats.temporary() as server:
        yield server


@pytest.fixture
def nats_url(nats_server: EmbeddedNats) -> str:
    """A NATS without streams."""

    async def clear() -> None:
        client = await nats.connect(nats_server.url)
        streams = client.jetstream()
        for stream in await streams.streams_info():
            assert stream.config.name is not None
            await streams.delete_stream(stream.config.name)
        await client.close()

    _complete(clear())
    return nats_server.url


@pytest.fixture(scope="session")
def binkeeper() -> Iterator[Running]:
    """The whole product, started as a person starts it."""
    running = Running()
    try:
        yield running.start()
    finally:
        running.end()

"""Sessions and ledgers on the run's Postgres."""

from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest

from persistence.migrate import migrate
from persistence.postgres import PostgresLedger, PostgresSnapshots, Sessions
from tests.conftest import PARTITIONS

Open = Callable[..., Awaitable[PostgresLedger]]


@pytest.fixture
async def admin(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A second connection: what somebody else does."""
    connection = await asyncpg.connect(postgres_url)
    yield connection
    connection.terminate()


@pytest.fixture
async def open_ledger(postgres_url: str) -> AsyncIterator[Open]:
    """Opens ledgers: `await open_ledger(host, url)`."""
    opened: list[PostgresLedger | Sessions] = []

    async def open_(host: str = "h1", url: str = postgres_url) -> PostgresLedger:
        sessions = Sessions(url, host)
        ledger = await PostgresLedger.open(sessions)
        opened.extend((sessions, ledger))
        return ledger

    yield open_
    for closable in opened:
        await closable.close()


@pytest.fixture
async def snapshots(postgres_url: str) -> AsyncIterator[PostgresSnapshots]:
    sessions = Sessions(postgres_url, "h2")
    yield PostgresSnapshots(sessions)
    await sessions.close()


@pytest.fixture
def database(empty_postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database of its own, whose constraints a test may break; the command finds it by its setting."""
    migrate(empty_postgres_url, PARTITIONS)
    monkeypatch.setenv("BINKEEPER_POSTGRES_URL", empty_postgres_url)
    return empty_postgres_url

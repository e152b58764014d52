"""Each port's adapters: in memory and on a real server."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import asyncpg
import pytest

from persistence.memory import (
    MemoryCursors,
    MemoryDatabase,
    MemoryDirectory,
    MemoryLedger,
    MemoryReadModel,
    MemorySnapshots,
    MemoryStreams,
    MemorySurvey,
    MemoryWishes,
)
from persistence.nats.streams import NatsStreams
from persistence.placement import Directory, Wishes
from persistence.ports import Cursors, Ledger, Snapshots, Streams
from persistence.postgres import (
    PostgresCursors,
    PostgresDirectory,
    PostgresLedger,
    PostgresReadModel,
    PostgresSnapshots,
    PostgresSurvey,
    PostgresWishes,
    Sessions,
)
from persistence.read_model import ReadModel
from persistence.survey import Survey
from tests.conftest import PARTITIONS
from tests.contract.keeper import Keeper


@dataclass
class Storage:
    """Everything that one database offers to hosts."""

    ledger: Ledger
    other_ledger: Ledger
    """Another host's."""
    snapshots: Snapshots
    directory: Directory
    read_model: ReadModel
    cursors: Cursors
    survey: Survey
    wishes: Wishes
    edit: Callable[..., Awaitable[None]]
    """Changes columns of the row at (partition, seq), as a person does by SQL: its checksum stays."""


async def _edit_in_memory(database: MemoryDatabase, partition: int, seq: int, **changes: Any) -> None:
    ledger = database.partitions[partition].ledger
    ledger[seq - 1] = ledger[seq - 1]._replace(**changes)


async def _edit(url: str, partition: int, seq: int, **changes: Any) -> None:
    connection = await asyncpg.connect(url)
    for column, value in changes.items():
        statement = f"UPDATE ledger SET {column} = $3 WHERE partition = $1 AND seq = $2"  # noqa: S608 - a test's
        await connection.execute(statement, partition, seq, value)
    await connection.close()


@pytest.fixture(params=["memory", "postgres"])
async def storage(request: pytest.FixtureRequest) -> AsyncIterator[Storage]:
    if request.param == "memory":
        database = MemoryDatabase(PARTITIONS)
        yield Storage(
            MemoryLedger(database, "h1"),
            MemoryLedger(database, "h2"),
            MemorySnapshots(database),
            MemoryDirectory(database),
            MemoryReadModel(database),
            MemoryCursors(database),
            MemorySurvey(database),
            MemoryWishes(),
            partial(_edit_in_memory, database),
        )
        return
    url = request.getfixturevalue("postgres_url")
    sessions, other_sessions = Sessions(url, "h1"), Sessions(url, "h2")
    ledger, other_ledger = await PostgresLedger.open(sessions), await PostgresLedger.open(other_sessions)
    yield Storage(
        ledger,
        other_ledger,
        PostgresSnapshots(sessions),
        PostgresDirectory(sessions),
        PostgresReadModel(sessions),
        PostgresCursors(sessions),
        PostgresSurvey(sessions),
        PostgresWishes(sessions),
        partial(_edit, url),
    )
    for closable in (ledger, other_ledger, sessions, other_sessions):
        await closable.close()


@pytest.fixture
def ledger(storage: Storage) -> Ledger:
    return storage.ledger


@pytest.fixture
def snapshots(storage: Storage) -> Snapshots:
    return storage.snapshots


@pytest.fixture
def keeper(storage: Storage) -> Callable[..., Keeper]:
    """Makes keepers: `keeper(partition, host)`."""

    def make(number: int = 1, host: str = "h1") -> Keeper:
        own = storage.ledger if host == "h1" else storage.other_ledger
        return Keeper(number, own, storage.snapshots, host)

    return make


@pytest.fixture(params=["memory", "nats"])
async def streams(request: pytest.FixtureRequest) -> AsyncIterator[Streams]:
    if request.param == "memory":
        yield MemoryStreams()
        return
    found = NatsStreams(request.getfixturevalue("nats_url"))
    yield found
    await found.close()

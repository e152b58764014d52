"""Each port's adapters: in memory and on a real server."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

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

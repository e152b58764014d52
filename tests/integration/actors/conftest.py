"""Hosts on the run's Postgres, in this process."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from actors.host import Host
from actors.host_options import HostOptions
from actors.running_host import RunningHost
from persistence.memory import MemoryStreams
from persistence.postgres import (
    PostgresCursors,
    PostgresDirectory,
    PostgresLedger,
    PostgresSnapshots,
    Sessions,
)
from tests.conftest import PARTITIONS

TOKEN = "lane"

Build = Callable[..., Awaitable[RunningHost]]


@pytest.fixture
async def build(postgres_url: str) -> AsyncIterator[Build]:
    """Starts hosts: `await build(name, url, **options)`."""
    closing: list[RunningHost | PostgresLedger | Sessions] = []

    async def start(name: str, url: str = postgres_url, **options: int) -> RunningHost:
        sessions = Sessions(url, name)
        ledger = await PostgresLedger.open(sessions)
        snapshots = PostgresSnapshots(sessions)
        host = Host(HostOptions(name, **options), ledger, snapshots, lambda: time.time_ns() // 1_000_000)
        running = RunningHost(
            host,
            MemoryStreams(),
            PostgresCursors(sessions),
            PostgresDirectory(sessions),
            token=TOKEN,
            partitions=PARTITIONS,
        )
        await running.start("127.0.0.1")
        closing[:0] = [running, ledger, sessions]
        return running

    yield start
    for one in closing:
        if isinstance(one, RunningHost):
            await one.stop()
        else:
            await one.close()

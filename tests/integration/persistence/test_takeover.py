"""Claims against former owners that are stuck, or alive and busy."""

import asyncio
import time

import asyncpg

from persistence.ports import PartitionsLost
from persistence.postgres import PostgresLedger, PostgresSnapshots
from tests.contract.keeper import NOON_MS, received
from tests.integration.persistence.conftest import Open
from tests.rows import copy
from tests.waiting import until


async def test_a_stopped_owners_open_commit_is_ended(postgres_url: str, snapshots: PostgresSnapshots) -> None:
    await snapshots.claim("h1", "here:1", [1, 2], NOON_MS)
    stuck = await asyncpg.connect(postgres_url, server_settings={"application_name": "binkeeper:h1"})
    await stuck.execute("BEGIN")
    await copy(stuck, [received(1, 2), received(2, 2)])
    started = time.monotonic()
    heads = await snapshots.claim("h2", "there:1", [1, 2], NOON_MS)
    assert [head.seq for head in heads] == [2, 2]
    assert 1.5 < time.monotonic() - started < 5
    stuck.terminate()


async def test_a_stopped_owners_open_snapshot_is_ended(
    postgres_url: str, snapshots: PostgresSnapshots
) -> None:
    await snapshots.claim("h1", "here:1", [1], NOON_MS)
    stuck = await asyncpg.connect(postgres_url, server_settings={"application_name": "binkeeper:h1"})
    await stuck.execute("BEGIN")
    await stuck.execute("SELECT FROM partition WHERE number = 1 FOR NO KEY UPDATE")
    (head,) = await snapshots.claim("h2", "there:1", [1], NOON_MS)
    assert head.epoch == 2
    stuck.terminate()


async def test_a_commit_that_ends_in_time_comes_before_the_claim(
    postgres_url: str, snapshots: PostgresSnapshots
) -> None:
    await snapshots.claim("h1", "here:1", [1], NOON_MS)
    slow = await asyncpg.connect(postgres_url, server_settings={"application_name": "binkeeper:h1"})
    await slow.execute("BEGIN")
    await copy(slow, [received(1, 2)])
    claiming = asyncio.create_task(snapshots.claim("h2", "there:1", [1], NOON_MS))
    await _is_waited_for(slow)
    await slow.execute("COMMIT")
    (head,) = await claiming
    assert (head.seq, head.at_ms) == (3, NOON_MS + 2)
    await slow.close()


async def _is_waited_for(connection: asyncpg.Connection) -> None:
    query = "SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid))"
    await until(lambda: connection.fetchval(query, connection.get_server_pid()))


async def test_an_owner_that_is_alive_and_busy_is_deposed(
    open_ledger: Open, snapshots: PostgresSnapshots
) -> None:
    heads = await snapshots.claim("h1", "here:1", [1, 2, 3], NOON_MS)
    ledger = await open_ledger("h1")
    busy = asyncio.create_task(_append_until_lost(ledger, {head.partition: head.seq for head in heads}))

    async def is_busy() -> bool:
        return (await ledger.head(1))[0] >= heads[0].seq + 5

    await until(is_busy)
    taken = await snapshots.claim("h2", "there:1", [1, 3], NOON_MS)
    kept = await busy
    for head in taken:
        entries = await ledger.read(head.partition, 0, 100_000)
        assert [entry.seq for entry in entries] == list(range(1, head.seq + 1))
        assert entries[-1].kind == "partition_claimed"
    assert await ledger.head(2) == (kept, NOON_MS + kept)


async def _append_until_lost(ledger: PostgresLedger, heads: dict[int, int]) -> int:
    """Append to all partitions, going on with the rest when some are lost; return partition 2's head."""
    deadline = time.monotonic() + 20
    while heads.keys() != {2}:
        assert time.monotonic() < deadline, "the claim never came through"
        batch = [received(number, seq + step) for number, seq in heads.items() for step in (1, 2)]
        try:
            await ledger.append(batch)
        except PartitionsLost as lost:
            heads = {number: seq for number, seq in heads.items() if number not in lost.partitions}
        else:
            heads = {number: seq + 2 for number, seq in heads.items()}
    return heads[2]

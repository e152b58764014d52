"""Partitions handed over on a real Postgres, under load: nobody sees an error, all happens once."""

import asyncio
import time

import asyncpg

from actors.gateway import LaneGateway
from actors.outcomes import Answered
from engine.commands import ReceiveStock, ReserveLine, ReserveStock
from engine.partitioning import partition_of
from persistence.postgres import PostgresDirectory, Sessions
from tests.conftest import PARTITIONS
from tests.integration.actors.conftest import TOKEN, Build
from tests.waiting import until

CALLERS = 32
SKUS = [f"SKU-{n}" for n in range(12)]
HOT = SKUS[0]
PAUSE_MS_MAX = 1500
"""Measured: 15 to 60 on two idle cores."""


async def test_a_hot_partition_goes_to_and_fro_under_load_and_nothing_fails(
    build: Build, postgres_url: str
) -> None:
    first, second = await build("first"), await build("second")
    await first.take(list(range(PARTITIONS)))
    sessions = Sessions(postgres_url, "gateway")
    gateway = LaneGateway(PostgresDirectory(sessions), TOKEN, PARTITIONS)
    acknowledged: list[str] = []
    waited_s: list[float] = []
    is_over = False

    async def call(caller: int) -> None:
        number = caller
        while not is_over:
            number += 1
            # Every other request wants the hot SKU.
            sku = HOT if number % 2 else SKUS[number % len(SKUS)]
            key = f"{caller}-{number}"
            began_s = time.monotonic()
            command = ReserveStock((ReserveLine("LON", sku, 1),))
            outcome = await gateway.submit(partition_of("LON", sku, PARTITIONS), command, key)
            assert isinstance(outcome, Answered), outcome
            acknowledged.append(key)
            waited_s.append(time.monotonic() - began_s)

    for sku in SKUS:
        number = partition_of("LON", sku, PARTITIONS)
        await gateway.submit(number, ReceiveStock("LON", sku, "A", 1_000_000), f"opening {sku}")
    calls = [asyncio.create_task(call(n)) for n in range(CALLERS)]
    pauses_ms = []
    hot = partition_of("LON", HOT, PARTITIONS)
    for source, target in ((first, second), (second, first)) * 2:
        wanted = len(acknowledged) + 500
        await until(lambda: len(acknowledged) >= wanted or any(c.done() for c in calls))  # noqa: B023
        handed = await source.handing_over.hand_over([hot], target.address)
        assert handed.moved == [hot]
        assert hot in target.host.owned
        pauses_ms.append(handed.pause_ms)
    is_over = True
    await asyncio.gather(*calls)
    print(f"pauses {[round(ms) for ms in pauses_ms]} ms; longest wait {max(waited_s) * 1000:.0f} ms")
    assert max(pauses_ms) < PAUSE_MS_MAX
    await gateway.close()
    await sessions.close()

    connection = await asyncpg.connect(postgres_url)
    rows = await connection.fetch("SELECT key FROM ledger WHERE kind = 'stock_reserved'")
    gaps = await connection.fetchval(
        "SELECT count(*) FROM (SELECT seq, lag(seq, 1, 0::bigint) OVER (PARTITION BY partition ORDER BY seq)"
        " AS before FROM ledger) AS entry WHERE seq <> before + 1"
    )
    await connection.close()
    assert gaps == 0
    assert sorted(row["key"] for row in rows) == sorted(acknowledged)

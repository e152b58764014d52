"""A Postgres that takes 200 ms for each request slows the partitions of the hosts that ask it, no other."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from actors.gateway import LaneGateway
from actors.outcomes import Answered, Overloaded
from engine.commands import ReceiveStock, ReserveLine, ReserveStock
from engine.partitioning import partition_of
from persistence.postgres import PostgresDirectory, Sessions
from tests.conftest import PARTITIONS
from tests.integration.actors.conftest import TOKEN, Build
from tests.integration.persistence.proxy import Proxy
from tests.waiting import until

_SLOW_S = 0.2
_CALLERS = 40
_QUEUE = 20
"""Requests that the slow host takes: half of its callers are refused."""


@pytest.fixture
async def proxy(postgres_url: str) -> AsyncIterator[Proxy]:
    """The slow way to the run's Postgres; it is there until hosts have stopped."""
    async with Proxy.to(postgres_url) as made:
        yield made


def _sku(of: int) -> str:
    """Return a SKU of an even or an odd partition."""
    return next(f"SKU-{n}" for n in range(100) if partition_of("LON", f"SKU-{n}", PARTITIONS) % 2 == of)


async def test_a_slow_postgres_slows_its_own_partitions_only(
    proxy: Proxy, build: Build, postgres_url: str
) -> None:
    fast = await build("fast")
    slow = await build("slow", proxy.url, max_in_flight=_QUEUE)
    await fast.take([n for n in range(PARTITIONS) if n % 2 == 0])
    await slow.take([n for n in range(PARTITIONS) if n % 2 == 1])
    sessions = Sessions(postgres_url, "gateway")
    gateway = LaneGateway(PostgresDirectory(sessions), TOKEN, PARTITIONS)
    skus = [_sku(0), _sku(1)]
    for sku in skus:
        number = partition_of("LON", sku, PARTITIONS)
        await gateway.submit(number, ReceiveStock("LON", sku, "A", 1_000_000), f"opening {sku}")
    proxy.delay_s = _SLOW_S
    spent_s: dict[str, list[float]] = {sku: [] for sku in skus}
    refused = dict.fromkeys(skus, 0)
    is_over = False

    async def call(sku: str, caller: int) -> None:
        number, partition = 0, partition_of("LON", sku, PARTITIONS)
        while not is_over:
            number += 1
            began_s = time.monotonic()
            command = ReserveStock((ReserveLine("LON", sku, 1),))
            try:
                outcome = await gateway.submit(partition, command, f"{sku} {caller} {number}")
            except Overloaded:
                refused[sku] += 1
                await asyncio.sleep(0.01)
                continue
            assert isinstance(outcome, Answered), outcome
            spent_s[sku].append(time.monotonic() - began_s)

    calls = [asyncio.create_task(call(sku, n)) for sku in skus for n in range(_CALLERS)]
    await until(lambda: len(spent_s[skus[1]]) >= 5 * _QUEUE)
    is_over = True
    await asyncio.gather(*calls)
    proxy.delay_s = 0.0
    quick, late = (sorted(spent_s[sku]) for sku in skus)
    p99_s = quick[int(len(quick) * 0.99)]
    print(
        f"fast: {len(quick)}, p99 {p99_s * 1000:.0f} ms; slow: {len(late)}, {late[0] * 1000:.0f} ms at least"
    )
    assert late[0] >= _SLOW_S
    assert quick[len(quick) // 2] < _SLOW_S / 2  # Nobody there waits for the slow one.
    assert p99_s < late[len(late) // 2]
    assert len(quick) > 5 * len(late)
    assert refused[skus[0]] == 0
    assert refused[skus[1]] > 0
    await gateway.close()
    await sessions.close()

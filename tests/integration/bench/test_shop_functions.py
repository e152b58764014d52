"""The functions that the peers on Postgres call: against a model that decides one by one, and at once."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from bench.audit import AuditFailed
from bench.peers.procedure import Procedure
from bench.peers.procedure_load import CONNECTIONS_MAX, ProcedureLoad
from bench.peers.shop import Shop
from bench.workloads import Workload

BINS = Workload("bins", 6)
WIDE = Workload("wide", 50)


@asynccontextmanager
async def shop_of(url: str, workload: Workload, on_hand: int) -> AsyncIterator[tuple[Shop, Any]]:
    shop = Shop(url)
    await shop.create(workload)
    async with asyncpg.create_pool(url, min_size=4, max_size=4) as pool:
        await pool.execute("UPDATE stock SET on_hand = $1", on_hand)
        yield shop, pool


async def test_a_batch_decides_as_if_its_requests_came_one_by_one(empty_postgres_url: str) -> None:
    chance = random.Random(1)
    left, known = [40] * BINS.bins, set[str]()
    async with shop_of(empty_postgres_url, BINS, 40) as (shop, pool):
        for _ in range(25):
            batch = [
                (f"{chance.randrange(400)}", chance.randrange(BINS.bins), chance.randint(1, 6))
                for _ in range(chance.randint(1, 20))
            ]
            expected: dict[str, bool] = {}
            for key, index, quantity in batch:
                if key not in expected:
                    expected[key] = key in known or left[index] >= quantity
                    if expected[key] and key not in known:
                        left[index] -= quantity
            known |= {key for key, done in expected.items() if done}
            keys, bins, quantities = zip(*batch, strict=True)
            results = await pool.fetchval(
                "SELECT reserve_batch($1, $2, $3, $4)", keys, BINS.name, bins, quantities
            )
            assert results == [expected[key] for key in keys]
            assert await shop.reserved(BINS) == [40 - units for units in left]
    assert max(left) < 6


async def test_a_batch_of_orders_decides_as_if_they_came_one_by_one(empty_postgres_url: str) -> None:
    chance = random.Random(2)
    left, known = [60] * BINS.bins, set[str]()
    orders = {
        f"order-{number}": [
            (index, chance.randint(1, 4)) for index in chance.sample(range(BINS.bins), chance.randint(1, 4))
        ]
        for number in range(200)
    }
    refused = 0
    async with shop_of(empty_postgres_url, BINS, 60) as (shop, pool):
        for _ in range(25):
            keys = [f"order-{chance.randrange(200)}" for _ in range(chance.randint(1, 8))]
            expected: dict[str, bool] = {}
            for key in keys:
                if key not in expected:
                    expected[key] = key in known or all(left[index] >= units for index, units in orders[key])
                    for index, units in orders[key] if expected[key] and key not in known else ():
                        left[index] -= units
            refused += len(expected) - sum(expected.values())
            known |= {key for key, done in expected.items() if done}
            lines = [(number, *line) for number, key in enumerate(keys, 1) for line in orders[key]]
            arguments = [list(column) for column in zip(*lines, strict=True)]
            results = await pool.fetchval(
                "SELECT reserve_order_batch($1, $2, $3, $4, $5)", keys, BINS.name, *arguments
            )
            assert results == [expected[key] for key in keys]
            assert await shop.reserved(BINS) == [60 - units for units in left]
    assert refused > 0


async def test_calls_with_each_others_keys_and_bins_do_not_lock_each_other_out(
    empty_postgres_url: str,
) -> None:
    bins, ones = list(range(WIDE.bins)), [1] * WIDE.bins
    batch = "SELECT reserve_batch($1, $2, $3, $4)"
    order = "SELECT reserve_order($1, $2, $3, $4)"
    async with shop_of(empty_postgres_url, WIDE, 1_000) as (shop, pool):
        for attempt in range(10):
            keys = [f"{attempt}-{number}" for number in bins]
            done = await asyncio.gather(
                pool.fetchval(batch, keys, WIDE.name, bins, ones),
                pool.fetchval(batch, keys[::-1], WIDE.name, bins[::-1], ones),
                pool.fetchval(order, f"{attempt}", WIDE.name, bins, ones),
                pool.fetchval(order, f"{attempt}", WIDE.name, bins[::-1], ones),
            )
            assert done == [[True] * WIDE.bins, [True] * WIDE.bins, True, True]
        # Each key of a batch went to its bin, however often and in which order it came.
        assert await shop.reserved(WIDE) == [20] * WIDE.bins


@pytest.mark.parametrize("is_batch", [False, True], ids=["alone", "in a batch"])
async def test_a_key_of_another_order_is_an_error(empty_postgres_url: str, is_batch: bool) -> None:
    async with shop_of(empty_postgres_url, BINS, 10) as (shop, pool):

        async def reserve(*bins: int) -> None:
            ones = [1] * len(bins)
            if is_batch:
                query = "SELECT reserve_order_batch($1, $2, $3, $4, $5)"
                await pool.fetchval(query, ["key"], BINS.name, ones, bins, ones)
            else:
                await pool.fetchval("SELECT reserve_order($1, $2, $3, $4)", "key", BINS.name, bins, ones)

        await reserve(0, 1)
        with pytest.raises(asyncpg.UniqueViolationError, match="another order"):
            await reserve(0, 1, 2)
        assert await shop.reserved(BINS) == [1, 1, 0, 0, 0, 0]


async def test_two_lines_of_one_bin_are_one_want(empty_postgres_url: str) -> None:
    order = "SELECT reserve_order($1, $2, $3, $4)"
    async with shop_of(empty_postgres_url, BINS, 5) as (shop, pool):
        assert not await pool.fetchval(order, "six", BINS.name, [0, 3, 3], [1, 3, 3])
        assert await pool.fetchval(order, "five", BINS.name, [3, 0, 3], [3, 1, 2])
        assert await shop.reserved(BINS) == [1, 0, 0, 5, 0, 0]


async def test_books_that_differ_are_found(empty_postgres_url: str) -> None:
    async with shop_of(empty_postgres_url, BINS, 5) as (shop, pool):
        assert await pool.fetchval("SELECT reserve('key', $1, 2, 1)", BINS.name)
        await pool.execute("UPDATE stock SET reserved = 3 WHERE bin > 3")
        with pytest.raises(AuditFailed, match="2 bins differ; bin 4: 3 and 0 in lines"):
            await shop.reserved(BINS)
        with pytest.raises(AuditFailed, match="6 bins of 7"):
            await shop.reserved(Workload(BINS.name, 7))


async def test_a_load_uses_no_more_connections_than_it_says(empty_postgres_url: str) -> None:
    shop = Shop(empty_postgres_url)
    await shop.create(WIDE)
    others = len(shop.pids()["postgres"])
    load = asyncio.create_task(
        ProcedureLoad(shop.url).closed(WIDE, 1, in_flight=100, warm_s=0.2, seconds=0.1)
    )
    counted = 0
    while not load.done():
        counted = max(counted, len(shop.pids()["postgres"]))
        await asyncio.wait([load], timeout=0.02)
    told = load.result()
    assert sum(told["acknowledged"].values()) == sum(await shop.reserved(WIDE)) > 0
    assert CONNECTIONS_MAX <= counted <= CONNECTIONS_MAX + others + 1


async def test_pgbench_and_the_books_agree(empty_postgres_url: str, tmp_path: Path) -> None:
    procedure = Procedure(empty_postgres_url, tmp_path)
    await procedure.create(WIDE)
    told = await procedure.run(WIDE, 1, clients=2, seconds=1)
    assert told["operations"] == sum(await procedure.reserved(WIDE)) > 0
    assert await procedure.problems(WIDE) == []

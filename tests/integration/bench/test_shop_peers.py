"""The peers on Postgres, each as it is measured: whoever is fast must be right as well."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from itertools import count
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import httpx
import psutil
import pytest
import pytest_asyncio

from bench.audit import Tally, compare
from bench.http_load import HttpLoad
from bench.load import connected
from bench.peers.batched_load import BatchedLoad
from bench.peers.procedure_load import ProcedureLoad
from bench.peers.shop import Shop
from bench.peers.shop_service import ShopService
from bench.workloads import Workload
from binkeeper.embedded.postgres import EmbeddedPostgres

pytestmark = pytest.mark.asyncio(loop_scope="module")

SPREAD = Workload("spread", 50)
HOT = Workload("flash-sale", 1)
ORDERS = Workload("orders", 50, lines_min=3, lines_max=5)
SCARCE = Workload("scarce", 1)
KEYS = Workload("keys", 3)
SHORT = Workload("short", 4)
ALL = (SPREAD, HOT, ORDERS, SCARCE, KEYS, SHORT)
_ATTEMPTS_MAX = 40
_salts = count(1)
"""Each gives keys of its own: those of two loads in one shop must not meet."""

Load = ProcedureLoad | BatchedLoad | HttpLoad
Ask = Callable[[str, Workload, tuple[int, ...]], Coroutine[Any, Any, bool]]


class Peer:
    """A peer, its load, and how one request is sent to it."""

    def __init__(self, name: str, shop: Shop, connection: Any) -> None:
        self.name = name
        self.shop = shop
        self.connection = connection
        self.load: Load
        self.ask: Ask

    async def stock(self, workload: Workload, on_hand: int) -> None:
        await self.connection.execute("UPDATE stock SET on_hand = $2 WHERE site = $1", workload.name, on_hand)

    async def lines(self, workload: Workload) -> int:
        count: int = await self.connection.fetchval(
            "SELECT count(*) FROM reservation_line WHERE site = $1", workload.name
        )
        return count


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["procedure", "batched", "expert", "orm"])
async def peer(request: pytest.FixtureRequest, postgres_server: EmbeddedPostgres) -> AsyncIterator[Peer]:
    name = request.param
    database = f"shop_{name}"
    server = await asyncpg.connect(postgres_server.url)
    await server.execute(f"CREATE DATABASE {database}")
    url = urlunsplit(urlsplit(postgres_server.url)._replace(path=f"/{database}"))
    is_service = name in {"expert", "orm"}
    shop = ShopService(url, f"bench.peers.{name}_service") if is_service else Shop(url)
    await shop.create(*ALL)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(shop.started())
        pool = await stack.enter_async_context(asyncpg.create_pool(url, min_size=0, max_size=10))
        connection = await stack.enter_async_context(pool.acquire())
        found = Peer(name, shop, connection)
        if isinstance(shop, ShopService):
            client = await stack.enter_async_context(httpx.AsyncClient())
            found.load = HttpLoad(**shop.http)
            found.ask = by_http(client, shop)
        else:
            found.load = await connected(name, {"postgres_url": url})  # type: ignore[assignment]
            found.ask = by_function(pool) if name == "procedure" else by_batch(pool)
        yield found
    await server.execute(f"DROP DATABASE {database} WITH (FORCE)")
    await server.close()


def by_http(client: httpx.AsyncClient, shop: ShopService) -> Ask:
    async def ask(key: str, workload: Workload, bins: tuple[int, ...]) -> bool:
        lines = [{"site": workload.name, "sku": workload.sku(index), "quantity": 1} for index in bins]
        address = f"http://{shop.http['host']}:{shop.http['port']}{shop.http['path']}"
        body = lines[0] if len(lines) == 1 else {"lines": lines}
        response = await client.post(address, json=body, headers={"Idempotency-Key": key})
        assert response.status_code in {201, 409}, response.text
        return response.status_code == 201

    return ask


def by_function(pool: Any) -> Ask:
    async def ask(key: str, workload: Workload, bins: tuple[int, ...]) -> bool:
        if len(bins) == 1:
            done: bool = await pool.fetchval("SELECT reserve($1, $2, $3, 1)", key, workload.name, bins[0])
        else:
            ones = [1] * len(bins)
            done = await pool.fetchval("SELECT reserve_order($1, $2, $3, $4)", key, workload.name, bins, ones)
        return done

    return ask


def by_batch(pool: Any) -> Ask:
    async def ask(key: str, workload: Workload, bins: tuple[int, ...]) -> bool:
        ones = [1] * len(bins)
        if len(bins) == 1:
            query, numbers = "SELECT reserve_batch($1, $2, $3, $4)", ()
        else:
            query, numbers = "SELECT reserve_order_batch($1, $2, $3, $4, $5)", (ones,)
        (done,) = await pool.fetchval(query, [key], workload.name, *numbers, bins, ones)
        assert isinstance(done, bool)
        return done

    return ask


@pytest.mark.parametrize("workload", [SPREAD, HOT, ORDERS], ids=lambda workload: workload.name)
async def test_what_is_acknowledged_is_reserved(peer: Peer, workload: Workload) -> None:
    tally = Tally(workload.bins)
    for _ in range(2):
        told = await peer.load.closed(workload, next(_salts), in_flight=40, warm_s=0.05, seconds=0.15)
        tally.add(told["acknowledged"], told["unknown"])
        assert (told["refused"], told["unavailable"]) == (0, 0)
    reserved = await peer.shop.reserved(workload)
    assert compare(tally, reserved, reserved) == []
    assert sum(reserved) > 0


async def test_the_last_unit_of_a_hot_bin_is_sold_once(peer: Peer) -> None:
    """2,000 requests and more want 500 units, of the ORM's service 100: it is slow."""
    units = 100 if peer.name == "orm" else 500
    await peer.stock(SCARCE, units)
    tally, refused = Tally(1), 0
    for _ in range(_ATTEMPTS_MAX):
        told = await peer.load.closed(SCARCE, next(_salts), in_flight=64, warm_s=0.0, seconds=0.2)
        tally.add(told["acknowledged"], told["unknown"])
        refused += told["refused"]
        if refused >= 3 * units:
            break
    assert refused >= 3 * units
    assert tally.acknowledged == [units] == await peer.shop.reserved(SCARCE)
    assert await peer.lines(SCARCE) == units


@pytest.mark.parametrize("bins", [(0,), (0, 1, 2)], ids=["line", "order"])
async def test_a_key_that_comes_again_reserves_nothing_more(peer: Peer, bins: tuple[int, ...]) -> None:
    before = await peer.shop.reserved(KEYS)
    key, late = f"again-{len(bins)}", f"late-{len(bins)}"
    assert all(await asyncio.gather(*(peer.ask(key, KEYS, bins) for _ in range(12))))
    after = [units + (index in bins) for index, units in enumerate(before)]
    assert await peer.shop.reserved(KEYS) == after
    await peer.stock(KEYS, max(after))
    assert not await peer.ask(late, KEYS, (0,))
    assert await peer.ask(key, KEYS, bins), "the first result stands, although nothing is left"
    await peer.stock(KEYS, 100)
    assert await peer.ask(late, KEYS, (0,)), "a refusal left nothing behind"
    after[0] += 1
    assert await peer.shop.reserved(KEYS) == after


async def test_an_order_that_is_short_leaves_nothing(peer: Peer) -> None:
    await peer.stock(SHORT, 1)
    assert await peer.ask("one", SHORT, (2,))
    assert not await peer.ask("order", SHORT, (0, 1, 2, 3))
    assert not await peer.ask("no such bin", SHORT, (0, 9))
    assert await peer.shop.reserved(SHORT) == [0, 0, 1, 0]
    assert await peer.lines(SHORT) == 1
    results = await asyncio.gather(*(peer.ask(f"both-{number}", SHORT, (0, 1)) for number in range(8)))
    assert sorted(results) == [False] * 7 + [True]
    assert await peer.shop.reserved(SHORT) == [1, 1, 1, 0]


async def test_the_processes_of_the_servers_are_known(peer: Peer) -> None:
    pids = peer.shop.pids()
    assert await peer.connection.fetchval("SELECT pg_backend_pid()") in pids["postgres"]
    for pid in pids.get("api", []):
        assert f"bench.peers.{peer.name}_service" in psutil.Process(pid).cmdline()
    assert ("api" in pids) == (peer.name in {"expert", "orm"})

"""Redis as a peer: the real server, its scripts, and what it keeps when it is killed."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest

from bench.audit import AuditFailed, Tally, compare
from bench.peers.redis_client import RedisClient
from bench.peers.redis_load import RedisLoad
from bench.peers.redis_server import RedisServer
from bench.peers.redis_stock import available_key, request, request_before_key
from bench.product import durable_folder
from bench.workloads import Workload, flash_sale, orders, spread
from tests.waiting import until, wait_until

CALLERS = 8


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="bkt-redis-", dir=durable_folder()))
    yield made
    shutil.rmtree(made)


@pytest.fixture
async def server(folder: Path) -> AsyncIterator[RedisServer]:
    async with RedisServer.started(folder) as started:
        yield started


Wanted = list[tuple[tuple[int, ...], int]]
"""Bins and keys."""


async def reserve(server: RedisServer, workload: Workload, wanted: Wanted) -> list[int]:
    """Ask for bins by keys, over several connections at once."""
    clients = [await RedisClient.connect(**server.connection) for _ in range(CALLERS)]
    parts = [
        [request(request_before_key(workload, bins), key) for bins, key in wanted[number::CALLERS]]
        for number in range(CALLERS)
    ]
    answers = await asyncio.gather(
        *(client.send(*part) for client, part in zip(clients, parts, strict=True) if part)
    )
    for client in clients:
        await client.close()
    return [answer for part in answers for answer in part]


async def test_a_bin_is_not_oversold(server: RedisServer) -> None:
    hot = flash_sale()
    await server.create(hot, on_hand=500)
    answers = await reserve(server, hot, [((0,), key) for key in range(2_000)])
    assert (answers.count(1), answers.count(0)) == (500, 1_500)
    assert await server.reserved(hot) == [500]


async def test_a_repeat_has_one_effect_and_the_same_answer(server: RedisServer) -> None:
    workload = orders(4)
    await server.create(workload, on_hand=2)
    assert await reserve(server, workload, [((0,), 1)] * 40) == [1] * 40
    assert await reserve(server, workload, [((0, 1, 2), 2)] * 40) == [1] * 40
    assert await server.reserved(workload) == [2, 1, 1, 0]
    assert await reserve(server, workload, [((0,), 1), ((0, 1, 2), 2)]) == [
        1,
        1,
    ]
    assert await reserve(server, workload, [((0,), 3)]) == [0]


async def test_a_short_order_leaves_nothing(server: RedisServer) -> None:
    workload = orders(3)
    await server.create(workload, on_hand=1)
    assert await reserve(server, workload, [((1,), 1)]) == [1]
    assert await reserve(server, workload, [((0, 1, 2), 2)]) == [0]
    assert await server.reserved(workload) == [0, 1, 0]


async def test_what_was_acknowledged_survives_a_kill_and_the_rest_is_unknown(folder: Path) -> None:
    alone, others = flash_sale(), orders(50)
    before_key = request_before_key(alone, (0,))
    acknowledged = 0

    async with RedisServer.started(folder) as server:
        await server.create(alone, others)
        client = await RedisClient.connect(**server.connection)

        async def reserve_until_killed() -> None:
            nonlocal acknowledged
            while True:
                assert await client.send(request(before_key, acknowledged + 1)) == [1]
                acknowledged += 1

        load = RedisLoad(**server.connection, connections=2)
        loading = asyncio.create_task(load.closed(others, 1, in_flight=64, warm_s=0.0, seconds=1.0))
        counting = asyncio.create_task(reserve_until_killed())
        await until(lambda: acknowledged > 100)
        os.kill(server.pids()["redis"][0], signal.SIGKILL)
        for running in (counting, loading):
            with pytest.raises(ConnectionError):
                await running
        await client.close()
    async with RedisServer.started(folder) as server:
        [found] = await server.reserved(alone)
        assert acknowledged <= found <= acknowledged + 1
        assert sum(await server.reserved(others)) > 100  # And its books agree.


@pytest.mark.parametrize("connections", [None, 1, 3])
async def test_the_audit_finds_what_was_acknowledged(server: RedisServer, connections: int | None) -> None:
    workloads = spread(200), flash_sale(), orders(200)
    await server.create(*workloads)
    load = RedisLoad(**server.connection, connections=connections)
    for workload in workloads:
        told = await load.closed(workload, 1, in_flight=32, warm_s=0.1, seconds=0.3)
        assert told["ops_s"] > 0
        assert (told["refused"], told["unavailable"], sum(told["unknown"].values())) == (0, 0, 0)
        tally = Tally(workload.bins)
        tally.add({str(index): units for index, units in told["acknowledged"].items()}, {})
        found = await server.reserved(workload)
        assert compare(tally, found, found) == []


async def test_books_that_differ_are_no_figure(server: RedisServer) -> None:
    workload = spread(3)
    await server.create(workload)
    client = await RedisClient.connect(**server.connection)
    await client.call(("DECR", available_key(workload, 1)))
    await client.close()
    with pytest.raises(AuditFailed, match="999999999 available, 0 booked"):
        await server.reserved(workload)


async def test_every_write_is_synced_before_its_answer(server: RedisServer) -> None:
    client = await RedisClient.connect(**server.connection)
    settings = {}
    for name in ("appendonly", "appendfsync", "save", "no-appendfsync-on-rewrite"):
        [[_, value]] = await client.call(("CONFIG", "GET", name))
        settings[name] = value.decode()
    await client.close()
    assert settings == {
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",
        "no-appendfsync-on-rewrite": "no",
    }


_STARTS = """
import asyncio, pathlib, sys
from bench.peers.redis_server import RedisServer

async def run():
    async with RedisServer.started(pathlib.Path(sys.argv[1])) as server:
        print(server.pids()["redis"][0], flush=True)
        await asyncio.Event().wait()

asyncio.run(run())
"""


def test_the_server_ends_with_its_parent(folder: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", _STARTS, str(folder)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert psutil.pid_exists(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not psutil.pid_exists(pid), "the server is gone")

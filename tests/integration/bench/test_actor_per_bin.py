"""One Ray actor for each bin as a peer: two real actors and a real Postgres."""

import asyncio
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from bench.audit import Tally, compare
from bench.load_process import LoadProcess
from bench.peers.actor_per_bin import ActorPerBin
from bench.peers.bin_actor import SCHEMA, BinActor
from bench.workloads import Workload
from tests.waiting import until

BINS = 2
ON_HAND = 500


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="bkt-ray-"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
async def actor(empty_postgres_url: str) -> AsyncIterator[BinActor]:
    """One bin without Ray, with 500 units."""
    connection = await asyncpg.connect(empty_postgres_url)
    await connection.execute(SCHEMA)
    await connection.execute("INSERT INTO stock (site, bin, on_hand) VALUES ('hot', 0, $1)", ON_HAND)
    await connection.close()
    made = BinActor(empty_postgres_url, "hot", 0)
    await made.start()
    yield made
    await made._connection.close()


async def test_a_bin_is_not_oversold_and_a_repeat_has_one_effect(actor: BinActor) -> None:
    answers = await asyncio.gather(*(actor.reserve(f"{number:032x}", 1) for number in range(2_000)))
    assert (answers.count(True), answers.count(False)) == (500, 1_500)
    assert await actor.reserved() == ON_HAND
    assert await actor.reserve(f"{7:032x}", 1)
    assert await actor.reserved() == ON_HAND


async def test_a_bin_that_begins_anew_has_what_it_had(actor: BinActor) -> None:
    assert await asyncio.gather(*(actor.reserve(f"{1:032x}", 1) for _ in range(10))) == [True] * 10
    again = BinActor(actor._postgres_url, "hot", 0)
    await again.start()
    assert await again.reserved() == 1
    await again._connection.close()


@pytest.mark.slow
async def test_actors_reserve_what_is_acknowledged_and_end_with_their_load(
    empty_postgres_url: str, folder: Path
) -> None:
    workload = Workload("spread", BINS)
    load = await LoadProcess.start("ray-actors", postgres_url=empty_postgres_url, folder=str(folder))
    peer = ActorPerBin(empty_postgres_url, load)
    await peer.create(workload, on_hand=ON_HAND)
    started = await peer.start(workload)
    assert 0 < started["start_s_per_bin"] < 60
    assert started["bytes_per_bin"] > 10_000_000
    assert len(peer.pids()["actors"]) == BINS
    told = await load.ask("closed", workload, 1, in_flight=16, warm_s=0.2, seconds=1.0)
    print(started, {name: told[name] for name in ("ops_s", "p50_ms", "p99_ms")})
    assert told["ops_s"] > 0
    tally = Tally(BINS)
    tally.add(told["acknowledged"], told["unknown"])
    found = await peer.reserved(workload)
    assert compare(tally, found, found) == []
    processes = {pid for pids in peer.pids().values() for pid in pids}
    await load.stop()
    await until(lambda: not any(psutil.pid_exists(pid) for pid in processes), "Ray is gone")


@pytest.mark.slow
async def test_ray_ends_when_the_load_is_told_to(empty_postgres_url: str, folder: Path) -> None:
    workload = Workload("flash-sale", 1)
    load = await LoadProcess.start("ray-actors", postgres_url=empty_postgres_url, folder=str(folder))
    peer = ActorPerBin(empty_postgres_url, load)
    await peer.create(workload)
    await peer.start(workload)
    processes = {pid for pids in peer.pids().values() for pid in pids}
    load._process.send_signal(signal.SIGTERM)
    await until(lambda: not any(psutil.pid_exists(pid) for pid in processes), "Ray is gone")
    await load.stop()

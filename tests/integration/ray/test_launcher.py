"""Hosts as Ray actors, on memory adapters: started, found by name, reached by lanes, stopped and killed."""

import os
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest
import ray

from actors.bin_handle import bin_at
from actors.gateway import LaneGateway
from actors.outcomes import Unavailable
from actors.ray_doors import doors
from actors.ray_launcher import RayLauncher
from persistence.memory import MemoryDatabase, MemoryDirectory
from tests.integration.ray.building import build

PARTITIONS = 4
TOKEN = "lane"
SETTINGS = {"partitions": PARTITIONS, "lane_token": TOKEN, "lane_host": "127.0.0.1"}
DEADLINE_S = 20


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=80 * 1024 * 1024,
        log_to_driver=False,
        namespace="somebody else's",
    )
    yield
    ray.shutdown()


_JOINS = """
import sys, threading, time
from actors.ray_head import join_ray, leave_ray
join_ray(sys.argv[1])
deadline_s = time.monotonic() + 20
while "ray_listen_error_messages" in {thread.name for thread in threading.enumerate()}:
    assert time.monotonic() < deadline_s, "it listens"
    time.sleep(0.05)
leave_ray()
"""


def test_who_joins_ray_has_no_thread_that_spins_while_the_control_store_is_away() -> None:
    address = ray.get_runtime_context().gcs_address
    subprocess.run([sys.executable, "-c", _JOINS, address], check=True, timeout=60)


async def test_a_host_is_launched_found_used_and_stopped() -> None:
    assert await doors() is None
    with pytest.raises(Unavailable, match="no Binkeeper host runs on this Ray cluster"):
        await bin_at("LON", "TEA", "A")
    launcher = RayLauncher(SETTINGS, build)
    process = await launcher.launch("one")
    assert process.pid != os.getpid()
    control = LaneGateway(MemoryDirectory(MemoryDatabase(PARTITIONS)), TOKEN, PARTITIONS)
    await control.control(process.address, "take", list(range(PARTITIONS)))

    found = await doors()
    assert found is not None
    assert {placement[2] for placement in found["placements"]} == {process.address}
    bin_ = await bin_at("LON", "TEA", "A")
    await bin_.receive(3)
    assert (await bin_.reserve(2)).view["state"] == "held"
    assert (await bin_.state()).view["available"] == 1

    running = psutil.Process(process.pid)
    await launcher.stop(process)
    running.wait(DEADLINE_S)
    await control.close()


async def test_a_killed_host_is_gone_and_its_name_is_free() -> None:
    launcher = RayLauncher(SETTINGS, build)
    for _ in range(2):
        process = await launcher.launch("two")
        running = psutil.Process(process.pid)
        await launcher.kill(process)
        running.wait(DEADLINE_S)


async def test_a_host_that_cannot_be_built_is_unavailable_and_its_reason_is_told() -> None:
    launcher = RayLauncher({**SETTINGS, "partitions": "none"}, build)
    with pytest.raises(Unavailable, match="host three did not start"):
        await launcher.launch("three")

"""Hosts as Ray actors, on memory adapters: started, found by name, reached by lanes, stopped and killed."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import ray
from ray._private import services

from actors.bin_handle import bin_at
from actors.gateway import LaneGateway
from actors.nodes import LOST_S_MAX
from actors.outcomes import Unavailable
from actors.ray_doors import doors
from actors.ray_head import _apart_from_the_head
from actors.ray_launcher import RayLauncher, node_lost_s_max
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
import sys, threading
from actors.ray_head import join_ray, leave_ray
from tests.waiting import wait_until
join_ray(sys.argv[1])
listener = "ray_listen_error_messages"
wait_until(lambda: listener not in {thread.name for thread in threading.enumerate()}, "it listens", 20)
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


async def test_hosts_are_started_on_nodes_with_a_core_and_on_others_only_where_there_are_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def node(name: str, cores: float, *, is_alive: bool = True) -> dict[str, Any]:
        return {"NodeID": name, "Alive": is_alive, "Resources": {"CPU": cores} if cores else {}}

    nodes = [node("head", 0), node("worker", 2), node("dead", 2, is_alive=False)]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    launcher = RayLauncher(SETTINGS, build)
    assert await launcher.nodes() == ["worker"]
    del nodes[1]
    assert await launcher.nodes() == ["head"]


async def test_ray_is_asked_once_for_its_nodes_while_it_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actors.ray_launcher._ASK_TIMEOUT_S", 0.05)
    asked, answers = 0, threading.Event()

    def slow() -> list[dict[str, Any]]:
        nonlocal asked
        asked += 1
        answers.wait(DEADLINE_S)
        return []

    monkeypatch.setattr(ray, "nodes", slow)
    launcher = RayLauncher(SETTINGS, build)
    for _ in range(10):  # More than there are threads to ask with.
        with pytest.raises(Unavailable, match="which nodes there are"):
            await launcher.nodes()
    assert asked == 1
    answers.set()
    monkeypatch.setattr("actors.ray_launcher._ASK_TIMEOUT_S", DEADLINE_S)
    assert await launcher.nodes() == []


def test_a_lost_node_is_doubted_for_as_long_as_rays_health_check_can_take() -> None:
    assert node_lost_s_max() == LOST_S_MAX


def _raylet(name: str, cores: float, *, is_head: bool = False, state: int = 0) -> SimpleNamespace:
    return SimpleNamespace(
        node_id=name.encode(), is_head_node=is_head, state=state, resources_total={"CPU": cores}
    )


@pytest.mark.parametrize(
    "others, chosen",
    [
        ([_raylet("worker", 2), _raylet("own", 0)], "own"),
        ([_raylet("worker", 2), _raylet("elsewhere", 0)], "worker"),
        ([_raylet("worker", 2, state=1)], "the head's"),
        ([], "the head's"),
    ],
)
def test_who_joins_a_cluster_takes_another_raylet_than_the_heads_if_there_is_one(
    monkeypatch: pytest.MonkeyPatch, others: list[SimpleNamespace], chosen: str
) -> None:
    here = [name.encode().hex() for name in ("head", "worker", "own")]
    monkeypatch.setattr(services, "find_node_ids", lambda: here)
    monkeypatch.setattr(services, "get_node_to_connect_for_driver", lambda *_, **__: "the head's")
    nodes = {node.node_id: node for node in [_raylet("head", 0, is_head=True), *others]}
    gcs = SimpleNamespace(get_all_node_info=lambda: nodes)
    with _apart_from_the_head():
        found = services.get_node_to_connect_for_driver(gcs)
    assert (found if isinstance(found, str) else found.node_id.decode()) == chosen
    assert services.get_node_to_connect_for_driver(gcs) == "the head's"

"""Three nodes on this machine: one is killed with its hosts, one is added, the head is lost. `make nodes`.

It takes minutes, and two cores for itself; `make test` has the same on one node.
"""

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.end_to_end.running import Running, until
from tests.end_to_end.test_moving import moved
from tests.end_to_end.workload import Workload
from tests.nodes.cluster import Nodes

HOSTS = 3
NODE_BACK_S_MAX = 15.0
HEADLESS_S = 75.0
"""Longer than the 60 s after which Ray's processes end themselves unless they are told to be patient."""


@pytest.fixture
def cluster() -> Iterator[Nodes]:
    nodes = Nodes(3)
    yield nodes
    nodes.end()


@pytest.fixture
def binkeeper(cluster: Nodes) -> Iterator[Running]:
    os.environ["BINKEEPER_RAY_ADDRESS"] = cluster.address
    os.environ["BINKEEPER_HOSTS"] = str(HOSTS)
    running = Running()
    try:
        yield running.start()
    finally:
        del os.environ["BINKEEPER_RAY_ADDRESS"], os.environ["BINKEEPER_HOSTS"]
        running.end()


async def status(binkeeper: Running) -> dict[str, Any]:
    async with binkeeper.http() as http:
        told: dict[str, Any] = (await http.get("/status")).json()
    return told


async def nodes_of_hosts(binkeeper: Running) -> Counter[str]:
    """Return how many hosts with partitions each node has."""
    return Counter(host["node"] for host in (await status(binkeeper))["hosts"] if host["partitions"])


@pytest.mark.timeout(900)
async def test_nodes_come_and_go_and_the_head_is_lost(cluster: Nodes, binkeeper: Running) -> None:
    figures: dict[str, Any] = {}
    work = Workload(binkeeper, "nodes", seed=11)
    over = asyncio.get_running_loop().create_future()
    working = asyncio.create_task(work.run(over))
    await until(lambda: len(work.answered) > 200, "the load is on", 60.0)

    told = await moved(binkeeper, "rebalance")
    spread = await nodes_of_hosts(binkeeper)
    assert len(spread) == HOSTS, spread
    assert max(spread.values()) == 1
    figures["spread_pause_ms"] = told["pause_ms_max"]
    assert work.repeats == 0

    # A node is killed with its host.
    head = str(cluster.nodes[0].node_id)
    lost = next(node for node in spread if node != head)
    killed_s = time.monotonic()
    cluster.kill(lost)

    async def all_served() -> bool:
        try:
            now = await status(binkeeper)
        except Exception:  # noqa: BLE001 - the API may be late too; it is asked again
            return False
        hosts = [host for host in now["hosts"] if host["node"] != lost]
        return sum(host["ready"] for host in hosts) == now["partitions"]

    await until(all_served, "all partitions are served", 60.0)
    figures["node_lost_all_served_s"] = round(time.monotonic() - killed_s, 2)
    seen = len(work.answered)
    await until(lambda: len(work.answered) > seen + 500, "the load goes on", 60.0)
    waits = [known_s - began_s for began_s, known_s in work.answered if known_s > killed_s]
    figures["node_lost_longest_wait_s"] = round(max(waits), 2)
    figures["node_lost_repeats"] = work.repeats
    assert figures["node_lost_all_served_s"] < NODE_BACK_S_MAX
    assert max(waits) < NODE_BACK_S_MAX

    # A node is added and takes its share; a hot SKU is isolated.
    repeats = work.repeats
    added = await asyncio.to_thread(cluster.add)

    async def knows_it() -> bool:
        await moved(binkeeper, "rebalance")
        return added in await nodes_of_hosts(binkeeper)

    await until(knows_it, "the added node has its share", 120.0)
    told = await moved(binkeeper, "isolate", "nodes", "S0")
    figures["isolate_pause_ms"] = told["pause_ms_max"]
    assert work.repeats == repeats

    # The head is lost, for longer than Ray's own patience.
    cluster.kill_control_store()
    pids = binkeeper.pids("host")
    seen, lost_s = len(work.answered), time.monotonic()
    while time.monotonic() - lost_s < HEADLESS_S:
        await asyncio.sleep(1.0)
        assert not working.done()
    figures["headless_answers"] = len(work.answered) - seen
    figures["headless_repeats"] = work.repeats - repeats
    figures["headless_longest_silence_s"] = round(work.longest_silence_s(lost_s), 2)
    assert binkeeper.pids("host") == pids
    assert work.repeats == repeats
    over.set_result(None)
    await working
    await work.verify()
    print(json.dumps(figures))

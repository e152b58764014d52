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

import httpx
import psutil
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


class Trial:
    """A load on the cluster, and what was measured under it."""

    def __init__(self, cluster: Nodes, binkeeper: Running) -> None:
        self.cluster = cluster
        self.binkeeper = binkeeper
        self.work = Workload(binkeeper, "nodes", seed=11)
        self.figures: dict[str, Any] = {}

    async def spread_hosts(self) -> None:
        """Each node gets a host."""
        told = await moved(self.binkeeper, "rebalance")
        spread = await nodes_of_hosts(self.binkeeper)
        assert len(spread) == HOSTS, spread
        assert max(spread.values()) == 1
        self.figures["spread_pause_ms"] = told["pause_ms_max"]
        assert self.work.repeats == 0

    async def lose_a_node(self) -> None:
        """A node is killed with its host."""
        work, head = self.work, str(self.cluster.nodes[0].node_id)
        lost = next(node for node in await nodes_of_hosts(self.binkeeper) if node != head)
        killed_s = time.monotonic()
        self.cluster.kill(lost)

        async def all_served() -> bool:
            try:
                now = await status(self.binkeeper)
            except httpx.HTTPError:
                return False
            hosts = [host for host in now["hosts"] if host["node"] != lost]
            return sum(host["ready"] for host in hosts) == now["partitions"]

        await until(all_served, "all partitions are served", 60.0)
        served_s = time.monotonic() - killed_s
        seen = len(work.answered)
        await until(lambda: len(work.answered) > seen + 500, "the load goes on", 60.0)
        longest_s = max(known_s - began_s for began_s, known_s in work.answered if known_s > killed_s)
        self.figures["node_lost_all_served_s"] = round(served_s, 2)
        self.figures["node_lost_longest_wait_s"] = round(longest_s, 2)
        self.figures["node_lost_repeats"] = work.repeats
        assert served_s < NODE_BACK_S_MAX
        assert longest_s < NODE_BACK_S_MAX

    async def add_a_node(self) -> None:
        """A node is added and takes its share; a hot SKU is isolated."""
        repeats = self.work.repeats
        added = self.cluster.add()

        async def has_its_share() -> bool:
            await moved(self.binkeeper, "rebalance")
            return added in await nodes_of_hosts(self.binkeeper)

        await until(has_its_share, "the added node has its share", 120.0)
        told = await moved(self.binkeeper, "isolate", "nodes", "S0")
        self.figures["isolate_pause_ms"] = told["pause_ms_max"]
        assert self.work.repeats == repeats

    async def lose_the_head(self) -> None:
        """The control store is away for longer than Ray's own patience."""
        work, repeats, pids = self.work, self.work.repeats, self.binkeeper.pids("host")
        self.cluster.kill_control_store()
        seen, lost_s = len(work.answered), time.monotonic()
        supervisor = psutil.Process(self.binkeeper.pids("supervisor")[0])
        used = supervisor.cpu_times()
        await asyncio.sleep(HEADLESS_S)  # What is tested is that nothing happens for so long.
        self.figures["headless_answers"] = len(work.answered) - seen
        self.figures["headless_longest_silence_s"] = round(work.longest_silence_s(lost_s), 2)
        spent_s = sum(supervisor.cpu_times()[:2]) - sum(used[:2])
        self.figures["headless_supervisor_cpu_s"] = round(spent_s, 2)
        assert spent_s < HEADLESS_S / 10
        assert self.binkeeper.pids("host") == pids
        assert work.repeats == repeats
        assert len(work.answered) > seen


@pytest.mark.timeout(900)
async def test_nodes_come_and_go_and_the_head_is_lost(cluster: Nodes, binkeeper: Running) -> None:
    trial = Trial(cluster, binkeeper)
    over = asyncio.get_running_loop().create_future()
    working = asyncio.create_task(trial.work.run(over))
    await until(lambda: len(trial.work.answered) > 200, "the load is on", 60.0)
    await trial.spread_hosts()
    await trial.lose_a_node()
    await trial.add_a_node()
    await trial.lose_the_head()
    over.set_result(None)
    await working
    await trial.work.verify()
    print(json.dumps(trial.figures))

"""What is killed, and how long it is until all is as it was."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable

from actors.outcomes import Unavailable
from tests.end_to_end.test_moving import moved
from tests.nodes.cluster import Nodes
from tests.recovery.stock import LargeStock
from tests.waiting import until

_BACK_S_MAX = 180.0

Kill = Callable[[LargeStock], Awaitable[float]]
"""Kills, and returns after how many seconds all partitions answered."""


async def host(stock: LargeStock) -> float:
    """Kill the owner with the most partitions: from the kill until every partition has answered."""
    await until(lambda: len(stock.binkeeper.pids("host")) > 1, "a host stands by", _BACK_S_MAX)
    owner = max(await stock.hosts(), key=lambda found: int(found["partitions"]))
    os.kill(int(owner["pid"]), signal.SIGKILL)
    killed_s = time.monotonic()
    return max(await stock.ask_every_partition()) - killed_s


async def _child(stock: LargeStock, role: str) -> tuple[float, list[float]]:
    """Kill a child of `binkeeper up`; return when it was back, and when every partition had answered."""
    stock.binkeeper.kill(role)
    answered = stock.ask_every_partition()
    await asyncio.to_thread(stock.binkeeper.until_line, f"{role} is back")
    return time.monotonic(), await answered


async def postgres(stock: LargeStock) -> float:
    """Kill Postgres: from its being back until every partition has answered."""
    back_s, answered_s = await _child(stock, "postgres")
    return max(0.0, max(answered_s) - back_s)


async def nats(stock: LargeStock) -> float:
    """Kill NATS: from its being back until everything that was committed meanwhile is broadcast."""
    back_s, _ = await _child(stock, "nats")

    async def is_broadcast() -> bool:
        return all(found["courier_lag"] == 0 for found in await stock.hosts())

    await until(is_broadcast, "all is broadcast", _BACK_S_MAX)
    return time.monotonic() - back_s


class NodeKills:
    """Nodes of a cluster, each with a host of its share; one of them is killed, and another added for it."""

    def __init__(self, cluster: Nodes, hosts: int) -> None:
        self._cluster = cluster
        self._hosts = hosts

    async def __call__(self, stock: LargeStock) -> float:
        """Kill a node with its hosts: from the kill until every partition has answered."""
        await until(lambda: self._is_spread(stock), "each node has its share", _BACK_S_MAX)
        await stock.rest()
        lost = await self._worst(stock)
        killed_s = time.monotonic()
        self._cluster.kill(lost)
        took_s = max(await stock.ask_every_partition()) - killed_s
        self._cluster.add()
        return took_s

    async def _worst(self, stock: LargeStock) -> str:
        """Return a node with a host; one that a standby would be lost with, if there is any."""
        owners = await stock.hosts()
        standbys = set(stock.binkeeper.pids("host")) - {owner["pid"] for owner in owners}
        nodes = {self._cluster.node_of(pid) for pid in standbys}
        return next(
            (str(owner["node"]) for owner in owners if owner["node"] in nodes), str(owners[0]["node"])
        )

    async def _is_spread(self, stock: LargeStock) -> bool:
        try:
            nodes = {owner["node"] for owner in await stock.hosts()}
        except Unavailable:
            return False
        if len(nodes) == self._hosts:
            return len(stock.binkeeper.pids("host")) > self._hosts  # Somebody stands by.
        await moved(stock.binkeeper, "rebalance")  # By itself it would happen after a rest.
        return False

"""Growth: throughput and memory against bins, requests under way, lines an order, and hosts."""

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

from bench.load_process import LoadFailed
from bench.rounds import Throughput
from bench.samples import rounded
from bench.workloads import Workload, orders, spread

if TYPE_CHECKING:
    from bench.contenders import Contender
    from bench.ring import Ring

_REBALANCE_S_MAX = 60.0


class Growth:
    """Measures, one thing after another, and keeps the points of each line."""

    def __init__(self, ring: "Ring") -> None:
        self._ring = ring
        self.bins: list[dict[str, float]] = []
        self.memory: list[dict[str, float]] = []
        self.in_flight: list[dict[str, float]] = []
        self.lines: list[dict[str, float]] = []
        self.hosts: list[dict[str, float]] = []
        self.largest: Workload

    def plain(self) -> dict[str, Any]:
        """Return the lines as the result's file has them."""
        return {"bins": self.bins, "in_flight": self.in_flight, "lines": self.lines, "hosts": self.hosts}

    async def against_in_flight(self) -> None:
        """Measure from one caller to many."""
        ring = self._ring
        workload = spread(ring.plan.bins, ring.plan.seed)
        for count in ring.plan.growth_in_flight:
            ring.say(f"growth: {count} in flight")
            self.in_flight.append({"at": count, **await self._ops_s(ring.lanes, workload, count)})

    async def against_lines(self) -> None:
        """Measure orders of one line to many, over HTTP, all or nothing."""
        ring = self._ring
        for lines in ring.plan.growth_lines:
            ring.say(f"growth: orders of {lines} lines")
            workload = orders(ring.plan.bins, ring.plan.seed, lines_min=lines, lines_max=lines)
            await ring.fill(workload)
            found = await self._ops_s(ring.http, workload, ring.plan.connections)
            self.lines.append({"at": lines, **found, "lines_s": rounded(found["ops_s"] * lines)})

    async def against_hosts(self) -> None:
        """Measure with more hosts, in the product as it runs."""
        ring = self._ring
        workload = spread(ring.plan.bins, ring.plan.seed)
        standbys = len(ring.product.host_pids()) - 1
        for hosts in ring.plan.growth_hosts:
            ring.say(f"growth: hosts {hosts}")
            await self._rebalance(hosts)
            await ring.probe.standbys_back(hosts + standbys)
            await ring.product_store.rest()
            self.hosts.append({"at": hosts, **await self._ops_s(ring.lanes, workload, ring.plan.in_flight)})
        if self.hosts and self.hosts[-1]["at"] != 1:
            await self._rebalance(1)

    async def against_bins(self) -> None:
        """Measure with more and more bins, all of them active, and what each costs in memory."""
        ring = self._ring
        for bins in ring.plan.growth_bins:
            ring.say(f"growth: {bins:,} bins")
            self.largest = workload = Workload(f"bins-{bins}", bins, ring.plan.seed)
            await ring.product_store.rest()
            before = ring.probe.memory_bytes()
            await ring.fill(workload)
            await ring.product_store.rest()
            grown = ring.probe.memory_bytes() - before
            self.memory.append({"bins": bins, "bytes_per_bin": rounded(grown / bins)})
            self.bins.append({"at": bins, **await self._ops_s(ring.lanes, workload, ring.plan.in_flight)})

    async def _ops_s(self, contender: "Contender", workload: Workload, in_flight: int) -> dict[str, float]:
        ring = self._ring
        measured = Throughput(contender, workload, in_flight)
        await measured.measure(ring.next_salt(), warm_s=ring.plan.warm_s, seconds=ring.plan.growth_s)
        return {"ops_s": rounded(measured.ops_s[0])}

    async def _rebalance(self, hosts: int) -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "binkeeper", "rebalance", "--json"),
            *("--hosts", str(hosts), "--home", str(self._ring.product.home)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(_REBALANCE_S_MAX):
                told, complaint = await process.communicate()
        except TimeoutError:
            process.kill()
            raise LoadFailed(f"{hosts} hosts did not take their partitions") from None
        if process.returncode:
            raise LoadFailed(f"rebalance: {complaint.decode(errors='replace').strip()}")
        json.loads(told)

"""The figures of the engine: each against a bare limit or a peer, measured in turn in one run, then audited.

First what 200,000 bins cost in memory and how long a killed host is away with them; then round after round of
every contender in turn, on the same server and with the same durability. After each round of ours the product
comes to rest - snapshots written, everything broadcast - so that nobody's round pays for another's.
"""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from math import ceil
from typing import Any

import asyncpg

from bench.audit import Tally, compare, confirm
from bench.load_process import LoadProcess
from bench.machine import describe
from bench.peers import empty_route
from bench.peers.procedure import Procedure
from bench.plan import Plan
from bench.probe import Probe
from bench.product import Product
from bench.samples import Rounds, rounded
from bench.workloads import Workload
from persistence.migrate import migrate

_FILL_IN_FLIGHT = 256
"""Fewer than a host lets wait however slow it is: see `actors.intake`."""
_PROBED_BINS = 64
_AUDITED_BINS = 2_000
_COPY_ROWS = 2_000

RATIOS = {
    "lanes_vs_copy": ("lanes_spread_ops_s", "copy_rows_s"),
    "hot_vs_spread": ("lanes_hot_ops_s", "lanes_spread_ops_s"),
    "http_vs_empty": ("http_ops_s", "empty_ops_s"),
    "lanes_spread_vs_procedure": ("lanes_spread_ops_s", "procedure_spread_ops_s"),
    "lanes_hot_vs_procedure": ("lanes_hot_ops_s", "procedure_hot_ops_s"),
    "alone_vs_commit": ("alone_p50_ms", "commit_p50_ms"),
}
"""The figures that are ours over theirs."""


class Run:
    """One run. `say` is told what is being done."""

    def __init__(self, plan: Plan, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._say = say
        self._salt = plan.seed * 1_000
        self.spread = Workload("spread", plan.bins, plan.seed)
        self.hot = Workload("flash-sale", 1, plan.seed)
        self.resting = Workload("resting", plan.resting_bins, plan.seed)
        self._tallies = {
            workload.name: Tally(workload.bins) for workload in (self.spread, self.hot, self.resting)
        }
        self._samples = Rounds()
        self._known: dict[str, Any] = {}
        self._audits = 0
        self._product: Product
        self._probe: Probe
        self._lanes: LoadProcess
        self._http: LoadProcess
        self._empty: LoadProcess
        self._copy: LoadProcess
        self._procedure: Procedure

    async def figures(self) -> dict[str, Any]:
        """Measure everything; return flat figures. Raises LoadFailed or AuditFailed."""
        began_s = time.monotonic()
        async with AsyncExitStack() as stack:
            await self._start(stack)
            await self._measure_resting()
            await self._fill()
            for number in range(1, self._plan.rounds + 1):
                await self._round(number)
            self._say("stopping")
        return {
            **self._samples.ratios(RATIOS),
            **self._samples.medians(),
            **self._known,
            "audits": self._audits,
            "audited": True,
            "seconds": rounded(time.monotonic() - began_s),
        }

    # Before the rounds

    async def _start(self, stack: AsyncExitStack) -> None:
        self._say("starting Binkeeper on a fresh home")
        self._product = product = await stack.enter_async_context(Product.started())
        self._probe = await Probe.connect(product)
        stack.push_async_callback(self._probe.close)
        partitions = self._probe.gateway.partitions
        self._say("making the peers' databases")
        connection = await asyncpg.connect(product.postgres_url)
        for name in ("bare_ledger", "procedure"):
            await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()
        copy_url = product.database_url("bare_ledger")
        migrate(copy_url, partitions)
        self._procedure = Procedure(product.database_url("procedure"), product.folder)
        await self._procedure.create(self.spread, self.hot)

        host, port, token = product.http
        empty_port = await stack.enter_async_context(empty_route.started())
        path, url = "/v1/reservations", product.postgres_url

        async def load(kind: str, **connection: Any) -> LoadProcess:  # noqa: ANN401 - plain values
            process = await LoadProcess.start(kind, **connection)
            stack.push_async_callback(process.stop)
            return process

        lanes = {"lane_token": product.lane_token, "partitions": partitions}
        self._lanes = await load("lanes", postgres_url=url, **lanes)
        self._http = await load("http", host=host, port=port, token=token, path=path)
        self._empty = await load("http", host=host, port=empty_port, token=token, path=path)
        self._copy = await load("copy", postgres_url=copy_url, partitions=partitions)
        self._known.update(await describe(url))

    async def _measure_resting(self) -> None:
        """Measure what bins cost that nothing happens to, and recovery with them.

        Memory is what the hosts' processes have grown by, over the bins; every bin is active, and nothing is
        subtracted: not the window of command keys, not what the allocator keeps. The second half alone comes
        without the window, which the first has filled.
        """
        plan, probe = self._plan, self._probe
        await probe.rest()
        hosts = len(self._product.host_pids())
        grown = [probe.memory_bytes()]
        half = plan.resting_bins // 2
        for first, end in ((0, half), (half, plan.resting_bins)):
            self._say(f"receiving {end - first:,} bins")
            self._samples.add("receive_ops_s", await self._receive(self.resting, first, end))
            self._samples.add("receive_rest_s", await probe.rest())
            grown.append(probe.memory_bytes())
        self._say(f"killing the host with {plan.resting_bins:,} bins")
        bins = random.Random(plan.seed).sample(range(plan.resting_bins), min(_PROBED_BINS, plan.resting_bins))
        recovery_s = await probe.kill_and_reserve(self.resting, bins, self._next_salt())
        self._tallies[self.resting.name].add({str(index): 1 for index in bins}, {})
        await probe.standbys_back(hosts)
        await probe.rest()
        await self._audit(self.resting, bins)
        self._known.update(
            resting_bins=plan.resting_bins,
            bytes_per_bin=round((grown[2] - grown[0]) / plan.resting_bins),
            bytes_per_bin_second_half=round((grown[2] - grown[1]) / (plan.resting_bins - half)),
            host_bytes_before=grown[0],
            host_bytes_after=grown[2],
            host_bytes_recovered=probe.memory_bytes(),
            recovery_200k_s=rounded(recovery_s),
        )

    async def _receive(self, workload: Workload, first: int, end: int) -> float:
        """Receive opening stock; return the receipts a second."""
        told = await self._lanes.ask(
            "fill", workload, self._next_salt(), in_flight=_FILL_IN_FLIGHT, first=first, end=end
        )
        return float(told["ops_s"])

    async def _fill(self) -> None:
        self._say(f"receiving {self._plan.bins:,} bins and a hot one; warming up")
        for workload in (self.spread, self.hot):
            await self._receive(workload, 0, workload.bins)
        await self._http_round(self._http, warm_up=True)
        await self._copy.ask("copy", self.spread, self._next_salt(), batches=5, batch_rows=_COPY_ROWS)
        await self._procedure.run(self.spread, self._next_salt(), clients=self._plan.clients, seconds=1)
        await self._probe.rest()

    # A round

    async def _round(self, number: int) -> None:
        plan = self._plan
        self._say(f"round {number} of {plan.rounds}: COPY")
        copied = await self._copy.ask(
            "copy", self.spread, self._next_salt(), batches=plan.copies, batch_rows=_COPY_ROWS
        )
        self._samples.add("copy_rows_s", copied["rows_s"])
        self._say(f"round {number} of {plan.rounds}: lanes, spread")
        await self._lanes_round(self.spread, "lanes_spread")
        self._say(f"round {number} of {plan.rounds}: lanes, one hot bin")
        await self._lanes_round(self.hot, "lanes_hot")
        self._say(f"round {number} of {plan.rounds}: stored procedure, spread and hot")
        for workload, name in ((self.spread, "procedure_spread"), (self.hot, "procedure_hot")):
            told = await self._procedure.run(
                workload, self._next_salt(), clients=plan.clients, seconds=ceil(plan.seconds)
            )
            confirm(f"the stored procedure, {workload.name}", await self._procedure.problems(workload))
            self._audits += 1
            self._samples.add(f"{name}_ops_s", told["ops_s"])
            self._samples.add(f"{name}_mean_ms", told["mean_ms"])
        self._say(f"round {number} of {plan.rounds}: HTTP, and an empty route")
        self._note("http", await self._http_round(self._http))
        await self._settle("http", self.spread)
        self._note("empty", await self._http_round(self._empty))
        self._say(f"round {number} of {plan.rounds}: alone, and a bare commit")
        alone = await self._lanes.ask(
            "closed",
            self.spread,
            self._next_salt(),
            in_flight=1,
            warm_s=plan.warm_s / 2,
            seconds=plan.seconds / 2,
        )
        self._count(self.spread, alone)
        self._note("alone", alone)
        await self._settle("alone", self.spread)
        commits = await self._copy.ask("commits", self.spread, self._next_salt(), commits=plan.commits)
        for way in ("copy", "insert"):
            self._samples.add(f"commit_{way}_p50_ms", commits[f"{way}_p50_ms"])
        self._samples.add("commit_p50_ms", min(commits["copy_p50_ms"], commits["insert_p50_ms"]))

    async def _lanes_round(self, workload: Workload, name: str) -> None:
        plan = self._plan
        commits, entries = await self._commits()
        cpu = {**self._product.cpu_s(), "client": self._lanes.cpu_s}
        told = await self._lanes.ask(
            "closed",
            workload,
            self._next_salt(),
            in_flight=plan.in_flight,
            warm_s=plan.warm_s,
            seconds=plan.seconds,
        )
        cpu_after = {**self._product.cpu_s(), "client": self._lanes.cpu_s}
        self._count(workload, told)
        self._note(name, told)
        commits_after, entries_after = await self._commits()
        self._samples.add(
            f"{name}_commit_entries", (entries_after - entries) / max(1, commits_after - commits)
        )
        done = sum(told["acknowledged"].values())
        for role in ("host", "postgres", "nats", "client"):
            used_us = (cpu_after.get(role, 0.0) - cpu.get(role, 0.0)) * 1e6
            self._samples.add(f"{name}_cpu_us_{role}", used_us / max(1, done))
        await self._settle(name, workload)

    async def _http_round(self, load: LoadProcess, *, warm_up: bool = False) -> dict[str, Any]:
        plan = self._plan
        seconds = plan.seconds / 3 if warm_up else plan.seconds
        told = await load.ask(
            "closed",
            self.spread,
            self._next_salt(),
            in_flight=plan.connections,
            warm_s=plan.warm_s,
            seconds=seconds,
        )
        if load is self._http:
            self._count(self.spread, told)
        return told

    async def _settle(self, name: str, workload: Workload) -> None:
        """Let the product come to rest, then audit what it holds."""
        self._samples.add(f"{name}_rest_s", await self._probe.rest())
        await self._audit(workload, list(range(workload.bins)))

    async def _audit(self, workload: Workload, certain: list[int]) -> None:
        """Compare callers, memory and ledger; of resting bins, only those named and a sample are woken."""
        tally = self._tallies[workload.name]
        ledger = await self._probe.in_ledger(workload)
        if workload.bins > self._plan.bins:
            sample = random.Random(self._salt).sample(range(workload.bins), min(_AUDITED_BINS, workload.bins))
            chosen = sorted({*certain, *sample})
            memory = list(ledger)
            for index, units in zip(chosen, await self._probe.in_memory(workload, chosen), strict=True):
                memory[index] = units
        else:
            memory = await self._probe.in_memory(workload, range(workload.bins))
        confirm(f"the engine, {workload.name}", compare(tally, memory, ledger))
        self._audits += 1

    # Bookkeeping

    def _next_salt(self) -> int:
        self._salt += 1
        return self._salt

    async def _commits(self) -> tuple[int, float]:
        """Return how many commits the hosts have made, and how many entries in them."""
        histograms = [host["metrics"]["commit_entries"] for host in await self._probe.hosts()]
        return sum(sum(found["counts"]) for found in histograms), sum(found["sum"] for found in histograms)

    def _count(self, workload: Workload, told: dict[str, Any]) -> None:
        self._tallies[workload.name].add(told["acknowledged"], told["unknown"])
        for name in ("refused", "unavailable"):
            self._known[name] = self._known.get(name, 0) + told[name]

    def _note(self, name: str, told: dict[str, Any]) -> None:
        for measure in ("ops_s", "p50_ms", "p99_ms"):
            self._samples.add(f"{name}_{measure}", told[measure])


def measure(plan: Plan, say: Callable[[str], None]) -> dict[str, Any]:
    """Run a plan. Raises LoadFailed or AuditFailed."""
    return asyncio.run(Run(plan, say).figures())

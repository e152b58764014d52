"""One run of the benchmark: everything is started once, measured in turn, audited, and told as a result."""

import asyncio
import dataclasses
import datetime as dt
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from itertools import chain
from pathlib import Path
from typing import Any

from bench.contenders import Contender
from bench.growth import Growth
from bench.machine import commit
from bench.opponents import measure_actors, start_opponents
from bench.paces import Paces
from bench.plan import Plan
from bench.recovery import recover
from bench.replaying import replay
from bench.result import FORMAT, Result
from bench.ring import Ring
from bench.rounds import Throughput
from bench.samples import Rounds, rounded
from bench.workloads import Workload, flash_sale, orders, retail, spread, warehouse

_COPY_ROWS = 2_000
_ORDER_LINES = 5
_DURABLE_PEERS = frozenset({"procedure", "batched", "redis_256", "redis_pipelined", "tigerbeetle"})
"""Those that get three quarters of our capacity offered in open loop. Services over HTTP are far below it."""
_TAIL_S = 2.0
"""How long the load before a kill goes on, so that there is a tail of the ledger to apply again."""

RATIOS = {
    "lanes_spread_vs_procedure": ("lanes_spread_ops_s", "pgbench_spread_ops_s"),
    "lanes_hot_vs_procedure": ("lanes_flash_sale_ops_s", "pgbench_flash_sale_ops_s"),
    "lanes_vs_redis_32": ("lanes_32_spread_ops_s", "redis_32_spread_ops_s"),
    "lanes_vs_redis_256": ("lanes_spread_ops_s", "redis_256_spread_ops_s"),
    "lanes_vs_copy": ("lanes_spread_ops_s", "copy_rows_s"),
    "lanes_vs_redis_pipelined": ("lanes_spread_ops_s", "redis_pipelined_spread_ops_s"),
    "lanes_vs_batched": ("lanes_spread_ops_s", "batched_spread_ops_s"),
    "http_spread_vs_orm": ("http_spread_ops_s", "orm_spread_ops_s"),
    "http_hot_vs_orm": ("http_flash_sale_ops_s", "orm_flash_sale_ops_s"),
    "http_spread_vs_expert": ("http_spread_ops_s", "expert_spread_ops_s"),
    "http_hot_vs_expert": ("http_flash_sale_ops_s", "expert_flash_sale_ops_s"),
    "orders_vs_expert": ("http_orders_of_5_ops_s", "expert_orders_of_5_ops_s"),
    "http_vs_empty": ("http_spread_ops_s", "empty_ops_s"),
    "hot_vs_spread": ("lanes_flash_sale_ops_s", "lanes_spread_ops_s"),
    "alone_vs_commit": ("alone_spread_p50_ms", "commit_p50_ms"),
}
"""The figures that are ours over theirs, round by round."""
_COMPARED = {*chain(*RATIOS.values()), "alone_spread_ops_s"}
"""What is measured when not everything is."""


class Run:
    """One run. `say` is told what is being done."""

    def __init__(self, plan: Plan, say: Callable[[str], None], sales: Path | None = None) -> None:
        self._plan = plan
        self._sales = sales
        self._say = say
        self.spread = spread(plan.bins, plan.seed)
        self.hot = flash_sale(plan.seed)
        self.retail = retail(plan.retail_bins, plan.seed)
        self.warehouse = warehouse(plan.bins, plan.seed)
        self.orders = orders(plan.bins, plan.seed, lines_min=_ORDER_LINES, lines_max=_ORDER_LINES)
        self._samples = Rounds()
        self._measured: list[Throughput] = []
        self._known: dict[str, Any] = {}
        self._recoveries: list[dict[str, float]] = []
        self._broadcast: dict[str, Any] = {}
        self._ring: Ring
        self._growth: Growth
        self._paces: Paces

    async def result(self) -> Result:
        """Measure everything. Raises LoadFailed or AuditFailed."""
        began_s = time.monotonic()
        began = dt.datetime.now(dt.UTC)
        async with AsyncExitStack() as stack:
            self._ring = ring = await Ring.start(self._plan, self._say, stack)
            self._growth, self._paces = Growth(ring), Paces(ring)
            async with AsyncExitStack() as peers:
                workloads = (self.spread, self.hot, self.retail, self.orders)
                await start_opponents(ring, workloads, peers)
                await self._fill(workloads)
                self._measured = self._entries()
                for number in range(1, self._plan.rounds + 1):
                    await self._round(number)
                await self._open_loop()
            self._known |= await measure_actors(ring)
            if self._plan.is_whole or self._sales:
                self._known |= await replay(ring, self._sales)
                await ring.product_store.rest()
            await self._growth.against_in_flight()
            await self._growth.against_lines()
            await self._growth.against_hosts()
            await self._growth.against_bins()
            await self._recover()
            self._say("stopping")
        return self._told(began, time.monotonic() - began_s)

    # Before the rounds

    async def _fill(self, workloads: Sequence[Workload]) -> None:
        ring, plan = self._ring, self._plan
        self._say("receiving stock, and warming up")
        for workload in (*workloads, self.warehouse):
            await ring.fill(workload)
        for contender in (ring.lanes, ring.http, *ring.peers.values()):
            told = await contender.load.ask(
                "closed",
                self.spread,
                ring.next_salt(),
                in_flight=contender.in_flight,
                warm_s=0.0,
                seconds=plan.seconds / 3,
            )
            contender.store.count(self.spread, told)
            await contender.store.rest()

    def _entries(self) -> list[Throughput]:
        """Return who is measured in each round, with which workload, in this order."""
        ring, plan = self._ring, self._plan
        lanes_32 = dataclasses.replace(ring.lanes, key="lanes_32", in_flight=plan.clients)
        alone = dataclasses.replace(ring.lanes, key="alone", in_flight=1)
        single = (self.spread, self.hot)
        who: list[tuple[Contender, tuple[Workload, ...]]] = [
            (ring.lanes, (*single, self.retail)),
            (ring.warehouse, (self.warehouse,)),
            (lanes_32, (self.spread,)),
            (alone, (self.spread,)),
            (ring.http, (*single, self.orders)),
            (ring.batches, (self.spread,)),
        ]
        more = {
            "procedure": (*single, self.retail),
            "expert": (*single, self.orders),
            "orm": (*single, self.orders),
            f"redis_{plan.clients}": (self.spread,),
            f"redis_{plan.in_flight}": (*single, self.retail),
        }
        who += [(peer, more.get(key, single)) for key, peer in ring.peers.items()]
        return [
            Throughput(contender, workload, contender.in_flight)
            for contender, workloads in who
            for workload in workloads
            if plan.is_whole or f"{contender.key}_{workload.name.replace('-', '_')}_ops_s" in _COMPARED
        ]

    # A round

    async def _round(self, number: int) -> None:
        for entry in self._measured:
            self._say(
                f"round {number} of {self._plan.rounds}: {entry.contender.label}, {entry.workload.name}"
            )
            await entry.measure(self._ring.next_salt(), warm_s=self._plan.warm_s, seconds=self._plan.seconds)
            self._samples.add(f"{entry.key}_ops_s", entry.ops_s[-1])
            self._samples.add(f"{entry.key}_p50_ms", entry.p50_ms[-1])
        self._say(f"round {number} of {self._plan.rounds}: bare limits")
        await self._limits()

    async def _limits(self) -> None:
        ring, plan = self._ring, self._plan
        copied = await ring.copy.ask(
            "copy", self.spread, ring.next_salt(), batches=plan.copies, batch_rows=_COPY_ROWS
        )
        self._samples.add("copy_rows_s", copied["rows_s"])
        commits = await ring.copy.ask("commits", self.spread, ring.next_salt(), commits=plan.commits)
        self._samples.add("commit_p50_ms", min(commits["copy_p50_ms"], commits["insert_p50_ms"]))
        empty = await ring.empty.ask(
            "closed",
            self.spread,
            ring.next_salt(),
            in_flight=plan.connections,
            warm_s=plan.warm_s,
            seconds=plan.seconds,
        )
        self._samples.add("empty_ops_s", empty["ops_s"])

    # After the rounds

    async def _open_loop(self) -> None:
        """Offer shares of the capacity; at three quarters of ours, to the durable peers as well."""
        ring, paces = self._ring, self._paces
        capacity = self._samples.median("lanes_spread_ops_s")
        for load in self._plan.loads:
            await paces.offer(ring.lanes, self.spread, load=load, rate=load * capacity)
        for load in self._plan.loads if self._plan.is_whole else ():
            rate = load * self._samples.median("http_spread_ops_s")
            await paces.offer(ring.http, self.spread, load=load, rate=rate)
        for peer in ring.peers.values():
            if peer.key in _DURABLE_PEERS and any(e.contender is peer for e in self._measured):
                await paces.offer(peer, self.spread, load=0.75, rate=0.75 * capacity)
        self._broadcast = await paces.heard(self.spread, load=0.5, rate=0.5 * capacity)

    async def _recover(self) -> None:
        """Kill the host: with few bins and many, at rest and under load."""
        for load_s in (0.0, _TAIL_S) if self._plan.is_whole else (_TAIL_S,):
            self._say(f"killing the host with {self._growth.largest.bins:,} bins")
            self._recoveries.append(await recover(self._ring, self._growth.largest, load_s=load_s))

    # The result

    def _told(self, began: dt.datetime, seconds: float) -> Result:
        ring, growth = self._ring, self._growth
        at_75 = next(row for row in self._paces.rows if row["load"] == 0.75)
        lanes = next(entry for entry in self._measured if entry.key == "lanes_spread")
        cpu = lanes.cpu_s_per_million()
        figures: dict[str, Any] = {
            **self._samples.ratios(RATIOS),
            **self._samples.medians(),
            "lanes_p99_ms_at_75": at_75["p99_ms"],
            "throughput_1m_vs_1k": rounded(growth.bins[-1]["ops_s"] / growth.bins[0]["ops_s"]),
            "bytes_per_bin_1m": growth.memory[-1]["bytes_per_bin"],
            "broadcast_p99_ms_at_50": self._broadcast["p99_ms"],
            "broadcast_unheard": self._broadcast.pop("unheard"),
            "cpu_s_per_million": rounded(sum(used for role, used in cpu.items() if role != "client")),
            **{f"cpu_s_per_million_{role}": used for role, used in cpu.items()},
            "recovery_largest_s": max(row["seconds"] for row in self._recoveries),
            **self._known,
        }
        return Result.of(
            {
                "format": FORMAT,
                "date": began.isoformat(timespec="seconds").replace("+00:00", "Z"),
                "seconds": rounded(seconds),
                "quick": self._plan.growth_bins[-1] < Plan().growth_bins[-1],
                "seed": self._plan.seed,
                "commit": commit(),
                "plan": {name: str(value) for name, value in dataclasses.asdict(self._plan).items()},
                "machine": ring.machine,
                "figures": figures,
                "rounds": self._samples.values(),
                "ratios": {name: list(pair) for name, pair in RATIOS.items()},
                "throughput": [entry.plain() for entry in self._measured],
                "latency_by_load": self._paces.rows,
                "growth": growth.plain(),
                "memory": growth.memory,
                "recovery": self._recoveries,
                "broadcast": self._broadcast,
                "not_run": ring.not_run,
                "audits": sum(store.audits for store in ring.stores()),
            }
        )


def measure(plan: Plan, say: Callable[[str], None], sales: Path | None = None) -> Result:
    """Run a plan, with a file of sales to replay. Raises LoadFailed or AuditFailed."""
    return asyncio.run(Run(plan, say, sales).result())

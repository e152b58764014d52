"""Overload on purpose: more than the machine carries, by an open loop, and what becomes of it.

Capacity is measured first, in the same run and by the same generator. That has the last core for itself: one
that shares its core with the product would measure itself. Then each load comes in three phases without a
pause: a third of the capacity, the overload, a third again. Afterwards the ledger must hold exactly what
was acknowledged, and nothing that was refused. What the figures must be is in `bench.overload_bounds`.
"""

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import asyncpg

from bench.audit import confirm
from bench.load_process import LoadProcess
from bench.open_load import open_key
from bench.product import Product
from bench.samples import rounded
from bench.usage import Usage, of_product
from bench.workloads import Workload

_IN_FLIGHT = {"lanes": 256, "http": 128}
"""How many requests are under way by each door while its capacity is measured."""
_FILL_IN_FLIGHT = 256
_QUIET_S_MAX = 60.0
_SETTLE_S = 2.0
"""Of an overload, until what it costs is counted."""


@dataclass(frozen=True, slots=True)
class OverloadPlan:
    """How much is tried."""

    doors: tuple[str, ...] = ("lanes", "http")
    factors: tuple[float, ...] = (1.5, 3.0)
    bins: int = 3_000
    warm_s: float = 20.0
    """Until the hosts' window of keys is full: it grows before, and not after."""
    capacity_s: float = 5.0
    offered_s_min: float = 0.0
    """What is offered at least, requests a second, however low the capacity is found to be."""
    before_s: float = 4.0
    overload_s: float = 10.0
    after_s: float = 4.0
    """At least 2 s: by the second one, the overload must be over."""
    calm: float = 0.33
    """What is offered before and after, as a share of the capacity."""


class Overload:
    """One run. `say` is told what is being done."""

    def __init__(self, plan: OverloadPlan, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._say = say
        self._salt = int(time.time())
        self._workload = Workload("overload", plan.bins)
        self._product: Product
        self._loads: dict[str, LoadProcess] = {}

    async def rows(self) -> list[dict[str, Any]]:
        """Return a row for each door and factor. Raises LoadFailed or AuditFailed."""
        async with AsyncExitStack() as stack:
            await self._start(stack)
            return [
                await self._row(door, factor) for door in self._plan.doors for factor in self._plan.factors
            ]

    async def _start(self, stack: AsyncExitStack) -> None:
        self._say("starting Binkeeper on a fresh home")
        cores = sorted(os.sched_getaffinity(0))
        stack.callback(os.sched_setaffinity, 0, cores)
        os.sched_setaffinity(0, cores[:-1] or cores)
        product = self._product = await stack.enter_async_context(Product.started())
        os.sched_setaffinity(0, cores[-1:])  # What is started from here on loads, and shares no core with it.
        connection = await asyncpg.connect(product.postgres_url)
        partitions = await connection.fetchval("SELECT count(*) FROM partition")
        await connection.close()
        host, port, token = product.http
        lanes = {"postgres_url": product.postgres_url, "lane_token": product.lane_token}
        http = {"host": host, "port": port, "token": token}
        self._loads["lanes"] = await LoadProcess.start("open-lanes", **lanes, partitions=partitions)
        self._loads["http"] = await LoadProcess.start("open-http", **http, partitions=partitions)
        for load in self._loads.values():
            stack.push_async_callback(load.stop)
        filling = {"in_flight": _FILL_IN_FLIGHT, "first": 0, "end": self._plan.bins}
        await self._loads["lanes"].ask("fill", self._workload, self._next_salt(), **filling)
        self._say("filling the window of keys")
        warm = {"in_flight": _IN_FLIGHT["lanes"], "seconds": self._plan.warm_s}
        await self._loads["lanes"].ask("capacity", self._workload, self._next_salt(), **warm)

    def _next_salt(self) -> int:
        self._salt += 1
        return self._salt

    async def _row(self, door: str, factor: float) -> dict[str, Any]:
        """Measure the capacity, then overload by a factor, then audit."""
        plan, load = self._plan, self._loads[door]
        await self._quiet()
        usage = Usage(self._product, load)
        used = usage.cpu_s()
        capacity = await load.ask(
            "capacity", self._workload, self._next_salt(), in_flight=_IN_FLIGHT[door], seconds=plan.capacity_s
        )
        rate = capacity["ops_s"]
        capacity_cpu_s = of_product(usage.cpu_s()) - of_product(used)
        await self._quiet()
        calm = rate * plan.calm
        offered_s = max(rate * factor, plan.offered_s_min)
        phases = [(calm, plan.before_s), (offered_s, plan.overload_s), (calm, plan.after_s)]
        self._say(f"{door}: {rate:.0f}/s is the capacity; offering {offered_s:.0f}/s")
        salt = self._next_salt()
        sampling = asyncio.create_task(usage.run())
        told = await load.ask("open", self._workload, salt, phases=phases)
        sampling.cancel()
        await asyncio.gather(sampling, return_exceptions=True)
        await self._audit(salt, told["outcomes"])
        before, over, after = told["phases"]
        first_s, second_s = after["by_second"][:2]
        cores = usage.cores(
            plan.before_s + min(_SETTLE_S, plan.overload_s / 2), plan.before_s + plan.overload_s
        )
        return {
            "door": door,
            "factor": factor,
            "capacity_s": rounded(rate),
            "offered_s": rounded(over["offered"] / plan.overload_s),
            "accepted_s": rounded(over["accepted_s"]),
            "goodput": rounded(over["accepted_s"] / rate),
            "capacity_cpu_ms": rounded(capacity_cpu_s / capacity["accepted"] * 1000),
            "accepted_cpu_ms": rounded(of_product(cores) / over["accepted_s"] * 1000),
            **{
                f"{role}_cores": rounded(cores.get(role, 0.0)) for role in ("api", "host", "postgres", "load")
            },
            "refused": over["refused"],
            "offered": over["offered"],
            "unsent": over["unsent"],
            "unknown": sum(phase["unknown"] for phase in told["phases"]),
            "before_offered": before["offered"],
            "before_missed": _missed(before),
            "before_p99_ms": rounded(before["accepted_p99_ms"]),
            "accepted_p50_ms": rounded(over["accepted_p50_ms"]),
            "accepted_p99_ms": rounded(over["accepted_p99_ms"]),
            "accepted_max_ms": rounded(over["accepted_max_ms"]),
            "refused_p99_ms": rounded(over["refused_p99_ms"]),
            "after_first_s_p99_ms": rounded(first_s["accepted_p99_ms"]),
            "after_first_s_refused": first_s["refused"],
            "after_second_s_p99_ms": rounded(second_s["accepted_p99_ms"]),
            "after_second_s_offered": second_s["offered"],
            "after_second_s_missed": _missed(second_s),
            "after_p99_ms": rounded(after["by_second"][-1]["accepted_p99_ms"]),
            "machine_cores": os.cpu_count() or 1,
            "machine_load": rounded(os.getloadavg()[0]),
            "generator_late_ms": rounded(told["generator_late_ms"]),
            "retry_after_missing": told.get("retry_after_missing", 0),
            "cut": told.get("cut", 0),
            "connections": told.get("connections", 1),
            "p99_by_second_ms": [round(second["accepted_p99_ms"]) for second in over["by_second"]],
            **usage.memory(),
            "audited": True,
        }

    async def _quiet(self) -> None:
        """Wait until the hosts have written and broadcast everything, so that rows do not pay for others."""
        deadline_s = time.monotonic() + _QUIET_S_MAX
        quiet = 0
        used = self._product.cpu_s()
        while quiet < 2 and time.monotonic() < deadline_s:
            await asyncio.sleep(1.0)
            before, used = used, self._product.cpu_s()
            quiet = quiet + 1 if used.get("host", 0.0) - before.get("host", 0.0) < 0.3 else 0

    async def _audit(self, salt: int, outcomes: str) -> None:
        """See that what was acknowledged happened once, and nothing that was refused. Raises AuditFailed."""
        connection = await asyncpg.connect(self._product.postgres_url)
        prefix = open_key(salt, 0)[:-1]
        found = await connection.fetch(
            "SELECT key, kind FROM ledger WHERE key >= $1 AND key < $2", prefix, prefix + "~"
        )
        twice = await connection.fetchval(
            "SELECT count(*) FROM (SELECT FROM ledger WHERE key >= $1 AND key < $2 GROUP BY key"
            " HAVING count(*) > 1) AS again",
            prefix,
            prefix + "~",
        )
        await connection.close()
        there = {row["key"] for row in found}
        problems = [f"{twice} keys happened twice"] if twice else []
        for number, outcome in enumerate(outcomes):
            key = open_key(salt, number)
            if (key in there and outcome in "rn") or (key not in there and outcome == "a"):
                problems.append(f"{key} was told {outcome!r}, but is {'' if key in there else 'not '}there")
        confirm("overload", problems)


def _missed(part: dict[str, Any]) -> int:
    """Return how many requests of a part of a load were not accepted, whatever the reason."""
    return int(part["offered"] - part["accepted"])


def overload(plan: OverloadPlan, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Run it. Raises LoadFailed or AuditFailed."""
    return asyncio.run(Overload(plan, say).rows())

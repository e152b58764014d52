"""How far the figures could go: our own callers, lanes, API and ledger around a host that does nothing.

Each figure of `bench.figures` that is a ratio of rates has a ceiling here: what it would be if the engine,
its keys, its snapshots and its broadcasts cost nothing at all (`bench.peers.bare_host`). A target above its
ceiling is out of reach for whatever is put in the host's place; one close below it nearly so.
"""

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from math import ceil
from typing import Any

import asyncpg

from bench.audit import confirm
from bench.child_process import first_line, running
from bench.load_process import LoadFailed, LoadProcess
from bench.machine import describe
from bench.peers import bare_host, empty_route
from bench.peers.procedure import Procedure
from bench.plan import Plan
from bench.product import Product, free_port
from bench.samples import Rounds, rounded
from bench.workloads import Workload
from persistence.migrate import migrate

_COPY_ROWS = 2_000
_START_S_MAX = 90.0

RATIOS = {
    "bare_lanes_vs_copy": ("bare_spread_ops_s", "copy_rows_s"),
    "bare_http_vs_empty": ("bare_http_ops_s", "empty_ops_s"),
    "bare_lanes_spread_vs_procedure": ("bare_spread_ops_s", "procedure_spread_ops_s"),
    "bare_lanes_hot_vs_procedure": ("bare_hot_ops_s", "procedure_hot_ops_s"),
    "bare_alone_vs_commit": ("bare_alone_p50_ms", "commit_p50_ms"),
}
"""The ceilings: `bare_` and the name of the figure that cannot be better."""


class Limits:
    """One run. `say` is told what is being done."""

    def __init__(self, plan: Plan, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._say = say
        self._salt = plan.seed * 1_000_000
        self._spread = Workload("spread", plan.bins, plan.seed)
        self._hot = Workload("flash-sale", 1, plan.seed)
        self._samples = Rounds()
        self._acknowledged = 0
        self._bare_url = ""
        self._procedure: Procedure
        self._loads: dict[str, LoadProcess] = {}

    async def figures(self) -> dict[str, Any]:
        """Measure everything; return flat figures. Raises LoadFailed or AuditFailed."""
        began_s = time.monotonic()
        async with AsyncExitStack() as stack:
            known = await self._start(stack)
            for number in range(self._plan.rounds + 1):
                self._say(f"round {number} of {self._plan.rounds}" if number else "warming up")
                await self._round()
                if not number:
                    self._samples = Rounds()
            await self._audit()
            self._say("stopping")
        return {
            **self._samples.ratios(RATIOS),
            **self._samples.medians(),
            **known,
            "audited": True,
            "seconds": rounded(time.monotonic() - began_s),
        }

    async def _start(self, stack: AsyncExitStack) -> dict[str, Any]:
        self._say("starting Binkeeper on a fresh home, for its Postgres")
        product = await stack.enter_async_context(Product.started())
        connection = await asyncpg.connect(product.postgres_url)
        partitions = await connection.fetchval("SELECT count(*) FROM partition")
        for name in ("bare_ledger", "bare_host", "procedure"):
            await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()
        self._bare_url, copy_url = product.database_url("bare_host"), product.database_url("bare_ledger")
        for url in (self._bare_url, copy_url):
            migrate(url, partitions)
        self._procedure = Procedure(product.database_url("procedure"), product.folder)
        await self._procedure.create(self._spread, self._hot)
        await stack.enter_async_context(bare_host.started(self._bare_url))
        _, _, token = product.http
        http_port = await stack.enter_async_context(_api(self._bare_url, product, token))
        empty_port = await stack.enter_async_context(empty_route.started())
        lanes = {"lane_token": product.lane_token, "partitions": partitions}
        http = {"host": "127.0.0.1", "token": token, "path": "/v1/reservations"}
        for name, kind, options in (
            ("copy", "copy", {"postgres_url": copy_url, "partitions": partitions}),
            ("lanes", "lanes", {"postgres_url": self._bare_url, **lanes}),
            ("http", "http", {"port": http_port, **http}),
            ("empty", "http", {"port": empty_port, **http}),
        ):
            self._loads[name] = load = await LoadProcess.start(kind, **options)
            stack.push_async_callback(load.stop)
        return await describe(product.postgres_url)

    async def _round(self) -> None:
        plan, add = self._plan, self._samples.add
        copied = await self._loads["copy"].ask(
            "copy", self._spread, self._next_salt(), batches=plan.copies, batch_rows=_COPY_ROWS
        )
        add("copy_rows_s", copied["rows_s"])
        times = {"warm_s": plan.warm_s, "seconds": plan.seconds}
        for workload, name in ((self._spread, "spread"), (self._hot, "hot")):
            told = await self._bare("lanes", workload, in_flight=plan.in_flight, **times)
            add(f"bare_{name}_ops_s", told["ops_s"])
            told = await self._procedure.run(
                workload, self._next_salt(), clients=plan.clients, seconds=ceil(plan.seconds)
            )
            add(f"procedure_{name}_ops_s", told["ops_s"])
        told = await self._bare("http", self._spread, in_flight=plan.connections, **times)
        add("bare_http_ops_s", told["ops_s"])
        told = await self._loads["empty"].ask(
            "closed", self._spread, self._next_salt(), in_flight=plan.connections, **times
        )
        add("empty_ops_s", told["ops_s"])
        told = await self._bare("lanes", self._spread, in_flight=1, **times)
        add("bare_alone_p50_ms", told["p50_ms"])
        commits = await self._loads["copy"].ask(
            "commits", self._spread, self._next_salt(), commits=plan.commits
        )
        add("commit_p50_ms", min(commits["copy_p50_ms"], commits["insert_p50_ms"]))

    async def _bare(self, door: str, workload: Workload, **options: Any) -> dict[str, Any]:  # noqa: ANN401 - plain values
        """Have load made on the bare host, and count what it acknowledged."""
        told = await self._loads[door].ask("closed", workload, self._next_salt(), **options)
        self._acknowledged += sum(told["acknowledged"].values())
        if told["unknown"] or told["refused"] or told["unavailable"]:
            raise LoadFailed(f"the bare host, {door}: not everything was answered")
        return told

    async def _audit(self) -> None:
        """Compare what the bare host acknowledged with its ledger, and the procedure's tables."""
        connection = await asyncpg.connect(self._bare_url)
        rows = await connection.fetchval("SELECT count(*) FROM ledger")
        await connection.close()
        wrong = [] if rows == self._acknowledged else [f"{self._acknowledged} acknowledged, {rows} rows"]
        confirm("the bare host", wrong)
        for workload in (self._spread, self._hot):
            confirm(f"the stored procedure, {workload.name}", await self._procedure.problems(workload))

    def _next_salt(self) -> int:
        self._salt += 1
        return self._salt


@contextlib.asynccontextmanager
async def _api(postgres_url: str, product: Product, token: str) -> AsyncIterator[int]:
    """The product's API by itself, in front of a database's hosts: its port. Raises LoadFailed."""
    port = free_port()
    settings = {
        "HOME": str(product.folder / "bare"),
        "POSTGRES_URL": postgres_url,
        "HTTP_PORT": str(port),
        "LANE_TOKEN": product.lane_token,
        "ADMIN_TOKEN": token,
        "LOG_LEVEL": "error",
    }
    env = {**os.environ, **{f"BINKEEPER_{name}": value for name, value in settings.items()}}
    async with running("-m", "binkeeper.http", env=env) as process:
        line = await first_line(process, _START_S_MAX)
        if not line or json.loads(line).get("event") != "ready":
            raise LoadFailed(f"the API before the bare host does not start: {line[:200]}")
        yield port


def measure(plan: Plan, say: Callable[[str], None]) -> dict[str, Any]:
    """Run a plan. Raises LoadFailed or AuditFailed."""
    return asyncio.run(Limits(plan, say).figures())

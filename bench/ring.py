"""The ring: Binkeeper and all its peers, started once for a run, on the same disk, equally durable."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, Self

import asyncpg

from bench.contenders import Contender, ProductStore, Store
from bench.load_process import LoadProcess
from bench.machine import describe
from bench.peers import empty_route
from bench.plan import Plan
from bench.probe import Probe
from bench.product import Product
from bench.workloads import Workload
from persistence.migrate import migrate

_FILL_IN_FLIGHT = 256
"""Fewer than a host lets wait however slow it is: see `actors.intake`."""
_BATCHES_IN_FLIGHT = 4
_RESERVE = "/v1/reservations"


class Ring:
    """Everything that runs during a measurement. `say` is told what is being done."""

    def __init__(self, plan: Plan, say: Callable[[str], None], product: Product, probe: Probe) -> None:
        self.plan = plan
        self.say = say
        self.product = product
        self.probe = probe
        self.product_store = ProductStore(product, probe)
        self.machine: dict[str, Any] = {}
        self.lanes: Contender
        self.http: Contender
        self.batches: Contender
        self.warehouse: Contender
        """Lanes, for the workload of that name."""
        self.peers: dict[str, Contender] = {}
        """By key."""
        self.not_run: list[dict[str, str]] = []
        self.empty: LoadProcess
        self.copy: LoadProcess
        self.hearing: LoadProcess
        self._salt = plan.seed * 1_000

    @classmethod
    async def start(cls, plan: Plan, say: Callable[[str], None], stack: AsyncExitStack) -> Self:
        """Start everything; `stack` ends it. Raises LoadFailed."""
        say("starting Binkeeper on a fresh home")
        product = await stack.enter_async_context(Product.started())
        probe = await Probe.connect(product)
        stack.push_async_callback(probe.close)
        ring = cls(plan, say, product, probe)
        ring.machine = await describe(product.postgres_url)
        await ring._start_own(stack)
        await ring._start_limits(stack)
        return ring

    async def _start_own(self, stack: AsyncExitStack) -> None:
        product, plan = self.product, self.plan
        host, port, token = product.http
        lanes = {
            "postgres_url": product.postgres_url,
            "lane_token": product.lane_token,
            "partitions": self.probe.gateway.partitions,
        }
        http = {"host": host, "port": port, "token": token}
        self.lanes = self._own(
            "lanes", "Binkeeper, lanes", await self.load(stack, "lanes", **lanes), plan.in_flight
        )
        self.http = self._own(
            "http", "Binkeeper, HTTP", await self.load(stack, "http", **http, path=_RESERVE), plan.connections
        )
        batches = await self.load(stack, "http-batches", **http, operations=plan.batch)
        self.batches = self._own("http_batches", "Binkeeper, HTTP batches", batches, _BATCHES_IN_FLIGHT)
        self.batches.operations = plan.batch
        self.warehouse = self._own(
            "lanes", "Binkeeper, lanes", await self.load(stack, "warehouse", **lanes), plan.in_flight
        )
        self.hearing = await self.load(stack, "broadcast", **lanes)

    def _own(self, key: str, label: str, load: LoadProcess, in_flight: int) -> Contender:
        return Contender(key, label, self.product_store, load, in_flight)

    async def _start_limits(self, stack: AsyncExitStack) -> None:
        _, _, token = self.product.http
        copy_url = await self.database("bare_ledger")
        partitions = self.probe.gateway.partitions
        migrate(copy_url, partitions)
        self.copy = await self.load(stack, "copy", postgres_url=copy_url, partitions=partitions)
        port = await stack.enter_async_context(empty_route.started())
        self.empty = await self.load(stack, "http", host="127.0.0.1", port=port, token=token, path=_RESERVE)

    async def load(self, stack: AsyncExitStack, kind: str, **connection: Any) -> LoadProcess:  # noqa: ANN401 - plain values
        """Start a load generator's process."""
        process = await LoadProcess.start(kind, **connection)
        stack.push_async_callback(process.stop)
        return process

    async def database(self, name: str) -> str:
        """Make a database on the product's server; return its URL."""
        connection = await asyncpg.connect(self.product.postgres_url)
        try:
            await connection.execute(f'CREATE DATABASE "{name}"')
        finally:
            await connection.close()
        return self.product.database_url(name)

    async def fill(self, workload: Workload) -> None:
        """Receive the opening stock of a workload into Binkeeper."""
        await self.lanes.load.ask(
            "fill", workload, self.next_salt(), in_flight=_FILL_IN_FLIGHT, first=0, end=workload.bins
        )

    def stores(self) -> list[Store]:
        """Return everybody's storage."""
        return [self.product_store, *(peer.store for peer in self.peers.values())]

    def next_salt(self) -> int:
        """Return a number that no load of this run has had."""
        self._salt += 1
        return self._salt

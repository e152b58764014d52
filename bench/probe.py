"""Looks at the running engine from outside: what it holds, whether it is at rest, how long it is away."""

import asyncio
import os
import signal
import time
from collections.abc import Iterable
from typing import Any

import asyncpg
import psutil

from actors.gateway import LaneGateway
from actors.outcomes import Answered, Unavailable
from actors.queries import ReadStock
from bench.load_process import LoadFailed
from bench.product import Product
from bench.workloads import Workload, key_from, keys_of
from engine.commands import ReserveLine, ReserveStock
from engine.entries import EFFECTS
from persistence.postgres import PostgresDirectory, Sessions

_REST_S_MAX = 120.0
_POLL_S = 0.05
_READS_AT_ONCE = 2_000
_TIMEOUT_S = 60.0


class Probe:
    """A connection of its own to the hosts and to the product's database."""

    def __init__(self, product: Product, sessions: Sessions, gateway: LaneGateway) -> None:
        self._product = product
        self._sessions = sessions
        self.gateway = gateway

    @classmethod
    async def connect(cls, product: Product) -> "Probe":
        """Return a probe of a running product."""
        sessions = Sessions(product.postgres_url, "bench-probe", size=2)
        directory = PostgresDirectory(sessions)
        partitions = await directory.partitions()
        gateway = LaneGateway(directory, product.lane_token, partitions, timeout_s=_TIMEOUT_S)
        return cls(product, sessions, gateway)

    async def close(self) -> None:
        """Close the connections."""
        await self.gateway.close()
        await self._sessions.close()

    # At rest

    async def rest(self) -> float:
        """Wait until nothing is left to do: snapshots written, all broadcast. Return how long it took."""
        began_s = time.monotonic()
        while True:
            try:
                await self.gateway.flush()
                if all(_is_at_rest(host) for host in await self.hosts()):
                    return time.monotonic() - began_s
            except Unavailable:
                pass  # A flush that takes long, or an owner that is being replaced.
            if time.monotonic() - began_s > _REST_S_MAX:
                raise LoadFailed(f"the hosts did not come to rest within {_REST_S_MAX:g} s")
            await asyncio.sleep(_POLL_S)

    async def hosts(self) -> list[dict[str, Any]]:
        """Return what the owners of all partitions say of themselves. Raises Unavailable if one is silent."""
        found = await self.gateway.hosts()
        if sum(host["partitions"] for host in found) < self.gateway.partitions:
            raise Unavailable("not every partition has an owner that answers")
        return found

    def memory_bytes(self) -> int:
        """Return the memory that the hosts have for themselves (USS): what would be free without them."""
        return sum(psutil.Process(pid).memory_full_info().uss for pid in self._product.host_pids())

    # What is reserved

    async def in_memory(self, workload: Workload, bins: Iterable[int], what: str = "reserved") -> list[int]:
        """Return the units reserved in each bin, or those on hand, as the engine answers."""
        room = asyncio.Semaphore(_READS_AT_ONCE)

        async def read(index: int) -> int:
            async with room:
                partition = workload.partition(index, self.gateway.partitions)
                outcome = await self.gateway.query(partition, ReadStock(workload.name, workload.sku(index)))
            assert isinstance(outcome, Answered), f"{workload.sku(index)} cannot be read: {outcome}"
            return int(outcome.view[what])

        return list(await asyncio.gather(*map(read, bins)))

    async def in_ledger(self, workload: Workload, what: str = "reserved") -> list[int]:
        """Return the units reserved in each bin, or those on hand: what the ledger's entries add up to."""
        place = {"on_hand": 0, "reserved": 1}[what]
        signs = {str(kind): effect[place] for kind, effect in EFFECTS.items()}
        connection = await asyncpg.connect(self._product.postgres_url)
        try:
            rows = await connection.fetch(
                """
                SELECT sku, sum(quantity * sign)::bigint
                FROM ledger JOIN unnest($2::text[], $3::int[]) AS effect (kind, sign) USING (kind)
                WHERE site = $1 AND sign <> 0 AND (reservation IS NOT NULL OR $4 = 'on_hand')
                GROUP BY sku
                """,
                workload.name,
                list(signs),
                list(signs.values()),
                what,
            )
        finally:
            await connection.close()
        sums = dict(map(tuple, rows))
        return [sums.get(workload.sku(index), 0) for index in range(workload.bins)]

    # Away

    async def kill_and_reserve(self, workload: Workload, bins: list[int], salt: int) -> float:
        """Kill the owners; return the seconds until all of the reserves sent right then are answered."""
        owners = [int(host["pid"]) for host in await self.hosts()]
        keys = keys_of(salt)
        for pid in owners:
            os.kill(pid, signal.SIGKILL)
        began_s = time.monotonic()
        sent = [
            self.gateway.submit(
                workload.partition(index, self.gateway.partitions),
                ReserveStock((ReserveLine(workload.name, workload.sku(index), 1),)),
                key_from(keys),
            )
            for index in bins
        ]
        outcomes = await asyncio.gather(*sent)
        took_s = time.monotonic() - began_s
        assert all(isinstance(outcome, Answered) for outcome in outcomes), (
            "a reserve was refused after recovery"
        )
        return took_s

    async def standbys_back(self, hosts: int) -> None:
        """Wait until there are as many host processes as before, so that starting them disturbs no figure."""
        for _ in range(int(_REST_S_MAX / _POLL_S)):
            if len(self._product.host_pids()) >= hosts:
                return
            await asyncio.sleep(_POLL_S)
        raise LoadFailed("a killed host was not replaced")


def _is_at_rest(host: dict[str, Any]) -> bool:
    return bool(host["in_flight"] == 0 and host["courier_lag"] == 0 and host["tail_entries"] == 0)

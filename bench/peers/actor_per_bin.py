"""The literal reading of "a bin is an actor", as a peer: one Ray actor for each bin, plain `.remote()` calls.

As durable as the others: see `bin_actor`. It reserves from one bin at a time: orders are not for it.
"""

from typing import Any

import asyncpg

from bench.audit import AuditFailed
from bench.load_process import LoadProcess
from bench.peers.bin_actor import SCHEMA
from bench.workloads import ON_HAND, Workload


class ActorPerBin:
    """Actors over a database of their own. Their cluster is a part of the load's process: `ray-actors`."""

    def __init__(self, postgres_url: str, load: LoadProcess) -> None:
        self._postgres_url = postgres_url
        self._load = load
        self._pids: dict[str, list[int]] = {}

    async def create(self, *workloads: Workload, on_hand: int = ON_HAND) -> None:
        """Make the tables and the stock of the workloads."""
        connection = await asyncpg.connect(self._postgres_url)
        try:
            await connection.execute(SCHEMA)
            for workload in workloads:
                await connection.execute(
                    "INSERT INTO stock (site, bin, on_hand) SELECT $1, generate_series(0, $2::int - 1), $3",
                    workload.name,
                    workload.bins,
                    on_hand,
                )
        finally:
            await connection.close()

    async def start(self, workload: Workload) -> dict[str, Any]:
        """Start the actors; return `start_s_per_bin` and `bytes_per_bin`. Raises LoadFailed."""
        told = await self._load.ask("start", workload, 0)
        self._pids = told.pop("pids")
        return told

    def pids(self) -> dict[str, list[int]]:
        """Return the cluster's processes by role, as they were when actors were last started."""
        return self._pids

    async def reserved(self, workload: Workload) -> list[int]:
        """Return the units reserved by bin. Raises AuditFailed unless the reservations say the same."""
        connection = await asyncpg.connect(self._postgres_url)
        try:
            rows = await connection.fetch(
                "SELECT bin, sum(quantity)::bigint FROM reservation WHERE site = $1 GROUP BY bin",
                workload.name,
            )
        finally:
            await connection.close()
        booked = dict(rows)
        told = await self._load.ask("reserved", workload, 0)
        held: list[int] = told["units"]
        for index, units in enumerate(held):
            if units != booked.get(index, 0):
                raise AuditFailed(f"actor of bin {index}: {units} reserved, {booked.get(index, 0)} booked")
        return held

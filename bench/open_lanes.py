"""Load through lanes: what any number of API processes could offer to the hosts."""

import asyncio
from collections.abc import Callable
from typing import Any, Self

from actors.gateway import LaneGateway
from actors.outcomes import OutcomeUnknown, Unavailable
from bench.lanes_load import LanesLoad
from bench.open_load import (
    ACCEPTED,
    REFUSED,
    TTL_S,
    UNKNOWN,
    ClosedRun,
    OpenRun,
    Schedule,
    open_key,
    skus_together,
)
from bench.workloads import Workload
from engine.commands import ReserveLine, ReserveStock
from engine.refusals import Refused
from persistence.postgres import PostgresDirectory, Sessions

_TIMEOUT_S = 30.0
_PENDING_MAX = 1_000_000
"""The generator itself refuses nothing."""


class OpenLanes(LanesLoad):
    """Reserves of several lines through lanes, at the times at which they are due."""

    @classmethod
    def connect(cls, postgres_url: str, lane_token: str, partitions: int) -> Self:
        """Return a load on a running product; it connects when it begins."""
        sessions = Sessions(postgres_url, "bench-lanes", size=1)
        directory = PostgresDirectory(sessions)
        gateway = LaneGateway(
            directory, lane_token, partitions, timeout_s=_TIMEOUT_S, pending_max=_PENDING_MAX
        )
        return cls(gateway, sessions)

    async def capacity(
        self, workload: Workload, salt: int, *, in_flight: int, seconds: float
    ) -> dict[str, Any]:
        """Keep so many reserves under way; return their rate."""
        run = ClosedRun()
        return await run.run(self._sender(workload, salt, run), in_flight=in_flight, seconds=seconds)

    async def open(
        self, workload: Workload, salt: int, *, phases: list[tuple[float, float]]
    ) -> dict[str, Any]:
        """Send reserves by the schedule; return what became of them (see `bench.open_load`)."""
        run = OpenRun(Schedule([(rate, seconds) for rate, seconds in phases]))
        await run.run(self._sender(workload, salt, run), drain_s=_TIMEOUT_S * 1.5)
        return run.plain()

    def _sender(self, workload: Workload, salt: int, run: ClosedRun | OpenRun) -> Callable[[int], None]:
        gateway = self.gateway
        together = [
            (number, _reserve(workload.name, skus))
            for number, skus in skus_together(workload, gateway.partitions)
        ]

        def send(number: int) -> None:
            partition, command = together[number % len(together)]
            future = gateway.submit(partition, command, open_key(salt, number))
            future.add_done_callback(lambda done: run.ended(number, _outcome(done)))

        return send


def _reserve(site: str, skus: list[str]) -> ReserveStock:
    lines = tuple(ReserveLine(site, sku, 1, index=index) for index, sku in enumerate(skus))
    return ReserveStock(lines, ttl_s=TTL_S)


def _outcome(done: asyncio.Future[Any]) -> bytes:
    fault = done.exception()
    if fault is None:
        assert type(done.result()) is not Refused, "there is stock for all"
        return ACCEPTED
    if isinstance(fault, OutcomeUnknown):
        return UNKNOWN
    assert isinstance(fault, Unavailable), fault
    return REFUSED

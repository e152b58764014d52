"""Open-loop load through lanes: what any number of API processes could offer to the hosts."""

import asyncio
from typing import Any

from actors.gateway import LaneGateway
from actors.outcomes import OutcomeUnknown, Unavailable
from bench.lanes_load import LanesLoad
from bench.open_load import ACCEPTED, REFUSED, UNKNOWN, OpenRun, Schedule, open_key
from bench.workloads import Workload
from engine.commands import ReserveLine, ReserveStock
from engine.refusals import Refused
from persistence.postgres import PostgresDirectory, Sessions

_TIMEOUT_S = 30.0
_PENDING_MAX = 1_000_000
"""The generator itself refuses nothing."""


class OpenLanes(LanesLoad):
    """Reserves through lanes at the times at which they are due."""

    @classmethod
    def connect(cls, postgres_url: str, lane_token: str, partitions: int) -> "OpenLanes":
        """Return a load on a running product; it connects when it begins."""
        sessions = Sessions(postgres_url, "bench-lanes", size=1)
        gateway = LaneGateway(
            PostgresDirectory(sessions),
            lane_token,
            partitions,
            timeout_s=_TIMEOUT_S,
            pending_max=_PENDING_MAX,
        )
        return cls(gateway, sessions)

    async def open(
        self, workload: Workload, salt: int, *, phases: list[tuple[float, float]]
    ) -> dict[str, Any]:
        """Send reserves by the schedule; return what became of them (see `bench.open_load`)."""
        gateway, sequence, size = self._gateway, workload.sequence(salt), workload.bins
        commands = [ReserveStock((ReserveLine(workload.name, workload.sku(n), 1),)) for n in range(size)]
        partitions = [workload.partition(n, gateway.partitions) for n in range(size)]
        run = OpenRun(Schedule([(rate, seconds) for rate, seconds in phases]))

        def send(number: int) -> None:
            index = sequence[number % len(sequence)]
            future = gateway.submit(partitions[index], commands[index], open_key(salt, number))
            future.add_done_callback(lambda done: run.ended(number, _outcome(done)))

        await run.run(send, drain_s=_TIMEOUT_S * 1.5)
        return run.plain()


def _outcome(done: asyncio.Future[Any]) -> bytes:
    fault = done.exception()
    if fault is None:
        assert type(done.result()) is not Refused, "there is stock for all"
        return ACCEPTED
    if isinstance(fault, OutcomeUnknown):
        return UNKNOWN
    assert isinstance(fault, Unavailable), fault
    return REFUSED

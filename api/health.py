"""Endpoints about the server itself: health, readiness, metrics, status."""

import asyncio
from collections.abc import Sequence
from typing import Any

from actors.outcomes import Unavailable
from actors.ports import Gateway
from api.exchange import Answer, Edge, Endpoint, Exchange
from api.exposition import exposition
from api.problems import Code, Problem, retry_after, stopping
from persistence.ports import Ledger, RowsChanged

READY_TIMEOUT_S = 2.0


class HealthEndpoint(Endpoint):
    """Whether the process runs: always yes, when it answers at all."""

    is_open = True
    checks_accept = False

    async def answer(self, exchange: Exchange) -> Answer:  # noqa: ARG002 - nothing is asked
        """Return that the process runs."""
        return Answer(200, {"status": "ok"})


class ReadyEndpoint(Endpoint):
    """Whether everything needed answers: an owner for every partition, and the database."""

    is_open = True
    checks_accept = False

    def __init__(self, edge: Edge, gateway: Gateway, ledger: Ledger) -> None:
        super().__init__(edge, "readyz")
        self._gateway = gateway
        self._ledger = ledger

    async def answer(self, exchange: Exchange) -> Answer:  # noqa: ARG002 - nothing is asked
        """Return how many hosts own the partitions. Raises Problem (503) that says what is missing."""
        if self.edge.is_stopping:
            raise stopping()
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                await self._ledger.head(0)
        except RowsChanged:
            pass  # It answers; the partition's owner is who refuses it.
        except (Unavailable, TimeoutError):
            raise _not_ready("The database does not answer.") from None
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                hosts = await self._gateway.hosts()
        except (Unavailable, TimeoutError):
            raise _not_ready("The hosts cannot be asked.") from None
        owned = partitions_owned(hosts)
        # One that is refused stays so until a person has mended its ledger, and the others are served.
        refused = len(partitions_refused(hosts))
        if owned + refused < self._gateway.partitions:
            raise _not_ready(f"{owned} of {self._gateway.partitions} partitions have an owner that answers.")
        return Answer(200, {"status": "ready", "hosts": len(hosts), "partitions": owned})


class MetricsEndpoint(Endpoint):
    """Metrics of this process and of the hosts, as Prometheus text."""

    checks_accept = False

    def __init__(self, edge: Edge, gateway: Gateway) -> None:
        super().__init__(edge, "metrics")
        self._gateway = gateway

    async def answer(self, exchange: Exchange) -> Answer:
        """Return the metrics; hosts that do not answer are left out."""
        text, content_type = exposition(
            self.edge.meters,
            await hosts_of(self._gateway),
            exchange.headers.get(b"accept", b"").decode("latin-1"),
        )
        return Answer(200, text, content_type=content_type.encode())


class StatusEndpoint(Endpoint):
    """What the hosts say of themselves."""

    def __init__(self, edge: Edge, gateway: Gateway) -> None:
        super().__init__(edge, "status")
        self._gateway = gateway

    async def answer(self, exchange: Exchange) -> Answer:
        """Return the hosts with lag and drift."""
        exchange.query()
        hosts = await hosts_of(self._gateway)
        view = {
            "hosts": hosts,
            "partitions": self._gateway.partitions,
            "partitions_owned": partitions_owned(hosts),
            "courier_lag": max((int(host.get("courier_lag") or 0) for host in hosts), default=0),
            "drift": sum(int(host.get("drift") or 0) for host in hosts),
            "audit_age_s": _audit_age_s(hosts),
            "rebuilds": sum(int((host.get("metrics") or {}).get("rebuilds") or 0) for host in hosts),
            "partitions_refused": partitions_refused(hosts),
        }
        return Answer(200, view)


async def hosts_of(gateway: Gateway) -> list[dict[str, Any]]:
    """Return what the hosts say of themselves; nothing when nobody can say where they are."""
    try:
        return await gateway.hosts()
    except Unavailable:
        return []


def partitions_owned(hosts: Sequence[dict[str, Any]]) -> int:
    """Return how many partitions have an owner that is ready; hosts name them, or say how many."""
    named: set[int] = set()
    counted = 0
    for host in hosts:
        partitions = host.get("ready", host.get("partitions")) or ()
        if isinstance(partitions, int):
            counted += partitions
        else:
            named.update(partitions)
    return len(named) + counted


def partitions_refused(hosts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the partitions that are not served because their ledger does not hold, and where."""
    return sorted(
        (
            {"partition": partition, "seq": seq, "why": why}
            for host in hosts
            for partition, seq, why in host.get("refused") or ()
        ),
        key=lambda refused: int(refused["partition"]),
    )


def _audit_age_s(hosts: Sequence[dict[str, Any]]) -> float | None:
    """Return how long ago everything was last compared: None while a host has never compared it all."""
    ages = [host.get("audit_age_s") for host in hosts if host.get("partitions")]
    known = [float(age) for age in ages if age is not None]
    return round(max(known), 1) if known and len(known) == len(ages) else None


def _not_ready(detail: str) -> Problem:
    return Problem(Code.NOT_READY, detail, headers=retry_after(1))

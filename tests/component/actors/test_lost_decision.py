"""A snapshot that lost a decision over several partitions does not have its shares given back."""

import contextlib

from actors.reservations import SpanningReservations
from tests.component.actors.harm import replaced
from tests.component.actors.spanning import (
    SKUS,
    KilledError,
    MortalGateway,
    fill,
    lines_of,
    reserved,
    sweep,
)
from tests.component.actors.world import number_of, until, world


async def test_what_was_decided_holds_though_homes_snapshot_lost_it() -> None:
    async with world() as w:
        await fill(w)
        coordinator = SpanningReservations(MortalGateway(w, dies_at=4, sends_it=True), tentative_ttl_s=2.0)
        with contextlib.suppress(KilledError):  # After the decision, before it is confirmed anywhere.
            await coordinator.reserve(lines_of(), ttl_s=None, reference=None, partial=False, key="all")
        home = w.database.partitions[number_of(SKUS[0])]
        await until(lambda: any(entry.kind == "attempt_decided" for entry in home.ledger))
        await w.hosts[0].snapshotter.flush()
        home.reservations.clear()
        home.lines.clear()
        await replaced(w)
        await sweep(w)
        assert await reserved(w) == [1, 1, 1]
        assert w.hosts[0].host.gauges.rebuilds == 1

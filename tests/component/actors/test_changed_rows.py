"""A row of the ledger that was changed where nothing else shows it: whoever reads it stops its partition."""

import asyncio
from typing import Any

import pytest
import structlog

from actors.outcomes import Answered, LedgerRefused
from actors.queries import RecallReservation
from engine.commands import PickStock, ReceiveStock
from engine.partitioning import reservation_address
from tests.component.actors.auditing import auditor_of
from tests.component.actors.harm import edit, fill, replaced, tables_of
from tests.component.actors.world import World, number_of, skus_in, until, view_of, world

CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("stock_received", {"key": "another"}),
    ("stock_received", {"fingerprint": 8}),
    ("stock_received", {"reason": "theft"}),
    ("stock_reserved", {"reference": "till 4"}),
    ("stock_reserved", {"counterpart": "B"}),
]


async def others_go_on(w: World) -> None:
    units = (await w.stock("JAM"))[0]
    await w.receive("JAM", 1)
    assert (await w.stock("JAM"))[0] == units + 1


def refused_at(seq: int) -> Any:
    told = f"Partition {number_of('TEA')} is not served.*at entry {seq}: its row was changed"
    return pytest.raises(LedgerRefused, match=told)


@pytest.mark.parametrize("of_kind, changes", CHANGES)
async def test_the_auditor_tells_it_with_its_place_and_mends_nothing(
    of_kind: str, changes: dict[str, Any]
) -> None:
    async with world() as w:
        await fill(w)
        host = w.hosts[0].host
        await until(lambda: w.hosts[0].courier.lag == 0)  # Else the broadcast would meet it.
        seq = edit(tables_of(w, "TEA"), of_kind, **changes)
        for _ in range(2):
            with structlog.testing.capture_logs() as logs:
                await auditor_of(w, mends=True).round()
            told = [log for log in logs if log["event"] == "drift"]
            assert [(log["of"], log["partition"], log["seq"]) for log in told] == [
                ("entries", number_of("TEA"), seq)
            ]
            assert (host.gauges.drift, host.gauges.rebuilds) == (1, 0)
        assert host.gauges.audit_rounds == 2
        assert (await w.stock("TEA"))[0] == 21  # Memory is right, and goes on.


async def test_the_auditor_tells_the_first_one_and_goes_on_to_compare() -> None:
    async with world() as w:
        await fill(w)
        await until(lambda: w.hosts[0].courier.lag == 0)
        first = edit(tables_of(w, "TEA"), "stock_received", reason="theft")
        edit(tables_of(w, "TEA"), "stock_picked", reason="theft")
        lots = tables_of(w, "RUM").lots["LON", "RUM"]
        lots["A", ""] = lots["A", ""]._replace(on_hand=19)
        with structlog.testing.capture_logs() as logs:
            await auditor_of(w, stretch=1).round()
        told = [(log["of"], log.get("seq")) for log in logs if log["event"] == "drift"]
        assert ("entries", first) in told
        assert ("snapshot", None) in told


@pytest.mark.parametrize("of_kind", ["stock_received", "stock_reserved"])
async def test_who_wakes_a_stock_by_it_stops_its_partition_and_no_other(of_kind: str) -> None:
    """All is written and at rest; the entries by which lots and reservations came are looked up."""
    async with world(recovered_keys=0) as w:
        await fill(w)
        await w.hosts[0].snapshotter.flush()
        seq = edit(tables_of(w, "TEA"), of_kind, reason="theft")
        await replaced(w)
        asked = [w.stock(sku) for sku in ("TEA", "JAM", "RUM")]
        tea, jam, rum = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(tea, LedgerRefused)
        assert f"at entry {seq}: its row was changed" in str(tea)
        assert jam == (24, 2)
        assert rum == (25, 2)
        assert list(w.hosts[-1].host.refused) == [number_of("TEA")]
        await others_go_on(w)


async def test_the_broadcast_stops_at_it() -> None:
    async with world(recovered_keys=0) as w:
        await fill(w)
        await until(lambda: w.hosts[0].courier.lag == 0)
        await w.hosts[0].snapshotter.flush()
        await w.kill(w.hosts[0])
        w.streams.ledger.clear()
        for tables in w.database.partitions:
            tables.cursor = 0
        seq = edit(tables_of(w, "TEA"), "stock_picked", reason="theft")
        second = await w.host("second")
        await until(lambda: number_of("TEA") in second.host.refused)
        with refused_at(seq):
            await w.stock("TEA")
        await others_go_on(w)
        await until(lambda: second.courier.lag == 0)


async def test_the_broadcast_that_looks_back_stops_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.courier._UNSYNCED_MS", 3_600_000)
    async with world() as w:
        await fill(w)
        first = w.hosts[0]
        await until(lambda: first.courier.lag == 0)
        seq = edit(tables_of(w, "TEA"), "stock_picked", reason="theft")
        first.courier._start_over()
        first.courier._wake.set()
        await until(lambda: number_of("TEA") in first.host.refused)
        with refused_at(seq):
            await w.stock("TEA")
        await others_go_on(w)


@pytest.mark.parametrize("is_repeat", [True, False])
async def test_an_answer_that_it_gave_is_not_given_again(is_repeat: bool) -> None:
    async with world(key_window=8) as w:
        await w.receive("TEA", 20)
        made = view_of(await w.reserve("TEA", 3, "held"))
        for _ in range(20):
            await w.receive("JAM", 1)
        await w.hosts[0].snapshotter.flush()
        number, host = number_of("TEA"), w.hosts[0].host
        seq = edit(tables_of(w, "TEA"), "stock_reserved", reference="till 4")
        with refused_at(seq):
            if is_repeat:
                await w.reserve("TEA", 3, "held")
            else:
                _, reservation, opened_at_ms = reservation_address(made["id"]) or (0, 0, 0)
                await w.gateway.query(number, RecallReservation(reservation, opened_at_ms))
        await others_go_on(w)
        await until(lambda: host.in_flight == 0)


@pytest.mark.parametrize("quantity, command", [(3, "decided"), (99, "refused")])
async def test_a_key_that_only_it_knows_is_not_used_again_and_other_keys_are(
    quantity: int, command: str
) -> None:
    """Its entry lies in another partition: one request accepts it and collides, one would be refused."""
    async with world(key_window=8) as w:
        elsewhere = next(sku for sku in skus_in(number_of("RUM")) if number_of(sku) != number_of("TEA"))
        await w.receive("TEA", 20)
        await w.ask(ReceiveStock("LON", elsewhere, "A", 1), "used")
        for _ in range(20):
            await w.receive("JAM", 1)
        host = w.hosts[0].host
        tables = tables_of(w, elsewhere)
        seq = edit(tables, "stock_received", fingerprint=8)
        asked = [
            w.ask(PickStock("LON", "TEA", quantity), "used"),
            w.ask(PickStock("LON", "TEA", 99), "fresh"),
            w.ask(PickStock("LON", "TEA", 1), "another"),
        ]
        told, fresh, another = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(told, LedgerRefused), command
        assert f"Partition {number_of(elsewhere)}" in str(told)
        assert f"at entry {seq}: its row was changed" in str(told)
        assert not isinstance(fresh, (Answered, Exception))
        assert isinstance(another, Answered)
        assert list(host.refused) == [number_of(elsewhere)]
        assert await w.stock("TEA") == (19, 0)
        await until(lambda: host.in_flight == 0)


async def test_the_first_one_is_named_wherever_it_is_met() -> None:
    """A tail with several: the ledger is read from its first entry before its partition is given up."""
    async with world() as w:
        for _ in range(30):
            await w.receive("TEA", 1)
        await w.kill(w.hosts[0])
        tables = tables_of(w, "TEA")
        for index in (7, 20, 25):
            tables.ledger[index] = tables.ledger[index]._replace(reason="theft")
        second = await w.host("second")
        await until(lambda: number_of("TEA") in second.host.refused)
        with refused_at(8):
            await w.stock("TEA")


async def test_what_does_not_follow_before_it_is_named_rather_than_it() -> None:
    async with world() as w:
        for _ in range(30):
            await w.receive("TEA", 1)
        await w.kill(w.hosts[0])
        tables = tables_of(w, "TEA")
        tables.ledger[20] = tables.ledger[20]._replace(reason="theft")
        tables.ledger[5] = tables.ledger[6]
        second = await w.host("second")
        await until(lambda: number_of("TEA") in second.host.refused)
        with pytest.raises(LedgerRefused, match="at entry 6: entry 6 is expected and entry 7 is there"):
            await w.stock("TEA")

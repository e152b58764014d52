"""Dates and deadlines of a snapshot: those that the ledger does not say are not acted on."""

import pytest

from binkeeper.verify.verify import examine
from engine.commands import CountStock, MoveStock, ReserveLine, ReserveTentatively
from engine.partitioning import reservation_address
from persistence.memory import MemorySurvey
from tests.component.actors.harm import changed_lot, changed_reservation, fill, replaced, tables_of
from tests.component.actors.shown import everything
from tests.component.actors.world import number_of, until, view_of, world
from tests.component.verify.test_examination import QUIET

pytestmark = pytest.mark.usefixtures("no_auditor_but_the_tests")


@pytest.mark.parametrize("is_touched", [False, True])
@pytest.mark.parametrize("of_lots", [False, True])
async def test_no_entry_says_that_something_expired_because_a_snapshot_says_so(
    of_lots: bool, is_touched: bool
) -> None:
    async with world() as w:
        await fill(w)
        hard = view_of(await w.reserve("TEA", 1))
        await w.hosts[0].snapshotter.flush()
        if is_touched:
            await w.receive("TEA", 1)
        await w.kill(w.hosts[0])
        tables, past_ms = tables_of(w, "TEA"), w.now_ms - 1
        if of_lots:
            changed_lot(expires_at_ms=past_ms)(tables)
        else:
            number = (reservation_address(hard["id"]) or (0, 0, 0))[1]
            tables.reservations[number] = tables.reservations[number]._replace(expires_at_ms=past_ms)
        written = len(tables.ledger)
        second = await w.host("second")
        second.clockwork.expire_due()
        assert await w.stock("TEA") == (22 if is_touched else 21, 6)
        assert {entry.kind for entry in tables.ledger[written:]} == {"partition_claimed"}
        assert second.host.gauges.rebuilds == 1
        await second.snapshotter.flush()
        report = await examine(MemorySurvey(w.database), None, QUIET)
        assert report.findings.kept == []


async def test_dates_that_were_changed_by_commands_are_believed() -> None:
    """Extended, extended and picked in part, confirmed: the date is not that of the first entry."""
    async with world() as w:
        await fill(w)
        await w.receive("TEA", 3, "C", lot="L2", expires_at_ms=w.now_ms + 10**9)
        await w.ask(MoveStock("LON", "TEA", "C", "D", 2, "L2"))
        await w.receive("TEA", 4, "D", lot="L2")
        await w.ask(CountStock("LON", "TEA", "E", 2, "L2", None))
        ids = []
        for picked in (0, 1):
            made = view_of(await w.reserve("TEA", 3, ttl_s=60))
            await w.reservations.extend(made["id"], ttl_s=600, key=w.key())
            if picked:
                await w.reservations.pick(
                    made["id"], quantity=1, sku=None, location=None, lot=None, short_reason=None, key=w.key()
                )
            ids.append(made["id"])
        before = await everything(w, ids)
        for _ in range(2):
            await replaced(w)
            assert await everything(w, ids) == before
            assert w.hosts[0].host.gauges.rebuilds == 0
        w.now_ms += 599_999
        assert (await w.stock("TEA"))[1] == 5
        w.now_ms += 1
        assert (await w.stock("TEA"))[1] == 0


async def test_a_share_is_not_settled_by_a_deadline_that_the_ledger_does_not_say() -> None:
    """Its row says that it is over; its home would say that it is not decided, and it would be given back."""
    async with world() as w:
        await w.receive("TEA", 5)
        line = (ReserveLine("LON", "TEA", 2),)
        home, number = number_of("JAM"), number_of("TEA")
        share = ReserveTentatively("one", home, 1, line, ttl_ms=60_000)
        view_of(await w.gateway.submit(number, share, "one hold"))
        await w.hosts[0].snapshotter.flush()
        await w.kill(w.hosts[0])
        changed_reservation(of_attempt=True, deadline_ms=w.now_ms - 1)(tables_of(w, "TEA"))
        second = await w.host("second")

        def swept() -> bool:
            second.clockwork.settle_overdue()
            return second.host.gauges.rebuilds == 1

        await until(swept)
        assert await w.stock("TEA") == (5, 2)
        w.now_ms += 60_000
        await until(lambda: tables_of(w, "TEA").ledger[-1].kind == "stock_released")

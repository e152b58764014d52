"""What the auditor finds is rebuilt: of memory and snapshots, not of a ledger, and not all the time."""

import pytest

from tests.component.actors.auditing import auditor_of, lot_of
from tests.component.actors.harm import COLUMNS_OF_ENTRIES, Harm, fill, replaced, rewrite, tables_of
from tests.component.actors.shown import everything, reserved
from tests.component.actors.world import number_of, until, world

pytestmark = pytest.mark.usefixtures("no_auditor_but_the_tests")


async def test_what_activation_does_not_see_the_auditor_has_rebuilt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.loader.DEPTH", 1)
    async with world() as w:
        await fill(w)
        await replaced(w)
        tables_of(w, "TEA").lots["LON", "TEA"].pop(("B", "L1"))
        assert await w.stock("TEA") == (16, 5)
        host = w.hosts[0].host
        await auditor_of(w, mends=True).round()
        assert host.gauges.drift == 5 + 5
        await until(lambda: host.gauges.rebuilds == 1)
        assert await w.stock("TEA") == (21, 5)
        await auditor_of(w, mends=True).round()
        assert (host.gauges.drift, host.gauges.rebuilds) == (0, 1)


@pytest.mark.parametrize("harm", COLUMNS_OF_ENTRIES)
@pytest.mark.parametrize("is_active", [False, True])
async def test_the_auditor_sees_what_no_balance_shows(harm: Harm, is_active: bool) -> None:
    async with world() as w:
        await fill(w)
        ids = await reserved(w)
        before = await everything(w, ids)
        if is_active:
            await w.hosts[0].snapshotter.flush()
        else:
            await replaced(w)
        harm(tables_of(w, "TEA"))
        host = w.hosts[0].host
        await auditor_of(w, mends=True).round()
        assert host.gauges.drift > 0
        await until(lambda: host.gauges.rebuilds == 1)
        assert await everything(w, ids) == before
        await auditor_of(w, mends=True).round()
        assert (host.gauges.drift, host.gauges.rebuilds) == (0, 1)


async def test_the_auditor_sees_a_wrong_date_in_memory() -> None:
    async with world() as w:
        await fill(w)
        host = w.hosts[0].host
        reservations = list(host.owned[number_of("TEA")].state.reservations.values())
        reservations[0].expires_at_ms = w.now_ms + 1
        lot_of(w, "TEA").expires_at_ms = w.now_ms + 1
        await auditor_of(w).round()
        assert host.gauges.drift == 2


async def test_memory_that_drifts_again_is_rebuilt_once_a_minute_at_most() -> None:
    async with world() as w:
        await w.receive("JAM", 7)
        host, auditor = w.hosts[0].host, auditor_of(w, mends=True)
        on_the_watch_s = 0.0
        host.stopwatch = lambda: on_the_watch_s
        for units_after in (7, 8, 9):
            lot_of(w, "JAM").on_hand += 1
            await auditor.round()
            await until(lambda: host.gauges.rebuilds == 1)
            assert (await w.stock("JAM"))[0] == units_after
            w.now_ms += 3_600_000  # Clocks are set; what counts is the time that has passed.
        assert host.gauges.drift == 2
        on_the_watch_s = 60.0
        await auditor.round()
        await until(lambda: host.gauges.rebuilds == 2)
        assert await w.stock("JAM") == (7, 0)


async def test_the_auditor_rebuilds_nothing_from_a_ledger_that_does_not_add_up() -> None:
    async with world() as w:
        await fill(w)
        rewrite(tables_of(w, "JAM"), "stock_held", held=1)
        lot_of(w, "JAM").on_hand += 1
        await auditor_of(w, mends=True).round()
        assert w.hosts[0].host.gauges.drift == 1 + 1
        assert w.hosts[0].host.gauges.rebuilds == 0
        assert number_of("JAM") in w.hosts[0].host.owned


async def test_a_host_tells_how_long_ago_everything_was_compared_and_what_it_rebuilt() -> None:
    async with world() as w:
        await fill(w)
        (described,) = await w.gateway.hosts()
        assert (described["audit_age_s"], described["metrics"]["rebuilds"]) == (None, 0)
        await auditor_of(w).round()
        w.now_ms += 90_000
        (described,) = await w.gateway.hosts()
        assert described["audit_age_s"] == 90.0

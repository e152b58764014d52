"""Memory, the snapshot and the sum of the ledger are the same stock, and a difference is seen."""

import asyncio
from typing import Any

import pytest

from actors.auditor import Auditor
from engine.commands import HoldStock, MoveStock, PickStock
from engine.state import Lot, Stock
from tests.component.actors.world import World, number_of, until, view_of, world


@pytest.fixture(autouse=True)
def _no_auditor_but_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.auditor._ROUND_S", 3600.0)


async def no_rest(_spent_s: float) -> None:
    await asyncio.sleep(0)


def auditor_of(w: World, **options: Any) -> Auditor:
    """Return an auditor that does not rest."""
    return Auditor(w.hosts[0].host, **{"pace": no_rest, **options})


async def audit(w: World, **options: Any) -> tuple[int, int]:
    """Audit everything; return (stocks compared, drift)."""
    gauges = w.hosts[0].host.gauges
    before = gauges.audits
    await auditor_of(w, **options).round()
    return gauges.audits - before, gauges.drift


async def fill(w: World) -> None:
    await w.receive("TEA", 10)
    await w.receive("TEA", 5, "B", lot="L1")
    await w.receive("JAM", 7)
    view_of(await w.reserve("TEA", 12))
    view_of(await w.ask(HoldStock("LON", "JAM", "A", 2, None, "damage")))
    view_of(await w.ask(PickStock("LON", "JAM", 1)))


def stock_of(w: World, sku: str) -> Stock:
    return w.hosts[0].host.owned[number_of(sku)].state.stocks["LON", sku]


def lot_of(w: World, sku: str) -> Lot:
    return stock_of(w, sku).bins["A"].lots[""]


async def rest_all(w: World) -> None:
    """Write snapshots, and have a new owner, who finds every stock at rest."""
    await w.hosts[0].snapshotter.flush()
    await w.kill(w.hosts[0])
    await w.host("second")
    assert not any(owned.state.stocks for owned in w.hosts[0].host.owned.values())


@pytest.mark.parametrize("is_written", [False, True])
async def test_a_sound_host_has_no_drift(is_written: bool) -> None:
    async with world() as w:
        await fill(w)
        if is_written:
            await w.hosts[0].snapshotter.flush()
        assert await audit(w) == (2, 0)
        assert w.hosts[0].host.gauges.audit_rounds == 1


async def test_sound_stocks_at_rest_have_no_drift() -> None:
    async with world() as w:
        await fill(w)
        await rest_all(w)
        assert await audit(w) == (2, 0)


async def test_a_lot_that_differs_from_the_ledger_is_drift_until_it_is_right_again() -> None:
    async with world() as w:
        await fill(w)
        lot = lot_of(w, "JAM")
        lot.on_hand += 3
        lot.held -= 1
        assert await audit(w) == (2, 4)
        lot.on_hand -= 3
        lot.held += 1
        assert await audit(w) == (2, 0)


async def test_units_reserved_without_a_reservation_are_drift() -> None:
    async with world() as w:
        await fill(w)
        reservations = stock_of(w, "TEA").reservations
        assert reservations is not None
        reservations.clear()
        assert await audit(w) == (2, 12)


async def test_a_lot_that_memory_does_not_know_is_drift() -> None:
    async with world() as w:
        await fill(w)
        stock_of(w, "JAM").bins["A"].lots.clear()
        assert await audit(w) == (2, 6 + 2)


async def test_a_lot_that_only_memory_knows_is_drift() -> None:
    async with world() as w:
        await fill(w)
        stock_of(w, "JAM").bins["A"].lots["L9"] = ghost = Lot("L9")
        ghost.on_hand = 4
        assert await audit(w) == (2, 4)


@pytest.mark.parametrize("rests", [False, True])
async def test_a_row_of_the_snapshot_that_differs_is_drift(rests: bool) -> None:
    async with world() as w:
        await fill(w)
        if rests:
            await rest_all(w)
        else:
            await w.hosts[0].snapshotter.flush()
        lots = w.database.partitions[number_of("JAM")].lots["LON", "JAM"]
        lots["A", ""] = lots["A", ""]._replace(on_hand=9)
        assert await audit(w) == (2, 3)


@pytest.mark.parametrize("rests", [False, True])
async def test_a_row_that_the_snapshot_lost_is_drift(rests: bool) -> None:
    async with world() as w:
        await fill(w)
        if rests:
            await rest_all(w)
        else:
            await w.hosts[0].snapshotter.flush()
        del w.database.partitions[number_of("JAM")].lots["LON", "JAM"]
        assert await audit(w) == (2, 6 + 2)


async def test_a_row_behind_the_ledger_is_no_drift_before_the_next_snapshot() -> None:
    async with world() as w:
        await fill(w)
        await w.hosts[0].snapshotter.flush()
        await w.receive("JAM", 5)
        assert await audit(w) == (2, 0)


def rewrite(w: World, sku: str, kind: str, **changes: Any) -> None:
    """Change an entry that is in the ledger."""
    ledger = w.database.partitions[number_of(sku)].ledger
    (index,) = [i for i, entry in enumerate(ledger) if (entry.sku, entry.kind) == (sku, kind)]
    ledger[index] = ledger[index]._replace(**changes)


async def test_balances_in_the_ledger_that_do_not_follow_from_the_sum_are_drift() -> None:
    """The row is neither the last, nor is any quantity changed: sums, last balances and memory agree."""
    async with world() as w:
        await fill(w)
        rewrite(w, "JAM", "stock_held", on_hand=8)
        assert await audit(w) == (2, 1)
        assert await audit(w, stretch=1) == (2, 1)


async def test_a_last_row_whose_balances_do_not_follow_is_drift() -> None:
    async with world() as w:
        await fill(w)
        rewrite(w, "JAM", "stock_picked", held=0)
        assert await audit(w) == (2, 2)


async def test_a_quantity_that_does_not_lead_to_the_balances_is_drift_of_the_rows_and_of_memory() -> None:
    async with world() as w:
        await fill(w)
        rewrite(w, "JAM", "stock_picked", quantity=3)
        assert await audit(w) == (2, 2 + 2)


async def test_a_reservation_in_the_ledger_that_is_not_named_is_drift() -> None:
    async with world() as w:
        await w.receive("TEA", 10)
        view_of(await w.reserve("TEA", 4))
        rewrite(w, "TEA", "stock_reserved", reservation=None)
        assert await audit(w) == (1, 4 + 4)


async def test_a_partition_is_added_up_in_stretches_and_in_shares() -> None:
    async with world() as w:
        for number in range(40):
            sku = f"SKU-{number}"
            await w.receive(sku, 10, f"L{number % 3}")
            view_of(await w.reserve(sku, 2))
        assert await audit(w, stretch=2, lots_max=1) == (40, 0)
        (bin_,) = stock_of(w, "SKU-7").bins.values()
        bin_.lots[""].on_hand += 1
        assert await audit(w, stretch=2, lots_max=1) == (40, 1)


async def test_what_is_found_shows_before_the_round_is_complete() -> None:
    async with world() as w:
        await fill(w)
        lot_of(w, "TEA").on_hand += 1
        lot_of(w, "JAM").on_hand += 1
        told = []

        async def pace(_spent_s: float) -> None:
            told.append(w.hosts[0].host.gauges.drift)

        await audit(w, pace=pace)
        assert {0, 1, 2} == set(told)


async def test_a_round_that_could_not_read_everything_takes_nothing_back() -> None:
    async with world() as w:
        await fill(w)
        lot_of(w, "JAM").on_hand += 1
        assert (await audit(w))[1] == 1
        lot_of(w, "JAM").on_hand -= 1
        w.snapshots[0].failing.add("lots")
        assert (await audit(w))[1] == 1
        assert w.hosts[0].host.gauges.audit_rounds == 1
        w.snapshots[0].failing.clear()
        assert await audit(w) == (2, 0)


async def test_a_partition_that_is_lost_meanwhile_is_nobodys_drift() -> None:
    async with world() as w:
        await fill(w)
        w.snapshots[0].lots_gate.hold()
        auditing = asyncio.ensure_future(audit(w))
        await until(lambda: w.snapshots[0].lots_gate.waiting == 1)
        await w.host("second")
        await w.receive("TEA", 1)
        await w.receive("JAM", 1)
        w.snapshots[0].lots_gate.release()
        await auditing
        assert w.hosts[0].host.gauges.drift == 0


@pytest.mark.parametrize("units", [0, 2])
async def test_a_lot_that_moves_on_meanwhile_is_compared_with_its_last_row(units: int) -> None:
    async with world() as w:
        await w.receive("TEA", 1)
        lot = lot_of(w, "TEA")

        async def move_on(_spent_s: float) -> None:
            if lot.on_hand > len(w.database.partitions[number_of("TEA")].ledger) - 1:
                lot.on_hand -= units
            await w.receive("TEA", 1)
            lot.on_hand += units

        assert await audit(w, pace=move_on) == (1, units)


async def test_under_load_everything_is_compared_and_nothing_differs() -> None:
    async with world() as w:
        over = False

        async def work(sku: str) -> None:
            while not over:
                await w.receive(sku, 5, lot="L1")
                held = view_of(await w.reserve(sku, 3, ttl_s=60))
                await w.reservations.pick(
                    held["id"], quantity=1, sku=None, location=None, lot=None, short_reason=None, key=w.key()
                )
                await w.reservations.release(held["id"], quantity=None, sku=None, key=w.key())
                await w.ask(MoveStock("LON", sku, "A", "B", 1, "L1"))

        for n in range(12):
            await w.receive(f"SKU-{n}", 1)
        working = [asyncio.ensure_future(work(f"SKU-{n % 12}")) for n in range(24)]
        gauges = w.hosts[0].host.gauges
        for _ in range(5):
            await audit(w, stretch=50)
            assert gauges.drift == 0
            await w.hosts[0].snapshotter.flush()
        over = True
        await asyncio.gather(*working)
        assert gauges.audits >= 5 * 12
        assert gauges.audit_rounds == 5
        lot = stock_of(w, "SKU-3").bins["B"].lots["L1"]
        lot.on_hand += 1
        assert (await audit(w))[1] == 1


async def test_a_host_tells_its_drift_and_how_much_it_has_compared() -> None:
    async with world() as w:
        await fill(w)
        lot_of(w, "JAM").on_hand += 1
        audits, drift = await audit(w)
        (described,) = await w.gateway.hosts()
        assert (described["drift"], described["audits"], described["audit_rounds"]) == (drift, audits, 1)
        assert drift == 1


async def test_a_host_audits_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.auditor._ROUND_S", 0.01)
    async with world() as w:
        await fill(w)
        lot_of(w, "JAM").on_hand += 1
        await until(lambda: w.hosts[0].host.gauges.drift == 1)
        lot_of(w, "JAM").on_hand -= 1
        await until(lambda: w.hosts[0].host.gauges.drift == 0)


async def test_it_rests_in_proportion_to_its_work_and_longer_on_a_busy_host() -> None:
    async with world() as w:
        rests: list[float] = []

        async def sleep(seconds: float) -> None:
            rests.append(seconds)

        host = w.hosts[0].host
        auditor = Auditor(host)
        real, host.sleep = host.sleep, sleep
        await auditor._pace(0.015)
        await auditor._pace(0.015)
        host.in_flight += 64
        await auditor._pace(0.02)
        host.in_flight -= 64
        host.sleep = real
        assert rests == [pytest.approx(0.6), pytest.approx(2.0)]

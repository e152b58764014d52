"""How the auditor goes through everything: in steps, with rests, beside what goes on."""

import asyncio

import pytest

from actors.auditor import Auditor
from engine.commands import MoveStock
from tests.component.actors.auditing import audit, fill, lot_of, stock_of
from tests.component.actors.world import number_of, until, view_of, world

pytestmark = pytest.mark.usefixtures("no_auditor_but_the_tests")


async def test_a_partition_is_added_up_in_stretches_and_in_shares() -> None:
    async with world() as w:
        for number in range(40):
            sku = f"SKU-{number}"
            await w.receive(sku, 10, f"L{number % 3}")
            view_of(await w.reserve(sku, 2))
        assert await audit(w, stretch=2, lots_max=1) == (40, 0)
        (bin_,) = stock_of(w, "SKU-7").bins.values()
        (lot,) = bin_.lots
        lot.on_hand += 1
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
        lot = stock_of(w, "SKU-3").bins["B"].lot("L1")
        assert lot is not None
        lot.on_hand += 1
        assert (await audit(w))[1] == 1


async def test_drift_of_a_hot_stock_with_many_reservations_is_seen_under_load_too() -> None:
    async with world() as w:
        await w.receive("TEA", 10_000)
        held: list[object] = []
        while len(held) < 1_200:  # More at once may be refused early.
            held += await asyncio.gather(*(w.reserve("TEA", 1) for _ in range(200)))
        assert view_of(held[7])["state"] == "held"
        reservations = stock_of(w, "TEA").reservations
        assert reservations is not None
        del reservations[next(iter(reservations))]
        over, worked = False, 0

        async def work() -> None:
            nonlocal worked
            while not over:
                mine = view_of(await w.reserve("TEA", 2, ttl_s=60))
                await w.reservations.release(mine["id"], quantity=None, sku=None, key=w.key())
                worked += 1

        assert await audit(w) == (1, 1)
        working = [asyncio.ensure_future(work()) for _ in range(4)]
        audits = [await audit(w) for _ in range(10)]
        over = True
        await asyncio.gather(*working)
        assert worked > 10
        assert audits == [(1, 1)] * 10
        assert w.hosts[0].host.gauges.audit_rounds == 11


async def test_what_could_not_be_compared_is_not_counted_and_its_drift_is_not_taken_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actors.auditor._DURABLE_TRIES", 2)
    async with world() as w:
        await fill(w)
        lot = lot_of(w, "JAM")
        lot.on_hand += 1
        assert await audit(w) == (2, 1)
        with w.ledgers[0].gate.held():
            asked = asyncio.ensure_future(w.receive("JAM", 5))
            await until(lambda: lot.on_hand == 6 + 1 + 5)
            assert await audit(w) == (1, 1)
            assert w.hosts[0].host.gauges.audit_rounds == 1
        await asked


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
        gauges = w.hosts[0].host.gauges
        lot_of(w, "JAM").on_hand += 1
        await until(lambda: gauges.rebuilds == 1)
        await until(lambda: gauges.drift == 0)
        assert (await w.stock("JAM"))[0] == 6


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
        assert rests == [pytest.approx(0.6), pytest.approx(1.0)]

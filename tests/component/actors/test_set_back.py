"""Rows of a snapshot that were set back to what they were once: valid, and of an entry of theirs."""

import json
from copy import deepcopy

import pytest

from actors.auditor import Auditor
from binkeeper.verify.verify import examine
from engine.commands import PickReservation, ReserveLine
from persistence.memory import MemorySurvey
from persistence.memory.database import PartitionTables
from tests.component.actors.harm import fill, replaced, tables_of
from tests.component.actors.shown import address_of, everything, found
from tests.component.actors.world import World, code_of, number_of, until, view_of, world
from tests.component.verify.test_examination import QUIET

pytestmark = pytest.mark.usefixtures("no_auditor_but_the_tests")


async def flushed(w: World, sku: str = "TEA") -> PartitionTables:
    """Have a snapshot written; return a copy of the SKU's partition as it is now."""
    await w.hosts[0].snapshotter.flush()
    return deepcopy(tables_of(w, sku))


async def is_clean(w: World) -> bool:
    """Whether the snapshot is what the ledger says, by a model that shares no code with the engine."""
    await w.hosts[0].snapshotter.flush()
    return (await examine(MemorySurvey(w.database), None, QUIET)).findings.kept == []


def set_reservation_back(w: World, then: PartitionTables, number: int, *, with_lines: bool = False) -> None:
    tables = tables_of(w, "TEA")
    assert tables.reservations[number] != then.reservations[number]
    tables.reservations[number] = then.reservations[number]
    if with_lines:
        tables.lines[number] = then.lines[number]


async def test_units_do_not_expire_by_a_date_that_an_extension_has_replaced() -> None:
    async with world() as w:
        await fill(w)
        made = view_of(await w.reserve("TEA", 1, ttl_s=30))
        then = await flushed(w)
        view_of(await w.reservations.extend(made["id"], ttl_s=600, key=w.key()))
        await flushed(w)
        before = await everything(w, [made["id"]])
        await w.kill(w.hosts[0])
        set_reservation_back(w, then, address_of(made["id"])[1])
        second = await w.host("second")
        assert await everything(w, [made["id"]]) == before
        assert second.host.gauges.rebuilds == 1
        w.now_ms += 599_999
        assert (await found(w, made["id"]))["state"] == "held"
        assert await is_clean(w)


async def test_a_date_of_an_extension_before_the_last_is_noticed_too() -> None:
    """A pick came last: the row's sequence number is right, and its date was right before."""
    async with world() as w:
        await fill(w)
        made = view_of(await w.reserve("TEA", 2, ttl_s=30))
        number = address_of(made["id"])[1]
        view_of(await w.reservations.extend(made["id"], ttl_s=60, key=w.key()))
        then = await flushed(w)
        view_of(await w.reservations.extend(made["id"], ttl_s=600, key=w.key()))
        await w.reservations.pick(
            made["id"], quantity=1, sku=None, location=None, lot=None, short_reason=None, key=w.key()
        )
        await flushed(w)
        before = await everything(w, [made["id"]])
        await w.kill(w.hosts[0])
        rows = tables_of(w, "TEA").reservations
        rows[number] = rows[number]._replace(expires_at_ms=then.reservations[number].expires_at_ms)
        second = await w.host("second")
        assert await everything(w, [made["id"]]) == before
        assert second.host.gauges.rebuilds == 1


@pytest.mark.parametrize("is_of_its_first_entry", [True, False])
async def test_a_confirmed_share_is_not_tentative_again(is_of_its_first_entry: bool) -> None:
    """It would be settled once more; home tells what it decided, and confirms what is confirmed."""
    async with world() as w:
        await fill(w)
        share = "TEA" if number_of("TEA") > number_of("JAM") else "JAM"
        lines = tuple(ReserveLine("LON", sku, 2, index=index) for index, sku in enumerate(("JAM", "TEA")))
        made = view_of(
            await w.reservations.reserve(lines, ttl_s=60, reference=None, partial=False, key=w.key())
        )
        await w.reservations.pick(
            made["id"], quantity=1, sku=share, location=None, lot=None, short_reason=None, key=w.key()
        )
        await flushed(w)
        before = await everything(w, [])
        tables = tables_of(w, share)
        confirmed = next(entry for entry in reversed(tables.ledger) if entry.kind == "reservation_confirmed")
        assert confirmed.reservation is not None
        row, first = tables.reservations[confirmed.reservation], tables.ledger[confirmed.reservation - 1]
        detail = json.loads(first.detail or "")
        await w.kill(w.hosts[0])
        tables.reservations[row.number] = row._replace(
            seq=first.seq if is_of_its_first_entry else row.seq,
            deadline_ms=detail["deadline_ms"], home_number=detail["opened_seq"], expires_at_ms=None,
        )  # fmt: skip
        second = await w.host("second")
        assert await everything(w, []) == before
        assert second.host.gauges.rebuilds == 1
        assert await is_clean(w)


@pytest.mark.parametrize("is_awake", [False, True])
@pytest.mark.parametrize("others", [0, 250])
async def test_a_reservation_that_is_over_is_not_open_again(is_awake: bool, others: int) -> None:
    """Nor are units of other reservations picked by it, when its stock is awake and does not know it."""
    async with world() as w:
        await fill(w)
        made = view_of(await w.reserve("TEA", 2))
        _, number, opened_at_ms = address_of(made["id"])
        then = await flushed(w)
        view_of(await w.reservations.release(made["id"], quantity=None, sku=None, key=w.key()))
        for _ in range(others):
            await w.receive("TEA", 1)
        await flushed(w)
        before = await everything(w, [made["id"]])
        await replaced(w)
        if is_awake:
            await w.stock("TEA")
        set_reservation_back(w, then, number, with_lines=True)
        pick = PickReservation(number, opened_at_ms, 1)
        assert code_of(await w.gateway.submit(number_of("TEA"), pick, w.key())) == "reservation_resolved"
        assert await everything(w, [made["id"]]) == before
        assert w.hosts[0].host.gauges.rebuilds == 1
        assert await is_clean(w)


@pytest.mark.parametrize("others", [0, 250])
async def test_units_that_left_a_lot_are_not_there_again(others: int) -> None:
    """Though more entries of other lots came after it than are looked at where nothing rests long."""
    async with world() as w:
        await fill(w)
        then = await flushed(w)
        lots = tables_of(w, "TEA").lots["LON", "TEA"]
        await w.receive("TEA", 7, "B", lot="L1")
        for _ in range(others):
            await w.receive("TEA", 1)
        await flushed(w)
        before = await everything(w, [])
        await w.kill(w.hosts[0])
        assert lots["B", "L1"].on_hand == then.lots["LON", "TEA"]["B", "L1"].on_hand + 7
        lots["B", "L1"] = then.lots["LON", "TEA"]["B", "L1"]
        second = await w.host("second")
        assert await everything(w, []) == before
        assert second.host.gauges.rebuilds == 1
        assert await is_clean(w)


async def test_the_auditor_finds_a_row_that_was_set_back_while_its_stock_is_awake() -> None:
    async with world() as w:
        await fill(w)
        made = view_of(await w.reserve("TEA", 1, ttl_s=30))
        then = await flushed(w)
        view_of(await w.reservations.extend(made["id"], ttl_s=600, key=w.key()))
        await flushed(w)
        set_reservation_back(w, then, address_of(made["id"])[1])
        host = w.hosts[0].host
        await Auditor(host, mends=True).round()
        assert host.gauges.drift > 0
        await until(lambda: host.gauges.rebuilds == 1)
        await Auditor(host, mends=True).round()
        assert host.gauges.drift == 0
        assert await is_clean(w)

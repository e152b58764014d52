"""A snapshot that lost or changed rows is noticed, and rebuilt from the ledger; service has right numbers."""

import asyncio

import pytest

from actors.queries import ReadStock
from actors.requests import Request, Status
from binkeeper.verify.verify import examine
from engine.commands import MoveStock
from persistence.memory import MemorySurvey
from persistence.memory.database import PartitionTables
from tests.component.actors.caller import Caller
from tests.component.actors.harm import (
    COLUMNS,
    HARM,
    Harm,
    fill,
    ghost_lot,
    replaced,
    tables_of,
    truncated,
    wrong_units,
)
from tests.component.actors.shown import SKUS, address_of, everything, found, reserved
from tests.component.actors.unreadable import UNREADABLE
from tests.component.actors.world import number_of, until, view_of, world
from tests.component.verify.test_examination import QUIET

pytestmark = pytest.mark.usefixtures("no_auditor_but_the_tests")


def unread(tables: PartitionTables) -> None:
    """What a reader of the row would never notice: only the ledger tells."""
    lots = tables.lots["LON", "TEA"]
    lots["B", "L1"] = lots["B", "L1"]._replace(on_hand=4)


def stale(tables: PartitionTables) -> None:
    lots = tables.lots["LON", "TEA"]
    entry = next(entry for entry in tables.ledger if (entry.sku, entry.location) == ("TEA", "A"))
    lots["A", ""] = lots["A", ""]._replace(seq=entry.seq, on_hand=20, reserved=0)


def another_seq(tables: PartitionTables) -> None:
    """Units are right, and a count that names a sequence number would not be."""
    lots = tables.lots["LON", "TEA"]
    lots["A", ""] = lots["A", ""]._replace(seq=lots["A", ""].seq + 1)


def elsewhere(tables: PartitionTables) -> None:
    lots = tables.lots["LON", "TEA"]
    lots["A", ""] = lots["A", ""]._replace(partition=9_999)


def unreadable(tables: PartitionTables) -> None:
    lots = tables.lots["LON", "TEA"]
    lots["A", ""] = lots["A", ""]._replace(holds="{")


NOTICED: list[Harm] = [
    *HARM, *COLUMNS, unread, stale, another_seq, elsewhere, unreadable, *UNREADABLE,
]  # fmt: skip


@pytest.mark.parametrize("harm", NOTICED)
async def test_a_stock_at_rest_is_compared_with_the_ledger_before_it_is_used(harm: Harm) -> None:
    async with world() as w:
        await fill(w)
        ids = await reserved(w)
        before = await everything(w, ids)
        await w.hosts[0].snapshotter.flush()
        await w.kill(w.hosts[0])
        harm(tables_of(w, "TEA"))
        await w.host("second")
        assert await everything(w, ids) == before
        assert w.hosts[0].host.gauges.rebuilds == 1
        await w.receive("TEA", 1)
        await w.hosts[0].snapshotter.flush()
        report = await examine(MemorySurvey(w.database), None, QUIET)
        assert report.findings.kept == []


async def test_a_sound_snapshot_is_never_rebuilt() -> None:
    async with world() as w:
        await fill(w)
        ids = await reserved(w)
        before = await everything(w, ids)
        await replaced(w)
        assert await everything(w, ids) == before
        assert w.hosts[0].host.gauges.rebuilds == 0
        assert not any(owned.unchecked for owned in w.hosts[0].host.owned.values())


async def test_a_reservation_that_the_snapshot_lost_is_found_by_its_number() -> None:
    async with world() as w:
        await fill(w)
        _, over = await reserved(w)
        before = await everything(w, [over])
        await w.hosts[0].snapshotter.flush()
        await w.kill(w.hosts[0])
        del tables_of(w, "TEA").reservations[address_of(over)[1]]
        await w.host("second")
        assert await found(w, over) == before[over]
        assert w.hosts[0].host.gauges.rebuilds == 1


async def test_a_stock_that_the_tail_touches_is_compared_before_its_other_lots_are_used() -> None:
    """The tail alone fits: what is wrong is a lot that it does not touch."""
    async with world() as w:
        await fill(w)
        await w.hosts[0].snapshotter.flush()
        await w.receive("TEA", 1, "A")
        await w.kill(w.hosts[0])
        tables_of(w, "TEA").lots["LON", "TEA"].pop(("B", "L1"))
        await w.host("second")
        assert (await w.receive("TEA", 1, "B", lot="L1"))["on_hand"] == 6
        assert w.hosts[0].host.gauges.rebuilds == 1


async def test_rows_of_a_reservation_that_cannot_be_read_are_made_again() -> None:
    async with world() as w:
        await fill(w)
        _, over = await reserved(w)
        before = await everything(w, [over])
        await w.hosts[0].snapshotter.flush()
        await w.kill(w.hosts[0])
        lines = tables_of(w, "TEA").lines[address_of(over)[1]]
        lines[0] = lines[0]._replace(allocations="[[")
        await w.host("second")
        assert await found(w, over) == before[over]


@pytest.mark.parametrize("harm", [truncated, wrong_units, elsewhere, unreadable, *UNREADABLE])
async def test_a_tail_that_does_not_follow_from_the_snapshot_has_it_rebuilt_at_takeover(harm: Harm) -> None:
    async with world() as w:
        await fill(w)
        await w.hosts[0].snapshotter.flush()
        view_of(await w.reserve("TEA", 1))
        await w.kill(w.hosts[0])
        harm(tables_of(w, "TEA"))
        second = await w.host("second")
        await until(lambda: second.host.gauges.rebuilds == 1)
        assert await w.stock("TEA") == (21, 6)
        assert second.host.refused == {}


async def test_rows_that_should_not_be_are_gone_afterwards() -> None:
    async with world() as w:
        await fill(w)
        await replaced(w)
        ghost_lot(tables_of(w, "TEA"))
        await w.stock("TEA")
        await replaced(w)
        await w.stock("TEA")
        assert set(tables_of(w, "TEA").lots["LON", "TEA"]) == {("A", ""), ("B", "L1")}
        assert w.hosts[0].host.gauges.rebuilds == 0


async def test_callers_of_a_partition_that_is_rebuilt_lose_nothing_and_double_nothing() -> None:
    async with world() as w:
        for sku in SKUS:
            await w.receive(sku, 500)
        await replaced(w)
        for sku in SKUS:
            truncated(tables_of(w, sku))
        asked = [w.reserve(SKUS[n % 3], 1, f"r{n}") for n in range(300)]
        asked += [w.reserve(SKUS[n % 3], 1, f"r{n}") for n in range(300)]
        for outcome in await asyncio.gather(*asked):
            view_of(outcome)
        assert [await w.stock(sku) for sku in SKUS] == [(500, 100)] * 3
        assert w.hosts[0].host.gauges.rebuilds == 3
        report = await examine(MemorySurvey(w.database), None, QUIET)
        assert report.findings.of_ledger == 0


async def test_it_waits_for_storage() -> None:
    async with world() as w:
        await fill(w)
        await replaced(w)
        truncated(tables_of(w, "TEA"))
        w.snapshots[-1].failing.add("replace")
        asked = asyncio.ensure_future(w.stock("TEA"))
        await until(lambda: w.snapshots[-1].failed > 1)
        assert not asked.done()
        w.snapshots[-1].failing.clear()
        assert await asked == (21, 5)


async def test_a_partition_that_another_host_takes_meanwhile_is_not_taken_back() -> None:
    async with world() as w:
        await fill(w)
        await replaced(w)
        truncated(tables_of(w, "TEA"))
        w.snapshots[-1].failing.add("replace")
        asked = asyncio.ensure_future(w.stock("TEA"))
        await until(lambda: w.snapshots[-1].failed > 1)
        await w.host("third")
        w.snapshots[-2].failing.clear()
        assert await asked == (21, 5)
        number = number_of("TEA")
        assert number in w.hosts[1].host.owned
        await until(lambda: number not in w.hosts[0].host.owned)


async def test_a_deposed_owner_that_sees_newer_rows_gives_up_and_rebuilds_nothing() -> None:
    async with world() as w:
        await fill(w)
        await replaced(w)
        third = await w.host("third")
        await w.receive("TEA", 5)
        await third.snapshotter.flush()
        number, caller = number_of("TEA"), Caller()
        epoch = tables_of(w, "TEA").epoch
        first = w.hosts[0].host
        assert number in first.owned
        first.receive([Request(caller, 1, number, "read_stock", ReadStock("LON", "TEA"))])
        await until(lambda: caller.statuses() == [Status.MOVED])
        assert first.gauges.rebuilds == 0
        assert tables_of(w, "TEA").epoch == epoch


async def test_moves_between_bins_keep_their_age_in_a_rebuilt_partition() -> None:
    async with world() as w:
        await fill(w)
        await w.ask(MoveStock("LON", "TEA", "B", "C", 2, "L1"))
        before = await everything(w, [])
        await replaced(w)
        tables_of(w, "TEA").lots["LON", "TEA"].pop(("C", "L1"))
        assert await everything(w, []) == before

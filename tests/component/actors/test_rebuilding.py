"""A snapshot that lost or changed rows is noticed, and rebuilt from the ledger; service has right numbers."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from actors.outcomes import Unavailable
from actors.queries import ReadReservation, ReadStock
from actors.requests import Request, Status
from binkeeper.verify.verify import examine
from engine.commands import CountStock, MoveStock, PickStock, ReceiveStock, ReserveLine, ReserveTentatively
from engine.entries import Entry
from engine.partitioning import reservation_address
from persistence.memory import MemorySurvey
from persistence.memory.database import PartitionTables
from tests.component.actors.auditing import auditor_of, lot_of
from tests.component.actors.harm import (
    COLUMNS,
    COLUMNS_OF_ENTRIES,
    HARM,
    Harm,
    changed_lot,
    changed_reservation,
    fill,
    ghost_lot,
    parked,
    rewrite,
    tables_of,
    truncated,
    wrong_units,
)
from tests.component.actors.steered import Gate
from tests.component.actors.test_takeover import Caller
from tests.component.actors.world import World, number_of, until, view_of, world
from tests.component.verify.test_examination import QUIET

SKUS = ("TEA", "JAM", "RUM")


@pytest.fixture(autouse=True)
def _no_auditor_but_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.auditor._ROUND_S", 3600.0)


async def replaced(w: World) -> None:
    """Have everything written and broadcast, and a new owner that finds it at rest."""
    await w.hosts[0].snapshotter.flush()
    await until(lambda: w.hosts[0].courier.lag == 0)
    await w.hosts[0].courier._save_cursors()
    await w.kill(w.hosts[0])
    await w.host("second")


async def everything(w: World, reservations: list[str]) -> dict[str, Any]:
    """Return what callers are shown, but for sequence numbers, which claims move."""
    shown: dict[str, Any] = {}
    for sku in SKUS:
        view = view_of(await w.gateway.query(number_of(sku), ReadStock("LON", sku)))
        shown[sku] = {**view, "seq": 0}
    for id_ in reservations:
        partition, number, opened_at_ms = reservation_address(id_) or (0, 0, 0)
        shown[id_] = view_of(await w.gateway.query(partition, ReadReservation(number, opened_at_ms)))
    return shown


async def reserved(w: World) -> list[str]:
    """Reserve at the SKU that is harmed: one reservation stays open, one is over."""
    kept = view_of(await w.reserve("TEA", 1))
    over = view_of(await w.reserve("TEA", 2))
    await w.reservations.release(over["id"], quantity=None, sku=None, key=w.key())
    return [kept["id"], over["id"]]


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


DEEP = "[" * 5_000 + "]" * 5_000
"""Beyond what Python's own parser follows."""


def held_as(holds: str) -> Harm:
    """Text that the column takes, and that is no units by reason."""

    def harm(tables: PartitionTables) -> None:
        lots = tables.lots["LON", "TEA"]
        lots["A", ""] = lots["A", ""]._replace(holds=holds)

    return harm


def allocated_as(allocations: str) -> Harm:
    def harm(tables: PartitionTables) -> None:
        for lines in tables.lines.values():
            for index, line in lines.items():
                if line.open and line.sku == "TEA":
                    lines[index] = line._replace(allocations=allocations)

    return harm


def with_parts(parts: str) -> Harm:
    def harm(tables: PartitionTables) -> None:
        for number, row in tables.reservations.items():
            if row.open:
                tables.reservations[number] = row._replace(parts=parts)

    return harm


UNREADABLE: list[Harm] = [
    *map(held_as, ("{", "[1]", "5", "null", '"x"', '{"x": "a"}', '{"x": 1.5}', '{"x": true}', '{"x": null}')),
    *map(allocated_as, ("[[", "null", "{}", "5", "[5]", '[["A", "", 3]]', '[["A", "", 3, "3"]]')),
    *map(allocated_as, ('[["A", "", 3, 2.5]]', '[[["A"], "", 3, 3]]', '[["A", {}, 3, 3]]')),
    allocated_as('[["A", "", 2, 3]]'),
    *map(with_parts, ("5", "[1]", "[[1, 2]]", '[["1", 2, 3]]', "[[1, 2, [3]]]")),
    held_as(DEEP), allocated_as(DEEP), with_parts(DEEP),
]  # fmt: skip


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
        partition, number, opened_at_ms = reservation_address(over) or (0, 0, 0)
        del tables_of(w, "TEA").reservations[number]
        await w.host("second")
        view = view_of(await w.gateway.query(partition, ReadReservation(number, opened_at_ms)))
        assert view == before[over]
        assert w.hosts[0].host.gauges.rebuilds == 1


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
        share = ReserveTentatively("one", home, w.now_ms + 60_000, line)
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
        partition, number, opened_at_ms = reservation_address(over) or (0, 0, 0)
        lines = tables_of(w, "TEA").lines[number]
        lines[0] = lines[0]._replace(allocations="[[")
        await w.host("second")
        view = view_of(await w.gateway.query(partition, ReadReservation(number, opened_at_ms)))
        assert view == before[over]


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


async def test_nothing_is_decided_from_the_moment_on_from_which_a_partition_is_distrusted() -> None:
    async with world() as w:
        await fill(w)
        host, number = w.hosts[0].host, number_of("JAM")
        owned, caller = host.owned[number], Caller()
        lot_of(w, "JAM").on_hand += 7
        before = list(tables_of(w, "JAM").ledger)
        with w.snapshots[0].check_gate.held():
            host.ownership.distrust(number, "a test says so")
            receive = ReceiveStock("LON", "JAM", "A", 1)
            host.receive([Request(caller, 1, number, "receive", receive, "k1", 1)])
            asked = asyncio.ensure_future(w.receive("JAM", 1))
            await until(lambda: parked(owned, ReceiveStock) == 2)
            host.activator.wake(owned)
            await until(lambda: w.snapshots[0].check_gate.waiting > 0)
            await until(lambda: not owned.is_activating)
            assert not owned.is_ready
            assert (owned.state.seq, tables_of(w, "JAM").ledger) == (len(before), before)
            assert not caller.ended
        assert (await asked)["on_hand"] == 20
        assert caller.statuses() == [Status.MOVED]
        assert await w.stock("JAM") == (25, 2)
        assert host.gauges.rebuilds == 1
        await until(lambda: host.in_flight == 0)


async def test_a_refusal_that_was_in_doubt_when_its_partition_was_distrusted_is_decided_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world() as w:
        await w.receive("JAM", 7)
        host, gate, with_keys = w.hosts[0].host, Gate(), w.ledgers[0].with_keys

        async def waiting(keys: Sequence[str]) -> list[Entry]:
            await gate.passed()
            return await with_keys(keys)

        monkeypatch.setattr(w.ledgers[0], "with_keys", waiting)
        host.keys.is_whole = False
        lot_of(w, "JAM").on_hand -= 7
        with w.snapshots[0].check_gate.held():
            with gate.held():
                asked = asyncio.ensure_future(w.ask(PickStock("LON", "JAM", 1)))
                await until(lambda: gate.waiting == 1)
                host.ownership.distrust(number_of("JAM"), "a test says so")
            await until(lambda: parked(host.owned[number_of("JAM")], PickStock) == 1)
        view_of(await asked)
        assert await w.stock("JAM") == (6, 0)


async def distrusted(w: World, sku: str) -> None:
    """Have the first host distrust a partition, and keep it waiting before it claims it."""
    w.snapshots[0].check_gate.hold()
    w.hosts[0].host.ownership.distrust(number_of(sku), "a test says so")
    await until(lambda: w.snapshots[0].check_gate.waiting > 0)


async def test_a_partition_that_was_lost_while_distrusted_is_not_rebuilt_when_it_comes_back() -> None:
    async with world() as w:
        await fill(w)
        number, host = number_of("TEA"), w.hosts[0].host
        await distrusted(w, "TEA")
        host.ownership.lose(frozenset({number}), [host.committer.open])
        await w.hosts[0].take([number])
        await until(lambda: host.owned[number].is_ready)
        w.snapshots[0].check_gate.release()
        assert await w.stock("TEA") == (21, 5)
        assert host.gauges.rebuilds == 0


@pytest.mark.parametrize("step", ["claim", "recover", "replace"])
async def test_nor_when_the_take_or_the_rebuild_came_to_nothing(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world() as w:
        await fill(w)
        number, host = number_of("TEA"), w.hosts[0].host

        async def fails(*_: object) -> bool:
            monkeypatch.undo()
            if step != "replace":
                raise Unavailable(step)
            await w.host("second", [number])
            return False

        monkeypatch.setattr(w.snapshots[0], step, fails)
        host.ownership.distrust(number, "a test says so")
        await until(lambda: number not in host.owned and not host.ownership.is_distrusted(number))
        await w.hosts[0].take([number])
        assert await w.stock("TEA") == (21, 5)
        assert host.gauges.rebuilds == 0


async def test_nor_when_its_ledger_was_refused_and_is_whole_again() -> None:
    async with world() as w:
        await fill(w)
        await w.hosts[0].snapshotter.flush()
        number, host, ledger = number_of("TEA"), w.hosts[0].host, tables_of(w, "TEA").ledger
        gone = ledger.pop()
        host.ownership.distrust(number, "a test says so")
        await until(lambda: number in host.refused)
        ledger.append(gone)
        await w.hosts[0].take([number])
        assert await w.stock("TEA") == (21, 5)
        assert host.gauges.rebuilds == 0


async def test_a_partition_that_is_taken_again_while_distrusted_is_rebuilt() -> None:
    async with world() as w:
        await fill(w)
        tables_of(w, "TEA").lots["LON", "TEA"].pop(("B", "L1"))
        await distrusted(w, "TEA")
        await w.hosts[0].take([number_of("TEA")])
        w.snapshots[0].check_gate.release()
        assert await w.stock("TEA") == (21, 5)
        assert w.hosts[0].host.gauges.rebuilds == 1


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


async def test_moves_between_bins_keep_their_age_in_a_rebuilt_partition() -> None:
    async with world() as w:
        await fill(w)
        await w.ask(MoveStock("LON", "TEA", "B", "C", 2, "L1"))
        before = await everything(w, [])
        await replaced(w)
        tables_of(w, "TEA").lots["LON", "TEA"].pop(("C", "L1"))
        assert await everything(w, []) == before

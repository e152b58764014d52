"""What every survey keeps to: all that is stored, as of one instant; and what replacing a snapshot does."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from engine.commands import PickReservation
from engine.entries import Entry
from engine.images import LotRow, Rows, capture, digest
from persistence.ports import Head, Recovery
from persistence.survey import STRETCH, Record, View
from tests.conftest import PARTITIONS
from tests.contract.conftest import Storage
from tests.contract.keeper import NOON_MS, Keeper, Make, received


async def all_of(stretches: AsyncIterator[list[Any]]) -> list[Any]:
    return [row async for stretch in stretches for row in stretch]


async def entries_of(view: View, partition: int) -> list[Entry]:
    return [entry async for stretch in view.entries(partition) for entry in stretch.entries]


async def rows_of(view: View, partition: int) -> Rows:
    return Rows(
        sorted(await all_of(view.lots(partition))),
        sorted(await all_of(view.reservations(partition))),
        sorted(await all_of(view.lines(partition))),
    )


async def busy(keeper: Keeper) -> None:
    await keeper.take_over()
    await keeper.receive(9, key="first")
    await keeper.receive(4, "coffee", "B-2", lot="L1")
    one = await keeper.reserve(("tea", 3), ("coffee", 2))
    await keeper.do(PickReservation(one.number, one.opened_at_ms, 1, "tea"))
    await keeper.reserve(("tea", 1))


async def test_a_view_shows_every_partition_with_its_entries_and_rows(storage: Storage, keeper: Make) -> None:
    one = keeper(1)
    await busy(one)
    assert await one.save() == frozenset()
    await storage.cursors.move_cursors({1: 4})
    await one.receive(1)
    async with storage.survey.view() as view:
        records = await view.records()
        assert records[0] == Record(0, 0, 0, 0)
        assert records[1] == Record(1, 1, one.state.seq - 1, 4)
        assert [record.partition for record in records] == list(range(PARTITIONS))
        assert await view.entries_about() == one.state.seq
        assert await entries_of(view, 1) == await storage.ledger.read(1, 0, 1000)
        assert await entries_of(view, 2) == []
        rows = await rows_of(view, 1)
        assert len(rows.lots) == 2
        assert (len(rows.reservations), len(rows.lines)) == (2, 3)
        assert await rows_of(view, 2) == Rows([], [], [])


async def test_a_view_is_of_one_instant(storage: Storage, keeper: Make) -> None:
    one = keeper(1)
    await busy(one)
    async with storage.survey.view() as view:
        before = await view.records()
        await one.receive(50)
        await one.save()
        assert await view.records() == before
        assert len(await entries_of(view, 1)) == one.state.seq - 1
        assert await all_of(view.lots(1)) == []


async def test_entries_come_in_order_and_in_stretches(storage: Storage) -> None:
    count = STRETCH + 3
    await storage.ledger.append([received(1, seq) for seq in range(1, count + 1)])
    async with storage.survey.view() as view:
        sizes, seqs = [], []
        async for stretch in view.entries(1):
            sizes.append(len(stretch.entries))
            seqs += [entry.seq for entry in stretch.entries]
            assert stretch.changed == []
    assert sizes == [STRETCH, 3]
    assert seqs == list(range(1, count + 1))


async def test_keys_that_are_used_once_are_not_repeated(storage: Storage) -> None:
    await storage.ledger.append([received(1, 1, "a"), received(1, 2, "b"), received(2, 1)])
    async with storage.survey.view() as view:
        assert await view.repeated_keys(10) == []


async def test_a_snapshot_is_replaced_as_a_whole(storage: Storage, keeper: Make) -> None:
    one = keeper(1)
    await busy(one)
    await one.save()
    wrong = LotRow(1, "LDN", "ghost", "Z", "", 1, 5, 0, 0, None, None, 1)
    stray = Rows([wrong], [], [])
    await storage.snapshots.save({1: (1, one.state.seq, NOON_MS)}, stray)
    state = one.state
    rows = capture(state, state.stocks, state.reservations)
    assert await storage.snapshots.replace(Head(1, 1, 0, state.seq, state.at_ms), rows)
    async with storage.survey.view() as view:
        found = await rows_of(view, 1)
    assert found == Rows(sorted(rows.lots), sorted(rows.reservations), sorted(rows.lines))
    again = keeper(1, "h2")
    recovery: Recovery = await again.take_over()
    assert recovery.heads[0].snapshot_seq == state.seq
    await again.receive(1)
    await again.receive(1, "coffee", "B-2", lot="L1")
    assert {lot[1:5] for lot in digest(again.state)["lots"]} == {row[1:5] for row in rows.lots}  # type: ignore[attr-defined]


async def test_a_deposed_owner_replaces_nothing(storage: Storage, keeper: Make) -> None:
    one = keeper(1)
    await busy(one)
    await one.save()
    await keeper(1, "h2").take_over()
    assert not await storage.snapshots.replace(Head(1, 1, 0, one.state.seq, NOON_MS), Rows([], [], []))
    async with storage.survey.view() as view:
        assert len(await all_of(view.lots(1))) == 2


@pytest.mark.parametrize("units", [1, 3])
async def test_replacing_a_snapshot_may_set_it_back(storage: Storage, keeper: Make, units: int) -> None:
    one = keeper(1)
    await one.take_over()
    entries = await one.receive(units)
    state = one.state
    rows = capture(state, state.stocks, ())
    assert await storage.snapshots.replace(Head(1, 1, 0, 99, NOON_MS), Rows([], [], []))
    assert await storage.snapshots.replace(Head(1, 1, 0, entries[-1].seq, NOON_MS), rows)
    async with storage.survey.view() as view:
        assert (await view.records())[1].snapshot_seq == entries[-1].seq

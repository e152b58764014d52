"""A row that was changed behind the product's back is not believed by whoever reads it, in every store."""

from collections.abc import Awaitable, Callable

import pytest

from engine.commands import ConfirmReservation, ReserveLine, ReserveTentatively
from persistence.checksums import checksum
from persistence.ports import Ledger, RowsChanged
from persistence.traced import Traced
from tests.contract.conftest import Storage
from tests.contract.keeper import NOON_MS, Keeper, Make, received

TEA = ("LDN", "tea")

READERS: dict[str, Callable[[Ledger], Awaitable[object]]] = {
    "read": lambda ledger: ledger.read(1, 0, 100),
    "read, from it on": lambda ledger: ledger.read(1, 2, 1),
    "history": lambda ledger: ledger.history(1, TEA, 0, 100),
    "of_reservation": lambda ledger: ledger.of_reservation(1, 3, 4),
    "last_of": lambda ledger: ledger.last_of([Traced(1, 3, (TEA,), 2, 4)], 100),
    "at": lambda ledger: ledger.at([(2, 1), (1, 3)]),
    "with_keys": lambda ledger: ledger.with_keys(["other", "three"]),
    "seq_at": lambda ledger: ledger.seq_at(1, NOON_MS + 3),
    "balances": lambda ledger: ledger.balances(1, TEA, 3),
    "head": lambda ledger: ledger.head(3),
}
ELSEWHERE: list[Callable[[Ledger], Awaitable[object]]] = [
    lambda ledger: ledger.read(1, 0, 2),
    lambda ledger: ledger.read(1, 3, 100),
    lambda ledger: ledger.at([(1, 2), (2, 1), (1, 4)]),
    lambda ledger: ledger.with_keys(["other"]),
    lambda ledger: ledger.balances(1, TEA, 2),
    lambda ledger: ledger.head(1),
    lambda ledger: ledger.last_of([Traced(1, 3, (TEA,), 3, 4)], 100),
    lambda ledger: ledger.last([(1, TEA, 4)], 100),
    lambda ledger: ledger.sums(1, 0, 4),
    lambda ledger: ledger.missing(1, 0, 4),
]


@pytest.fixture
async def changed(storage: Storage) -> Ledger:
    """A ledger whose entry 3 of partition 1, and the one of partition 3, were changed: it shows nowhere."""
    entries = [received(1, seq, "three" if seq == 3 else None) for seq in range(1, 5)]
    entries[2] = entries[2]._replace(reservation=3)
    await storage.ledger.append(entries)
    await storage.ledger.append([received(2, 1, "other"), received(3, 1)])
    await storage.edit(1, 3, reason="theft")
    await storage.edit(3, 1, reference="till 4")
    return storage.ledger


@pytest.mark.parametrize("reader", READERS)
async def test_whoever_reads_a_changed_row_is_told_where_it_is(changed: Ledger, reader: str) -> None:
    with pytest.raises(RowsChanged, match="not as they were written: partition") as fault:
        await READERS[reader](changed)
    assert fault.value.places == ({3: 1} if reader == "head" else {1: 3})


async def test_whoever_reads_others_reads_on(changed: Ledger) -> None:
    for read in ELSEWHERE:
        assert await read(changed) is not NotImplemented


async def test_of_several_the_first_of_each_partition_is_named(storage: Storage, changed: Ledger) -> None:
    await storage.edit(1, 2, quantity=2)
    with pytest.raises(RowsChanged) as fault:
        await changed.at([(3, 1), (1, 3), (1, 2), (2, 1)])
    assert fault.value.places == {1: 2, 3: 1}


async def test_a_stretch_is_looked_through_for_its_first_changed_row(changed: Ledger) -> None:
    assert await changed.changed(1, 0, 4) == 3
    assert await changed.changed(1, 2, 3) == 3
    assert await changed.changed(1, 0, 2) is None
    assert await changed.changed(1, 3, 4) is None
    assert await changed.changed(1, 9, 99) is None


async def test_an_entry_that_is_put_in_another_place_is_a_changed_row(storage: Storage) -> None:
    await storage.ledger.append([received(1, 1), received(1, 2)])
    await storage.edit(1, 2, at_ms=NOON_MS + 1, on_hand=1)  # A copy of the entry before.
    assert await storage.ledger.changed(1, 0, 2) == 2


async def test_an_append_of_one_and_of_many_is_written_with_checksums(storage: Storage) -> None:
    await storage.ledger.append([received(1, 1)])
    await storage.ledger.append([received(1, 2), received(1, 3, "k")])
    assert await storage.ledger.changed(1, 0, 3) is None
    assert len(await storage.ledger.read(1, 0, 9)) == 3


async def test_a_confirmation_that_was_changed_is_not_believed(storage: Storage, keeper: Make) -> None:
    one = keeper(1)
    await one.take_over()
    await one.receive(9)
    line = ReserveLine("LDN", "tea", 2)
    await one.do(ReserveTentatively("attempt", 2, 0, (line,)))
    number = one.state.seq
    await one.do(ConfirmReservation(number, one.now_ms, 7))
    assert len(await storage.ledger.confirmations(1, [number])) == 1
    await storage.edit(1, one.state.seq, reference="till 4")
    with pytest.raises(RowsChanged) as fault:
        await storage.ledger.confirmations(1, [number])
    assert fault.value.places == {1: one.state.seq}


async def busy(keeper: Keeper, name: str = "") -> None:
    await keeper.take_over()
    await keeper.receive(9, key=f"first{name}")
    await keeper.receive(1, key=f"second{name}")


async def test_a_new_owner_is_told_of_changed_rows_in_its_tail_and_others_are_recovered(
    storage: Storage, keeper: Make
) -> None:
    await busy(keeper(1))
    await busy(keeper(2), " of 2")
    recovery = await storage.snapshots.recover([1, 2], 10)
    assert recovery.changed == {}
    await storage.edit(2, 2, fingerprint=8)
    recovery = await storage.snapshots.recover([1, 2], 10)
    assert recovery.changed == {2: 2}
    assert [entry.seq for entry in recovery.tail if entry.partition == 1] == [1, 2, 3]
    assert [(entry.partition, entry.seq) for entry in recovery.recent_keys] == [(1, 2), (1, 3), (2, 3)]


async def test_a_new_owner_is_told_of_a_changed_row_behind_the_snapshot_whose_key_it_would_remember(
    storage: Storage, keeper: Make
) -> None:
    one = keeper(1)
    await busy(one)
    await one.save()
    await storage.edit(1, 2, fingerprint=8)
    recovery = await storage.snapshots.recover([1], 10)
    assert (recovery.tail, recovery.changed) == ([], {1: 2})
    assert [entry.key for entry in recovery.recent_keys] == ["second"]


async def test_a_changed_time_does_not_go_into_the_claim(storage: Storage, keeper: Make) -> None:
    one = keeper(1)
    await busy(one)
    await storage.edit(1, one.state.seq, at_ms=NOON_MS * 2)
    (head,) = await storage.snapshots.claim("h2", "there:1", [1], NOON_MS + 1)
    assert (head.seq, head.at_ms) == (one.state.seq + 1, NOON_MS + 1)
    assert (await storage.ledger.head(1))[1] == NOON_MS + 1


async def test_a_claim_by_a_late_clock_is_dated_by_the_last_that_holds(
    storage: Storage, keeper: Make
) -> None:
    one = keeper(1)
    await busy(one)
    before_ms = (await storage.ledger.read(1, one.state.seq - 2, 1))[0].at_ms
    await storage.edit(1, one.state.seq, at_ms=NOON_MS * 2)
    (head,) = await storage.snapshots.claim("h2", "there:1", [1], before_ms - 3_600_000)
    assert (head.seq, head.at_ms) == (one.state.seq + 1, before_ms)


@pytest.mark.usefixtures("changed")
async def test_a_survey_shows_changed_rows_with_both_checksums(storage: Storage) -> None:
    entry = received(1, 3, "three", reservation=3)
    async with storage.survey.view() as view:
        (stretch,) = [stretch async for stretch in view.entries(1)]
    assert [found.seq for found in stretch.entries] == [1, 2, 3, 4]
    (found,) = stretch.changed
    assert (found.partition, found.seq, found.stored) == (1, 3, checksum(entry))
    assert found.own == checksum(entry._replace(reason="theft"))

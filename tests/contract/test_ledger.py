"""What every ledger keeps to."""

import asyncio

import pytest

from engine.entries import Entry
from persistence.balances import LotBalance
from persistence.models import KINDS_WITHOUT_STOCK
from persistence.ports import KeysTaken, Ledger, PartitionsLost
from tests.contract.conftest import Storage
from tests.contract.keeper import NOON_MS, received


async def test_what_is_appended_is_read_back_as_it_was(ledger: Ledger) -> None:
    entry = Entry(
        3, 1, NOON_MS, "stock_reserved", "key-1", 2**62 + 1, 1, "Zürich/1", "a.b*c>", "# 9", "L 1", 2**53 - 1,
        2**53 - 1, 2**53 - 1, 0, 1, 0, "B", NOON_MS + 1, "ref 'x'", "reason", '{"a": [1]}',
    )  # fmt: skip
    await ledger.append([entry])
    assert await ledger.read(3, 0, 10) == [entry]


async def test_an_append_spans_partitions(ledger: Ledger) -> None:
    await ledger.append([received(1, 1), received(2, 1), received(1, 2)])
    assert [entry.seq for entry in await ledger.read(1, 0, 10)] == [1, 2]
    assert await ledger.head(2) == (1, NOON_MS + 1)


async def test_nothing_is_appended_when_nothing_is_given(ledger: Ledger) -> None:
    await ledger.append([])
    assert await ledger.head(0) == (0, 0)
    assert await ledger.is_committed([])


async def test_of_two_owners_the_second_loses_the_partition_and_nothing_is_written(storage: Storage) -> None:
    await storage.ledger.append([received(1, 1)])
    with pytest.raises(PartitionsLost) as lost:
        await storage.other_ledger.append([received(2, 1), received(1, 1)])
    assert lost.value.partitions == {1}
    assert await storage.ledger.head(2) == (0, 0)


async def test_all_lost_partitions_are_named_at_once(storage: Storage) -> None:
    await storage.ledger.append([received(number, 1) for number in (1, 2, 5)])
    with pytest.raises(PartitionsLost) as lost:
        await storage.other_ledger.append([received(number, 1) for number in (1, 2, 3)])
    assert lost.value.partitions == {1, 2}


async def test_a_key_is_taken_once_over_all_partitions(storage: Storage) -> None:
    await storage.ledger.append([received(1, 1, "k1"), received(2, 1, "k2")])
    batch = [received(3, 1, "k1"), received(3, 2, "k3"), received(4, 1, "k2")]
    with pytest.raises(KeysTaken) as taken:
        await storage.other_ledger.append(batch)
    assert taken.value.keys == {"k1", "k2"}
    assert await storage.ledger.with_keys(["k3"]) == []
    await storage.other_ledger.append([received(3, 1, "k3")])


async def test_a_ledger_goes_on_after_it_refused(ledger: Ledger) -> None:
    await ledger.append([received(1, 1)])
    for _ in range(3):
        with pytest.raises(PartitionsLost):
            await ledger.append([received(1, 1)])
    await ledger.append([received(1, 2)])
    assert await ledger.head(1) == (2, NOON_MS + 2)


@pytest.mark.parametrize(
    "changes",
    [
        {"reserved": -1},
        {"held": -1},
        {"reserved": 1, "held": 1},
        {"on_hand": 2**53},
        {"quantity": 0},
        {"quantity": -1},
        {"kind": "stock_lost"},
        {"sku": None},
        {"location": None},
        {"lot": None},
        {"kind": "partition_claimed"},
        {"kind": "request_noted"},
        {"kind": "partition_claimed", "site": None, "sku": None, "location": None, "lot": None},
    ],
)
async def test_what_the_engine_never_decides_is_never_stored(
    ledger: Ledger, changes: dict[str, object]
) -> None:
    for batch in ([received(1, 1), received(2, 1, **changes)], [received(1, 1, **changes)]):
        with pytest.raises(AssertionError):
            await ledger.append(batch)
    assert await ledger.head(1) == (0, 0)


async def test_an_entry_alone_collides_as_one_among_others_does(storage: Storage) -> None:
    await storage.ledger.append([received(1, 1, "k1")])
    with pytest.raises(PartitionsLost) as lost:
        await storage.other_ledger.append([received(1, 1, "k2")])
    assert lost.value.partitions == {1}
    with pytest.raises(KeysTaken) as taken:
        await storage.other_ledger.append([received(2, 1, "k1")])
    assert taken.value.keys == {"k1"}
    await storage.other_ledger.append([received(1, 2, "k2")])


@pytest.mark.parametrize("kind", ["stock_adjusted", "stock_counted"])
@pytest.mark.parametrize("quantity", [-3, 0, 3])
async def test_adjustments_and_counts_have_a_sign(ledger: Ledger, kind: str, quantity: int) -> None:
    await ledger.append([received(1, 1, kind=kind, quantity=quantity)])
    assert await ledger.head(1) == (1, NOON_MS + 1)


async def test_every_kind_without_stock_is_stored(ledger: Ledger) -> None:
    nowhere = {"site": None, "sku": None, "location": None, "lot": None, "quantity": 0, "on_hand": 0}
    kinds = [kind for kind in KINDS_WITHOUT_STOCK for _ in range(2)]
    entries = [received(1, seq, kind=kind, **nowhere) for seq, kind in enumerate(kinds, 1)]
    await ledger.append(entries)
    assert await ledger.read(1, 0, 100) == entries


async def test_it_is_known_whether_an_append_is_committed(storage: Storage) -> None:
    batch = [received(1, 1, "k1"), received(2, 1)]
    assert not await storage.ledger.is_committed(batch)
    await storage.ledger.append(batch)
    assert await storage.ledger.is_committed(batch)
    assert await storage.other_ledger.is_committed(batch)


async def test_anothers_entries_at_the_same_place_are_not_ours(storage: Storage) -> None:
    await storage.ledger.append([received(1, 1, "k1")])
    assert not await storage.other_ledger.is_committed([received(1, 1, "k2")])


async def test_reading_goes_on_from_a_sequence_number(ledger: Ledger) -> None:
    await ledger.append([received(1, seq) for seq in range(1, 8)])
    assert [entry.seq for entry in await ledger.read(1, 2, 3)] == [3, 4, 5]
    assert await ledger.read(1, 7, 3) == []


async def test_history_is_one_sku_of_one_site(ledger: Ledger) -> None:
    await ledger.append(
        [
            received(1, 1),
            received(1, 2, sku="coffee"),
            received(1, 3, site="PAR"),
            received(1, 4),
            received(1, 5, location="B-2"),
            received(2, 1),
        ]
    )
    assert [entry.seq for entry in await ledger.history(1, ("LDN", "tea"), 0, 10)] == [1, 4, 5]
    assert [entry.seq for entry in await ledger.history(1, ("LDN", "tea"), 1, 1)] == [4]
    assert await ledger.history(1, ("LDN", "milk"), 0, 10) == []


async def test_a_reservations_entries_come_in_order_up_to_a_sequence_number(ledger: Ledger) -> None:
    note = dict.fromkeys(("site", "sku", "location", "lot"))
    await ledger.append(
        [
            received(1, 1),
            received(1, 2, kind="stock_reserved", reservation=2, line=0, reserved=1),
            received(1, 3, kind="stock_reserved", reservation=3, line=0, reserved=2),
            received(1, 4, kind="reservation_extended", reservation=2, quantity=0, **note),
            received(1, 5, kind="stock_picked", reservation=2, line=0, reserved=1),
            received(1, 6, kind="stock_released", reservation=2, line=0),
        ]
    )
    assert [entry.seq for entry in await ledger.of_reservation(1, 2, 5)] == [2, 4, 5]


async def test_entries_are_found_by_their_places(ledger: Ledger) -> None:
    await ledger.append([received(1, 1), received(1, 2), received(2, 1)])
    found = await ledger.at([(2, 1), (1, 2), (1, 9), (7, 1), (2, 1)])
    assert [(entry.partition, entry.seq) for entry in found] == [(1, 2), (2, 1)]
    assert await ledger.at([]) == []


async def test_confirmations_are_found_by_their_reservations(ledger: Ledger) -> None:
    note = dict.fromkeys(("site", "sku", "location", "lot"))
    await ledger.append(
        [
            received(1, 1),
            received(1, 2, kind="stock_reserved", reservation=2, line=0, reserved=1),
            received(1, 3, kind="stock_reserved", reservation=3, line=0, reserved=2),
            received(1, 4, kind="reservation_confirmed", reservation=3, quantity=0, **note),
            received(1, 5, kind="reservation_confirmed", reservation=2, quantity=0, **note),
            received(2, 1, kind="reservation_confirmed", reservation=2, quantity=0, **note),
        ]
    )
    assert [entry.seq for entry in await ledger.confirmations(1, [2])] == [5]
    assert [entry.seq for entry in await ledger.confirmations(1, [2, 3, 8])] == [4, 5]
    assert await ledger.confirmations(1, []) == []


async def test_a_share_that_was_abandoned_has_no_confirmation(ledger: Ledger) -> None:
    note = dict.fromkeys(("site", "sku", "location", "lot"))
    await ledger.append(
        [
            received(1, 1),
            received(1, 2, kind="stock_reserved", reservation=2, line=0, reserved=1),
            received(1, 3, kind="stock_reserved", reservation=3, line=0, reserved=2),
            received(1, 4, kind="stock_released", reservation=2, line=0, reserved=1, reason="abandoned"),
            received(1, 5, kind="reservation_confirmed", reservation=3, quantity=0, **note),
            received(1, 6, kind="stock_released", reservation=3, line=0, reserved=0),
        ]
    )
    assert [entry.seq for entry in await ledger.confirmations(1, [3, 2, 3])] == [5]


async def test_keyed_entries_are_found_wherever_they_are(ledger: Ledger) -> None:
    first, second = received(1, 1, "k1"), received(2, 1, "k2")
    await ledger.append([first, second, received(2, 2)])
    assert await ledger.with_keys(["k2", "k1", "k0", "k2"]) == [first, second]
    assert await ledger.with_keys([]) == []


@pytest.mark.parametrize("entries", [0, 1, 2, 3, 8, 33])
async def test_an_instant_has_a_sequence_number(ledger: Ledger, entries: int) -> None:
    times = [1000 + seq // 3 * 10 for seq in range(1, entries + 1)]  # Several at the same time, then a step.
    await ledger.append([received(1, seq, at_ms=at_ms) for seq, at_ms in enumerate(times, 1)])
    for at_ms in range(995, 1000 + entries * 10, 5):
        expected = sum(time <= at_ms for time in times)
        assert await ledger.seq_at(1, at_ms) == expected, at_ms


async def test_balances_are_each_lots_last_entry_at_a_sequence_number(ledger: Ledger) -> None:
    await ledger.append(
        [
            received(1, 1),
            received(1, 2, location="B-2"),
            received(1, 3, lot="L1"),
            received(1, 4, sku="coffee"),
            received(1, 5),
            received(1, 6),
        ]
    )
    found = await ledger.balances(1, ("LDN", "tea"), 5)
    assert [(entry.location, entry.lot, entry.seq) for entry in found] == [
        ("A-1", "", 5),
        ("A-1", "L1", 3),
        ("B-2", "", 2),
    ]
    assert await ledger.balances(1, ("LDN", "tea"), 0) == []


async def test_reads_and_appends_go_on_side_by_side(ledger: Ledger) -> None:
    async def append() -> None:
        for seq in range(1, 51):
            await ledger.append([received(1, seq), received(2, seq)])

    async def read() -> None:
        for _ in range(30):
            heads = await ledger.head(1), await ledger.head(2)
            entries = await ledger.read(1, 0, 100)
            assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
            assert heads[0][0] <= len(entries)

    await asyncio.gather(append(), read(), read())
    assert await ledger.head(2) == (50, NOON_MS + 50)


async def test_the_last_entry_of_each_lot_is_found_stock_by_stock(ledger: Ledger) -> None:
    await ledger.append(
        [
            received(1, 1, on_hand=1),
            received(1, 2, on_hand=2),
            received(1, 3, on_hand=1, location="B-2"),
            received(1, 4, on_hand=1, lot="L1"),
            received(1, 5, sku="jam", on_hand=7, quantity=7),
            received(1, 6, on_hand=3),
            received(2, 1, on_hand=9, quantity=9),
        ]
    )
    tea, jam = ("LDN", "tea"), ("LDN", "jam")
    found = await ledger.last([(1, tea, 5), (1, jam, 6), (1, ("PAR", "tea"), 6)], 100)
    assert sorted(found) == [
        LotBalance(1, "LDN", "jam", "A-1", "", 5, 7, 0, 0),
        LotBalance(1, "LDN", "tea", "A-1", "", 2, 2, 0, 0),
        LotBalance(1, "LDN", "tea", "A-1", "L1", 4, 1, 0, 0),
        LotBalance(1, "LDN", "tea", "B-2", "", 3, 1, 0, 0),
    ]
    assert await ledger.last([], 100) == []


async def test_the_last_entries_are_looked_for_among_the_newest_alone(ledger: Ledger) -> None:
    await ledger.append([received(1, 1, on_hand=1, location="B-2")])
    await ledger.append([received(1, seq, on_hand=seq) for seq in range(2, 9)])
    tea = ("LDN", "tea")
    assert [lot.location for lot in await ledger.last([(1, tea, 8)], 7)] == ["A-1"]
    assert sorted(lot.location for lot in await ledger.last([(1, tea, 8)], 8)) == ["A-1", "B-2"]

"""What every store of snapshots keeps to: claims, fences, and recovery that equals what was."""

import json
import random

import pytest

from engine.commands import (
    AdjustStock,
    Command,
    ExtendReservation,
    HoldStock,
    MoveStock,
    PickReservation,
    ReceiveStock,
    ReleaseReservation,
    ReserveLine,
    ReserveStock,
)
from engine.decide import decide
from engine.entries import Entry
from engine.images import Rows, digest, restore
from engine.refusals import Refused
from engine.state import Partition
from persistence.ports import Head, PartitionsLost, Recovery, Snapshots
from tests.contract.conftest import Storage
from tests.contract.keeper import DAY_MS, EMPTY, NOON_MS, Keeper, Make, received


async def test_a_claim_is_an_entry_that_says_who_and_under_which_epoch(storage: Storage) -> None:
    heads = await storage.snapshots.claim("h1", "here:1", [2, 1], NOON_MS)
    assert heads == [Head(1, 1, 0, 1, NOON_MS), Head(2, 1, 0, 1, NOON_MS)]
    (entry,) = await storage.ledger.read(1, 0, 10)
    assert entry.kind == "partition_claimed"
    assert json.loads(entry.detail or "") == {"host": "h1", "epoch": 1, "address": "here:1"}


async def test_a_claim_follows_the_last_entry_and_its_time(storage: Storage) -> None:
    await storage.ledger.append([received(1, 1), received(1, 2)])
    (head,) = await storage.snapshots.claim("h1", "here:1", [1], NOON_MS - 10)
    assert head == Head(1, 1, 0, 3, NOON_MS + 2)


async def test_a_ledger_that_ends_before_its_snapshot_gets_no_claim_in_the_hole_however_often(
    storage: Storage, keeper: Make
) -> None:
    one = keeper(1)
    await one.take_over()
    await one.receive(5)
    last = (await one.receive(7))[-1]
    snapshot_seq = last.seq + 2
    await storage.snapshots.save({1: (1, snapshot_seq, last.at_ms)}, EMPTY)
    kept = await storage.ledger.read(1, 0, 10)
    for epoch in (2, 3, 4):
        heads = await storage.snapshots.claim(f"h{epoch}", "there:1", [1, 2], NOON_MS + DAY_MS)
        refused = Head(1, epoch, snapshot_seq, last.seq, last.at_ms)
        assert heads == [refused, Head(2, epoch - 1, 0, epoch - 1, NOON_MS + DAY_MS)]
        assert (await storage.snapshots.recover([1], 10)).heads == [refused]
        assert await storage.ledger.read(1, 0, 10) == kept
        assert await storage.snapshots.lost({1: epoch - 1, 2: epoch - 1}) == {1}
        placements = {one.partition: one for one in await storage.directory.placements()}
        assert (placements[1].host, placements[1].epoch) == (f"h{epoch}", epoch)
    await storage.ledger.append([received(1, last.seq + 1), received(1, last.seq + 2)])
    (head,) = await storage.snapshots.claim("h5", "there:1", [1], NOON_MS + DAY_MS)
    assert head == Head(1, 5, snapshot_seq, snapshot_seq + 1, NOON_MS + DAY_MS)


async def test_each_claim_raises_the_epoch(snapshots: Snapshots) -> None:
    for epoch in (1, 2, 3):
        (head,) = await snapshots.claim(f"h{epoch}", "here:1", [1], NOON_MS)
        assert (head.epoch, head.seq) == (epoch, epoch)


async def test_a_deposed_owner_commits_nothing(storage: Storage) -> None:
    (head,) = await storage.snapshots.claim("h1", "here:1", [1], NOON_MS)
    await storage.snapshots.claim("h2", "there:1", [1], NOON_MS)
    with pytest.raises(PartitionsLost) as lost:
        await storage.ledger.append([received(1, head.seq + 1)])
    assert lost.value.partitions == {1}


async def test_a_deposed_owner_learns_what_it_lost(snapshots: Snapshots) -> None:
    await snapshots.claim("h1", "here:1", [1, 2], NOON_MS)
    assert await snapshots.lost({1: 1, 2: 1}) == frozenset()
    await snapshots.claim("h2", "there:1", [2], NOON_MS)
    assert await snapshots.lost({1: 1, 2: 1}) == {2}
    assert await snapshots.lost({}) == frozenset()


async def test_a_deposed_owner_writes_no_snapshot(snapshots: Snapshots, keeper: Make) -> None:
    first, kept = keeper(1), keeper(2)
    await first.take_over()
    await kept.take_over()
    await first.receive(5)
    await kept.receive(7, "coffee")
    await keeper(1, "h2").take_over()
    rows = Rows(*map(list.__add__, *[_rows_of(one) for one in (first, kept)]))
    epochs = {one.state.number: (one.head.epoch, one.state.seq, one.state.at_ms) for one in (first, kept)}
    assert await snapshots.save(epochs, rows) == {1}
    assert (await snapshots.load([(1, ("LDN", "tea"))])).lots == []
    assert [lot.on_hand for lot in (await snapshots.load([(2, ("LDN", "coffee"))])).lots] == [7]
    heads = (await snapshots.recover([1, 2], 0)).heads
    assert [head.snapshot_seq for head in heads] == [0, kept.state.seq]


def _rows_of(keeper: Keeper) -> tuple[list[object], ...]:
    from engine.images import capture  # noqa: PLC0415 - only here

    return tuple(map(list, capture(keeper.state, keeper.dirty_stocks, keeper.dirty_reservations)))


async def test_a_snapshot_never_goes_back(snapshots: Snapshots) -> None:
    (head,) = await snapshots.claim("h1", "here:1", [1], NOON_MS)
    await snapshots.save({1: (head.epoch, 1, NOON_MS)}, EMPTY)
    with pytest.raises(AssertionError):
        await snapshots.save({1: (head.epoch, 0, NOON_MS)}, EMPTY)


async def test_a_snapshot_may_be_saved_again(keeper: Make, snapshots: Snapshots) -> None:
    one = keeper()
    await one.take_over()
    await one.receive(9)
    await one.reserve(("tea", 4))
    rows = Rows(*_rows_of(one))  # type: ignore[arg-type]
    for _ in range(2):
        await snapshots.save({1: (one.head.epoch, one.state.seq, one.state.at_ms)}, rows)
    assert await snapshots.load([(1, ("LDN", "tea"))]) == rows


async def test_an_empty_partition_recovers_as_its_claim(snapshots: Snapshots) -> None:
    heads = await snapshots.claim("h1", "here:1", [1], NOON_MS)
    recovery = await snapshots.recover([1], 10)
    assert recovery == Recovery(heads, recovery.tail, [], EMPTY, [], [], [], {})
    assert [entry.seq for entry in recovery.tail] == [1]


@pytest.mark.parametrize("seed", range(6))
async def test_snapshot_and_tail_make_what_was(keeper: Make, seed: int) -> None:
    """Memory = snapshot + tail, whenever the snapshot was taken and whoever takes over."""
    random_ = random.Random(seed)
    one = keeper()
    await one.take_over()
    for turn in range(120):
        await _do_anything(one, random_)
        if random_.random() < 0.1:
            await one.save()
        if random_.random() < 0.05:
            before = digest(one.state)
            one = keeper(1, f"h{turn % 2 + 1}")
            await one.take_over()
            await _activate_all(one)
            after = digest(one.state)
            assert {**after, "seq": 0} == {**before, "seq": 0}
    whole = Partition(1)
    _apply_all(whole, await one.ledger.read(1, 0, 100_000))
    assert digest(whole) == digest(one.state)


async def _do_anything(one: Keeper, random_: random.Random) -> None:
    one.now_ms += random_.randrange(2000)
    skus = ["tea", "coffee", "milk"]
    sku, location = random_.choice(skus), random_.choice(["A-1", "B-2"])
    command: Command = random_.choice(
        [
            ReceiveStock("LDN", sku, location, random_.randint(1, 20)),
            ReceiveStock("LDN", sku, location, random_.randint(1, 20), lot="L1"),
            AdjustStock("LDN", sku, location, random_.randint(-3, 3) or 1, lot="", reason="found"),
            HoldStock("LDN", sku, location, 1, reason="damaged"),
            MoveStock("LDN", sku, location, "C-3", 2),
            *[
                ReserveStock(
                    tuple(
                        ReserveLine("LDN", one, random_.randint(1, 4), index=i) for i, one in enumerate(skus)
                    ),
                    random_.choice([None, 60]),
                )
            ]
            * 3,
        ]
    )
    open_ = [reservation for reservation in one.state.reservations.values() if reservation.open]
    if open_ and random_.random() < 0.5:
        chosen = random_.choice(open_)
        address = (chosen.number, chosen.opened_at_ms)
        command = random_.choice(
            [
                PickReservation(*address, quantity=1),
                PickReservation(*address),
                ReleaseReservation(*address, quantity=1),
                ExtendReservation(*address, 30),
            ]
        )
    if not isinstance(decide(one.state, command, one.now_ms), Refused):
        await one.do(command)


async def _activate_all(one: Keeper) -> None:
    stocks = [("LDN", sku) for sku in ("tea", "coffee", "milk")]
    resting = [stock for stock in stocks if stock not in one.state.stocks]
    restore(one.state, resting, await one.snapshots.load([(1, stock) for stock in resting]))


def _apply_all(state: Partition, entries: list[Entry]) -> None:
    from engine.apply import apply  # noqa: PLC0415 - only here

    for entry in entries:
        apply(state, entry)

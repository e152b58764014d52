"""What every store of snapshots keeps to: claims, fences, and recovery that equals what was."""

import json
import random
from collections.abc import Callable

import pytest

from engine.commands import (
    AdjustStock,
    Command,
    ConfirmReservation,
    ExtendReservation,
    HoldStock,
    MoveStock,
    PickReservation,
    ReceiveStock,
    ReleaseReservation,
    ReserveLine,
    ReserveStock,
    ReserveTentatively,
    ReserveTogether,
)
from engine.decide import decide
from engine.entries import Entry
from engine.images import Rows, digest, restore
from engine.refusals import Refused
from engine.state import Partition
from persistence.ports import Due, Head, PartitionsLost, Recovery, Snapshots
from tests.contract.conftest import Storage
from tests.contract.keeper import NOON_MS, Keeper, received

Make = Callable[..., Keeper]
DAY_MS = 24 * 3600 * 1000
EMPTY = Rows([], [], [])


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
    assert recovery == Recovery(heads, recovery.tail, [], EMPTY, [], [], [])
    assert [entry.seq for entry in recovery.tail] == [1]


async def test_a_resting_stock_comes_back_with_its_reservations_and_all_their_lines(keeper: Make) -> None:
    one = keeper()
    await one.take_over()
    await one.receive(9, "tea", lot="L1", expires_at_ms=NOON_MS + DAY_MS)
    await one.receive(9, "coffee")
    both = await one.reserve(("tea", 2), ("coffee", 3), reference="order 1", ttl_s=60)
    done = await one.reserve(("tea", 1))
    await one.do(PickReservation(done.number, done.opened_at_ms))
    await one.do(HoldStock("LDN", "tea", "A-1", 2, reason="damaged"))
    await one.save()
    rows = await one.snapshots.load([(1, ("LDN", "tea"))])
    assert [(lot.on_hand, lot.reserved, lot.held, lot.holds) for lot in rows.lots] == [
        (8, 2, 2, '{"damaged": 2}')
    ]
    assert [row.number for row in rows.reservations] == [both.number]
    assert [(line.sku, line.open) for line in rows.lines] == [("tea", 2), ("coffee", 3)]
    state = Partition(1)
    restore(
        state,
        [("LDN", "tea"), ("LDN", "coffee")],
        _joined(rows, await one.snapshots.load([(1, ("LDN", "coffee"))])),
    )
    state.seq = one.state.seq
    assert digest(state) == digest(one.state)


def _joined(first: Rows, second: Rows) -> Rows:
    return Rows(
        first.lots + second.lots,
        list(dict.fromkeys(first.reservations + second.reservations)),
        list(dict.fromkeys(first.lines + second.lines)),
    )


async def test_the_lots_of_stocks_come_without_their_reservations(keeper: Make) -> None:
    one, other = keeper(1), keeper(2)
    await one.take_over()
    await other.take_over()
    await one.receive(9, "tea", "B-2")
    await one.receive(3, "tea")
    await one.receive(9, "milk")
    await one.reserve(("tea", 2))
    await other.receive(5, "coffee")
    await one.save()
    await other.save()
    rows = await one.snapshots.lots([("LDN", "tea"), ("LDN", "coffee"), ("LDN", "honey")])
    assert sorted((lot.partition, lot.sku, lot.location, lot.on_hand, lot.reserved) for lot in rows) == [
        (1, "tea", "A-1", 3, 0),
        (1, "tea", "B-2", 9, 2),
        (2, "coffee", "A-1", 5, 0),
    ]


async def test_a_snapshot_may_be_large(keeper: Make) -> None:
    one = keeper()
    await one.take_over()
    await one.receive(5000)
    known = await one.reserve(("tea", 1))
    await one.save()
    entries = []
    for _ in range(2500):
        decided = decide(one.state, ReserveStock((ReserveLine("LDN", "tea", 1),)), one.now_ms, None, None)
        assert not isinstance(decided, Refused)
        one._apply(decided)
        entries += decided
    await one.ledger.append(entries)
    await one.do(ReleaseReservation(known.number, known.opened_at_ms))
    await one.save()
    rows = await one.snapshots.load([(1, ("LDN", "tea"))])
    assert [lot.reserved for lot in rows.lots] == [2500]
    assert len({row.number for row in rows.reservations}) == len(rows.lines) == 2500
    rows = await one.snapshots.load_reservation(1, known.number)
    assert [row.state for row in rows.reservations] == ["released"]


async def test_a_reservation_is_found_by_number_even_when_it_is_over(keeper: Make) -> None:
    one = keeper()
    await one.take_over()
    await one.receive(9)
    done = await one.reserve(("tea", 1))
    await one.do(ReleaseReservation(done.number, done.opened_at_ms))
    await one.save()
    rows = await one.snapshots.load_reservation(1, done.number)
    assert [(row.number, row.state, row.open) for row in rows.reservations] == [(done.number, "released", 0)]
    assert [line.released for line in rows.lines] == [1]
    assert rows.lots == []
    assert await one.snapshots.load_reservation(1, 99) == EMPTY
    assert await one.snapshots.load_reservation(2, done.number) == EMPTY


async def test_an_attempt_is_found_at_its_home_only(keeper: Make) -> None:
    one = keeper()
    await one.take_over()
    await one.receive(9)
    lines = (ReserveLine("LDN", "tea", 2),)
    await one.do(ReserveTentatively("attempt-1", 2, 1, lines))
    await one.do(ReserveTogether("attempt-2", 1, ((2, 7, NOON_MS),), lines))
    await one.save()
    assert await one.snapshots.load_attempt(1, "attempt-1") == EMPTY
    rows = await one.snapshots.load_attempt(1, "attempt-2")
    assert [row.attempt for row in rows.reservations] == ["attempt-2"]
    assert [line.open for line in rows.lines] == [2]


async def test_a_line_that_found_nothing_elsewhere_comes_back_without_the_stock_that_is_there(
    keeper: Make,
) -> None:
    home, other = keeper(1), keeper(2)
    await home.take_over()
    await other.take_over()
    await home.receive(9)
    await other.receive(5, "jam")
    await other.save()
    line, missing = ReserveLine("LDN", "tea", 2), ReserveLine("LDN", "jam", 6, index=1)
    (decided, *_) = await home.do(
        ReserveTogether("attempt", 1, (), (line,), 60, None, partial=True, missing=(missing,))
    )
    await home.save()
    await home.do(PickReservation(decided.seq, NOON_MS), "noted")
    await home.do(ExtendReservation(decided.seq, NOON_MS, 90, is_share=True))
    before = digest(home.state)
    fresh = keeper(1)
    recovery = await fresh.take_over()
    assert recovery.stocks == [(1, ("LDN", "tea"))]
    assert {row.sku for row in recovery.rows.lots} == {"tea"}
    assert [(row.line, row.sku, row.requested, row.quantity) for row in recovery.rows.lines] == [
        (0, "tea", 2, 2), (1, "jam", 6, 0),
    ]  # fmt: skip
    assert "noted" in [entry.key for entry in recovery.recent_keys]
    assert digest(fresh.state) == {**before, "seq": recovery.heads[0].seq}


async def test_resting_stocks_that_will_expire_are_named_with_the_earliest_time(keeper: Make) -> None:
    one = keeper()
    await one.take_over()
    await one.receive(5, "lot", lot="L1", expires_at_ms=NOON_MS + DAY_MS)
    await one.receive(5, "soft")
    await one.reserve(("soft", 1), ttl_s=60)
    await one.reserve(("soft", 1), ttl_s=30)
    await one.receive(5, "both", lot="L1", expires_at_ms=NOON_MS + DAY_MS)
    await one.reserve(("both", 1), ttl_s=30)
    await one.receive(5, "held", lot="L1", expires_at_ms=NOON_MS + DAY_MS)
    await one.do(HoldStock("LDN", "held", "A-1", 5, reason="damaged"))
    await one.receive(5, "hard")
    await one.reserve(("hard", 1))
    await one.receive(5, "touched", lot="L1", expires_at_ms=NOON_MS + DAY_MS)
    await one.save()
    await one.receive(1, "touched", lot="L1")
    recovery = await keeper(1, "h2").take_over()
    assert sorted(recovery.dues) == [
        Due(1, "LDN", "both", NOON_MS + 30_000),
        Due(1, "LDN", "lot", NOON_MS + DAY_MS),
        Due(1, "LDN", "soft", NOON_MS + 30_000),
    ]


async def test_a_stock_whose_reservation_was_extended_is_active_after_recovery(keeper: Make) -> None:
    one = keeper()
    await one.take_over()
    await one.receive(5)
    soft = await one.reserve(("tea", 1), ttl_s=60)
    await one.save()
    await one.do(ExtendReservation(soft.number, soft.opened_at_ms, 5))
    other = keeper(1, "h2")
    recovery = await other.take_over()
    assert recovery.stocks == [(1, ("LDN", "tea"))]
    assert recovery.dues == []
    assert other.state.stocks["LDN", "tea"].due_ms <= NOON_MS + 5000


async def test_shares_that_nobody_settled_are_named(keeper: Make) -> None:
    one = keeper()
    await one.take_over()
    await one.receive(9)
    lines = (ReserveLine("LDN", "tea", 2),)
    share, settled = [
        (await one.do(ReserveTentatively(attempt, 2, 1, lines, ttl_ms=5_000)))[0] for attempt in ("a1", "a2")
    ]
    assert settled.reservation is not None
    await one.do(ConfirmReservation(settled.reservation, settled.at_ms, 7))
    await one.save()
    assert (await one.snapshots.recover([1], 0)).tentative == [(1, share.reservation, NOON_MS + 5000)]


async def test_the_newest_keyed_entries_come_oldest_first(keeper: Make) -> None:
    one = keeper()
    await one.take_over()
    for index in range(1, 7):
        one.now_ms += 1
        await one.receive(1, key=f"k{index}")
        if index == 4:
            await one.save()
    assert await _recent(one, 100) == ["k1", "k2", "k3", "k4", "k5", "k6"]
    assert await _recent(one, 4) == ["k3", "k4", "k5", "k6"]
    assert await _recent(one, 1) == ["k6"]
    assert await _recent(one, 0) == []


async def _recent(keeper: Keeper, limit: int) -> list[str | None]:
    return [entry.key for entry in (await keeper.snapshots.recover([1], limit)).recent_keys]


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

"""What every store of snapshots gives back: rows of what rests, and what a new owner starts from."""

from engine.commands import (
    ConfirmReservation,
    ExtendReservation,
    HoldStock,
    PickReservation,
    ReleaseReservation,
    ReserveLine,
    ReserveStock,
    ReserveTentatively,
    ReserveTogether,
)
from engine.decide import decide
from engine.images import Rows, digest, restore
from engine.refusals import Refused
from engine.state import Partition
from persistence.ports import Due
from tests.contract.keeper import DAY_MS, EMPTY, NOON_MS, Keeper, Make


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

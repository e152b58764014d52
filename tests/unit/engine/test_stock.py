"""Receiving, picking without a reservation, moving and adjusting."""

import pytest

from engine.commands import (
    AdjustStock,
    ExpireStock,
    HoldStock,
    MoveStock,
    PickStock,
    ReceiveStock,
    ReleaseReservation,
    ReserveTentatively,
)
from engine.dates import date_of_expiry
from engine.entries import Kind
from engine.limits import QUANTITY_MAX
from engine.refusals import Refusal
from tests.unit.engine.desk import NOON_MS, SITE, SKU, Desk, named, places, replayed, reserve_line

DAY_MS = 86_400_000


def move(source: str, target: str, quantity: int, lot: str | None = None) -> MoveStock:
    return MoveStock(SITE, SKU, source, target, quantity, lot)


def adjust(
    delta: int, reason: str = "damage", *, location: str = "A-1", lot: str | None = None
) -> AdjustStock:
    return AdjustStock(SITE, SKU, location, delta, lot, reason)


def test_received_units_are_on_hand_and_available(desk: Desk) -> None:
    answer = desk.ask(ReceiveStock(SITE, SKU, "A-1", 5))
    assert (answer["on_hand"], answer["available"], answer["seq"]) == (5, 5, 1)


def test_a_date_without_a_lot_makes_a_lot_that_is_named_by_its_date(desk: Desk) -> None:
    desk.receive(5, expires_at_ms=NOON_MS + DAY_MS)
    lot = desk.lot(lot=date_of_expiry(NOON_MS + DAY_MS))
    assert (lot.on_hand, lot.expires_at_ms) == (5, NOON_MS + DAY_MS)


def test_a_date_with_an_empty_lot_code_is_one_without_a_lot(desk: Desk) -> None:
    desk.do(ReceiveStock(SITE, SKU, "A-1", 5, "", NOON_MS + DAY_MS))
    assert [lot.code for lot in desk.stock().bins["A-1"].lots] == [date_of_expiry(NOON_MS + DAY_MS)]


def test_a_lot_has_one_date(desk: Desk) -> None:
    desk.receive(5, lot="L1", expires_at_ms=NOON_MS + DAY_MS)
    refusal = desk.refusal(ReceiveStock(SITE, SKU, "A-2", 5, "L1", NOON_MS + 2 * DAY_MS))
    assert refusal.code == Refusal.LOT_EXPIRY_DIFFERS
    assert refusal.fields["expires_on"] == date_of_expiry(NOON_MS + DAY_MS)


@pytest.mark.parametrize("command", [
    ReceiveStock(SITE, SKU, "B-1", 2, "L1"),
    adjust(2, location="B-1", lot="L1"),
])  # fmt: skip
@pytest.mark.parametrize("is_emptied", [False, True])
def test_a_lot_keeps_its_date_wherever_it_turns_up(
    desk: Desk, command: ReceiveStock | AdjustStock, is_emptied: bool
) -> None:
    desk.receive(5, lot="L1", expires_at_ms=NOON_MS + DAY_MS)
    if is_emptied:
        desk.do(PickStock(SITE, SKU, 5))
    desk.do(command)
    assert desk.lot("B-1", "L1").expires_at_ms == NOON_MS + DAY_MS


def test_a_lot_that_is_sold_out_may_come_back_with_another_date(desk: Desk) -> None:
    desk.receive(5, lot="L1", expires_at_ms=NOON_MS + DAY_MS)
    desk.do(PickStock(SITE, SKU, 5))
    desk.receive(5, lot="L1", expires_at_ms=NOON_MS + 2 * DAY_MS)
    assert desk.lot(lot="L1").expires_at_ms == NOON_MS + 2 * DAY_MS


def test_the_largest_quantity_fits_and_one_more_does_not(desk: Desk) -> None:
    desk.receive(QUANTITY_MAX)
    assert desk.code(ReceiveStock(SITE, SKU, "A-1", 1)) == Refusal.QUANTITY_LIMIT
    assert desk.code(adjust(1)) == Refusal.QUANTITY_LIMIT
    desk.receive(1, "A-2")
    assert desk.code(move("A-2", "A-1", 1)) == Refusal.QUANTITY_LIMIT


def test_a_pick_without_a_reservation_leaves_what_is_reserved(desk: Desk) -> None:
    desk.receive(5)
    desk.reserve(3)
    refusal = desk.refusal(PickStock(SITE, SKU, 3))
    assert (refusal.code, refusal.fields["available"]) == (Refusal.INSUFFICIENT_STOCK, 2)
    assert desk.ask(PickStock(SITE, SKU, 2))["allocations"] == [
        {"location": "A-1", "lot": None, "quantity": 2}
    ]
    assert desk.balance() == (3, 3, 0)


def test_a_pick_over_two_bins_answers_with_both(desk: Desk) -> None:
    desk.receive(1, "A-1")
    desk.receive(1, "A-2")
    answer = desk.ask(PickStock(SITE, SKU, 2, reference="till 4"))
    assert [bin_["location"] for bin_ in answer["bins"]] == ["A-1", "A-2"]
    assert [entry.reference for entry in desk.ledger[-2:]] == ["till 4", "till 4"]


def test_what_is_named_and_unknown_is_refused_in_order_of_precedence(desk: Desk) -> None:
    def codes(sku: str, location: str, lot: str | None) -> set[Refusal]:
        return {
            desk.code(PickStock(SITE, sku, 99, location, lot)),
            desk.code(MoveStock(SITE, sku, location, "Z", 99, lot)),
            desk.code(HoldStock(SITE, sku, location, 99, lot, "damage")),
            desk.code(AdjustStock(SITE, sku, location, -99, lot, "damage")),
        }

    desk.receive(1, lot="L1")
    assert codes("jam", "Q", "L9") == {Refusal.STOCK_NOT_FOUND}
    assert codes(SKU, "Q", "L9") == {Refusal.BIN_NOT_FOUND}
    assert codes(SKU, "A-1", "L9") == {Refusal.LOT_NOT_FOUND}
    assert codes(SKU, "A-1", "L1") == {Refusal.INSUFFICIENT_STOCK}


def test_an_expired_lot_is_not_picked(desk: Desk) -> None:
    desk.receive(5, lot="L1", expires_at_ms=NOON_MS)
    assert desk.code(PickStock(SITE, SKU, 9, "A-1", "L1")) == Refusal.LOT_EXPIRED
    assert desk.code(PickStock(SITE, SKU, 1)) == Refusal.INSUFFICIENT_STOCK


def test_free_units_move_before_reserved_ones(desk: Desk) -> None:
    desk.receive(5)
    reservation = desk.reserve(3)
    desk.do(move("A-1", "A-2", 2))
    assert places(reservation) == [("A-1", "", 3)]
    assert (desk.balance("A-1"), desk.balance("A-2")) == ((3, 3, 0), (2, 0, 0))


def test_reserved_units_keep_their_reservation_when_they_move(desk: Desk) -> None:
    desk.receive(5)
    first, second = desk.reserve(3), desk.reserve(2)
    answer = desk.ask(move("A-1", "A-2", 4))
    assert (answer["from"]["reserved"], answer["to"]["reserved"]) == (1, 4)
    assert places(first) == [("A-2", "", 3)]
    assert places(second) == [("A-1", "", 1), ("A-2", "", 1)]
    assert first.state == second.state == "held"


def test_a_tentative_share_that_moves_stays_tentative(desk: Desk) -> None:
    desk.receive(2)
    (entry,) = desk.do(ReserveTentatively("a", 9, 1, (reserve_line(2),)))
    desk.do(move("A-1", "A-2", 2))
    assert desk.partition.tentative == {entry.seq: NOON_MS + 10_000}


def test_held_units_do_not_move(desk: Desk) -> None:
    desk.receive(5)
    desk.do(HoldStock(SITE, SKU, "A-1", 3, None, "damage"))
    refusal = desk.refusal(move("A-1", "A-2", 3))
    assert (refusal.code, refusal.fields["available"]) == (Refusal.INSUFFICIENT_STOCK, 2)


def test_a_move_takes_the_lots_that_expire_first_with_their_dates_and_age(desk: Desk) -> None:
    desk.receive(2, lot="late", expires_at_ms=NOON_MS + 2 * DAY_MS)
    desk.receive(2, lot="soon", expires_at_ms=NOON_MS + DAY_MS)
    desk.do(move("A-1", "B-1", 3))
    soon, late = desk.lot("B-1", "soon"), desk.lot("B-1", "late")
    assert (soon.on_hand, soon.expires_at_ms, soon.age) == (2, NOON_MS + DAY_MS, 2)
    assert (late.on_hand, late.expires_at_ms, late.age) == (1, NOON_MS + 2 * DAY_MS, 1)


def test_a_bin_that_has_the_lot_keeps_the_older_age(desk: Desk) -> None:
    desk.receive(1, "A-1")
    desk.receive(1, "A-2")
    desk.do(move("A-1", "A-2", 1))
    assert desk.lot("A-2").age == 1


def test_a_move_to_the_same_bin_changes_nothing_and_is_noted(desk: Desk) -> None:
    desk.receive(2)
    before = desk.bin().seq
    assert [entry.kind for entry in desk.do(move("A-1", "A-1", 2))] == [Kind.REQUEST_NOTED]
    assert desk.bin().seq == before


def test_a_move_of_one_lot_leaves_the_others_and_their_reservations(desk: Desk) -> None:
    desk.receive(2, lot="L1")
    desk.receive(2, lot="L2")
    reservation = desk.reserve(4)
    desk.do(move("A-1", "B-1", 2, "L2"))
    assert places(reservation) == [("A-1", "L1", 2), ("B-1", "L2", 2)]


def test_moved_units_are_released_where_they_are(desk: Desk) -> None:
    desk.receive(2)
    reservation = desk.reserve(2)
    desk.do(move("A-1", "A-2", 2))
    desk.do(ReleaseReservation(*named(reservation)))
    assert (desk.balance("A-1"), desk.balance("A-2")) == ((0, 0, 0), (2, 0, 0))


def test_an_adjustment_records_its_reason_and_sign(desk: Desk) -> None:
    desk.receive(5)
    (entry,) = desk.do(adjust(-2))
    assert (entry.kind, entry.quantity, entry.reason, entry.on_hand) == (Kind.STOCK_ADJUSTED, -2, "damage", 3)


def test_an_adjustment_does_not_touch_what_is_reserved_or_held(desk: Desk) -> None:
    desk.receive(5)
    desk.reserve(2)
    desk.do(HoldStock(SITE, SKU, "A-1", 2, None, "damage"))
    refusal = desk.refusal(adjust(-2))
    assert (refusal.code, refusal.fields["requested"], refusal.fields["available"]) == (
        Refusal.INSUFFICIENT_STOCK, 2, 1,
    )  # fmt: skip


def test_an_adjustment_of_a_bin_with_several_lots_names_one(desk: Desk) -> None:
    desk.receive(1, lot="L1")
    desk.receive(1, lot="L2")
    assert desk.code(adjust(1)) == Refusal.LOT_REQUIRED
    desk.do(adjust(-1, lot="L2"))
    desk.do(adjust(4))
    assert desk.lot(lot="L1").on_hand == 5


def test_an_adjustment_upwards_may_open_a_bin(desk: Desk) -> None:
    desk.do(adjust(3))
    assert desk.balance() == (3, 0, 0)


def test_expired_units_are_written_off_with_that_reason_alone(desk: Desk) -> None:
    desk.receive(5, lot="L1", expires_at_ms=NOON_MS)
    desk.do(ExpireStock(SITE, SKU))
    assert desk.code(adjust(-5, "damage", lot="L1")) == Refusal.INSUFFICIENT_STOCK
    assert desk.code(adjust(-6, "expired", lot="L1")) == Refusal.INSUFFICIENT_STOCK
    desk.do(adjust(-5, "expired", lot="L1"))
    assert desk.balance(lot="L1") == (0, 0, 0)


def test_a_replayed_ledger_gives_the_balances_that_it_records(desk: Desk) -> None:
    desk.receive(5)
    desk.do(adjust(-2))
    bad = desk.ledger[-1]._replace(on_hand=4)
    with pytest.raises(AssertionError, match="on hand differs"):
        replayed([desk.ledger[0], bad])


def test_a_missing_entry_stops_the_replay(desk: Desk) -> None:
    desk.receive(5)
    desk.receive(5)
    with pytest.raises(AssertionError, match="missing or comes twice"):
        replayed(desk.ledger[1:])


def test_an_entry_of_an_unknown_reservation_stops_the_replay(desk: Desk) -> None:
    desk.receive(5)
    reservation = desk.reserve(1)
    (entry,) = desk.do(ReleaseReservation(*named(reservation)))
    with pytest.raises(AssertionError, match="not active"):
        replayed([*desk.ledger[:2], entry._replace(reservation=77)])

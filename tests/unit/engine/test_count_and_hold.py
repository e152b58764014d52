"""Counting while stock moves, and taking units off sale."""

from engine.commands import CountStock, HoldStock, PickReservation, PickStock, ReceiveStock, UnholdStock
from engine.entries import Kind
from engine.moving import count_needs_past
from engine.refusals import Refusal
from tests.unit.engine.desk import SITE, SKU, Desk, named


def count(
    counted: int, seen_seq: int | None = None, seen: int | None = None, lot: str | None = None
) -> CountStock:
    return CountStock(SITE, SKU, "A-1", counted, lot, seen_seq, seen)


def hold(quantity: int, reason: str = "damage", lot: str | None = None) -> HoldStock:
    return HoldStock(SITE, SKU, "A-1", quantity, lot, reason)


def unhold(quantity: int, reason: str = "damage", lot: str | None = None) -> UnholdStock:
    return UnholdStock(SITE, SKU, "A-1", quantity, lot, reason)


def test_a_count_sets_on_hand_and_answers_with_the_variance(desk: Desk) -> None:
    desk.receive(10)
    answer = desk.ask(count(8))
    assert (answer["variance"], answer["bin"]["on_hand"]) == (-2, 8)


def test_a_count_that_agrees_is_recorded_all_the_same(desk: Desk) -> None:
    desk.receive(10)
    (entry,) = desk.do(count(10))
    assert (entry.kind, entry.quantity) == (Kind.STOCK_COUNTED, 0)


def test_a_count_may_find_stock_where_none_was_known(desk: Desk) -> None:
    assert desk.ask(count(3))["variance"] == 3
    assert desk.balance() == (3, 0, 0)


def test_a_count_of_nothing_in_an_unknown_bin_makes_it_known(desk: Desk) -> None:
    assert desk.ask(count(0))["bin"]["on_hand"] == 0


def test_what_moved_after_the_counter_looked_is_kept(desk: Desk) -> None:
    desk.receive(10)
    seen_seq = desk.partition.seq
    desk.do(PickStock(SITE, SKU, 4))
    assert count_needs_past(desk.partition, count(9, seen_seq))
    assert desk.ask(count(9, seen_seq, 10))["variance"] == -1
    assert desk.balance() == (5, 0, 0)


def test_a_count_whose_lot_has_not_changed_needs_no_past(desk: Desk) -> None:
    desk.receive(10)
    seen_seq = desk.partition.seq
    desk.receive(5, sku="jam")
    assert not count_needs_past(desk.partition, count(9, seen_seq))
    assert desk.ask(count(9, seen_seq))["variance"] == -1
    assert not count_needs_past(desk.partition, count(9))
    assert not count_needs_past(desk.partition, count(9, desk.partition.seq))


def test_a_count_from_the_future_is_refused(desk: Desk) -> None:
    desk.receive(10)
    refusal = desk.refusal(count(10, 2))
    assert (refusal.code, refusal.fields["seq"]) == (Refusal.SEQ_NOT_REACHED, 1)


def test_a_count_below_what_is_promised_is_refused(desk: Desk) -> None:
    desk.receive(10)
    desk.reserve(4)
    desk.do(hold(3))
    refusal = desk.refusal(count(6))
    assert refusal.code == Refusal.BELOW_COMMITTED
    assert (refusal.fields["reserved"], refusal.fields["held"], refusal.fields["on_hand"]) == (4, 3, 10)
    desk.do(count(7))
    assert desk.balance() == (7, 4, 3)


def test_a_count_of_a_bin_with_several_lots_names_one(desk: Desk) -> None:
    desk.receive(1, lot="L1")
    desk.receive(1, lot="L2")
    assert desk.code(count(5, 99)) == Refusal.LOT_REQUIRED
    assert desk.ask(count(5, lot="L2"))["variance"] == 4


def test_a_count_confirms_what_a_picker_did_not_find(desk: Desk) -> None:
    desk.receive(10)
    reservation = desk.reserve(6)
    desk.do(PickReservation(*named(reservation), quantity=4, short_reason="shelf empty"))
    assert desk.balance() == (6, 0, 2)
    assert desk.ask(count(4))["variance"] == -2
    assert desk.balance() == (4, 0, 0)
    assert desk.lot().holds is None


def test_a_count_that_finds_the_missing_units_puts_them_back_on_sale(desk: Desk) -> None:
    desk.receive(10)
    desk.do(PickReservation(*named(desk.reserve(6)), quantity=4, short_reason="shelf empty"))
    assert desk.ask(count(5))["variance"] == -1
    assert desk.balance() == (5, 0, 0)


def test_a_count_from_before_a_short_pick_settles_only_what_it_misses(desk: Desk) -> None:
    desk.receive(10)
    seen_seq = desk.partition.seq
    desk.do(PickReservation(*named(desk.reserve(6)), quantity=3, short_reason="shelf empty"))
    assert desk.balance() == (7, 0, 3)
    desk.do(count(9, seen_seq, 10))
    assert desk.balance() == (6, 0, 2)


def test_held_units_are_not_for_sale(desk: Desk) -> None:
    desk.receive(10)
    answer = desk.ask(hold(4))
    assert (answer["held"], answer["available"], answer["lots"][0]["holds"]) == (4, 6, {"damage": 4})
    assert desk.code(PickStock(SITE, SKU, 7)) == Refusal.INSUFFICIENT_STOCK


def test_only_available_units_are_held(desk: Desk) -> None:
    desk.receive(10)
    desk.reserve(4)
    refusal = desk.refusal(hold(7))
    assert (refusal.code, refusal.fields["available"]) == (Refusal.INSUFFICIENT_STOCK, 6)


def test_a_hold_spans_the_lots_of_a_bin_or_names_one(desk: Desk) -> None:
    desk.receive(2, lot="L1")
    desk.receive(2, lot="L2")
    assert [entry.lot for entry in desk.do(hold(3))] == ["L1", "L2"]
    assert [entry.lot for entry in desk.do(hold(1, lot="L2"))] == ["L2"]


def test_units_held_for_the_same_reason_go_back_on_sale_first(desk: Desk) -> None:
    desk.receive(10)
    for reason in ("quality", "damage", "quarantine"):
        desk.do(hold(2, reason))
    desk.do(unhold(1, "quality"))
    assert desk.lot().holds == {"damage": 2, "quality": 1, "quarantine": 2}
    entries = desk.do(unhold(4, "quality"))
    assert [(entry.reason, entry.quantity) for entry in entries] == [
        ("quality", 1),
        ("damage", 2),
        ("quarantine", 1),
    ]
    assert [entry.detail for entry in entries] == [None, '{"why": "quality"}', '{"why": "quality"}']


def test_no_more_goes_back_on_sale_than_is_held(desk: Desk) -> None:
    desk.receive(10)
    desk.do(hold(2))
    refusal = desk.refusal(unhold(3))
    assert (refusal.code, refusal.fields["held"]) == (Refusal.EXCEEDS_HELD, 2)


def test_unholding_refuses_what_is_unknown_first(desk: Desk) -> None:
    assert desk.code(unhold(1)) == Refusal.STOCK_NOT_FOUND
    desk.do(ReceiveStock(SITE, SKU, "Z", 1, "L1"))
    assert desk.code(unhold(1, lot="L1")) == Refusal.BIN_NOT_FOUND
    desk.receive(1)
    assert desk.code(unhold(1, lot="L1")) == Refusal.LOT_NOT_FOUND

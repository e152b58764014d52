"""Reserving: what is promised, to whom, and what is refused."""

import pytest

from engine.apply import apply
from engine.commands import ReceiveStock, ReleaseReservation, ReserveLine, ReserveStock, ReserveTentatively
from engine.decide import decide
from engine.entries import Kind
from engine.limits import QUANTITY_MAX
from engine.refusals import Refusal, Refused
from engine.reserving import summed
from engine.state import Partition
from tests.unit.engine.desk import NOON_MS, SITE, SKU, Desk, places, reserve_line


def test_a_reservation_takes_units_from_available_and_leaves_them_on_hand(desk: Desk) -> None:
    desk.receive(10)
    desk.reserve(4)
    assert desk.balance() == (10, 4, 0)
    assert desk.lot().available == 6


def test_the_last_unit_is_reserved_once(desk: Desk) -> None:
    desk.receive(1)
    desk.reserve(1)
    refusal = desk.refusal(ReserveStock((reserve_line(1),)))
    assert refusal.code == Refusal.INSUFFICIENT_STOCK
    assert (refusal.fields["requested"], refusal.fields["available"]) == (1, 0)


def test_one_entry_carries_the_key_and_the_balances_after_it(desk: Desk) -> None:
    desk.receive(10)
    (entry,) = desk.do(ReserveStock((reserve_line(3),), 60, "order 7"), key="k1")
    assert (entry.kind, entry.key, entry.fingerprint, entry.span) == (Kind.STOCK_RESERVED, "k1", 7, 1)
    assert (entry.on_hand, entry.reserved, entry.held, entry.quantity) == (10, 3, 0, 3)
    assert (entry.reservation, entry.line) == (entry.seq, 0)
    assert (entry.reference, entry.expires_at_ms) == ("order 7", NOON_MS + 60_000)


def test_only_the_first_of_several_entries_carries_the_key(desk: Desk) -> None:
    desk.receive(2, "A-1")
    desk.receive(2, "A-2")
    first, second = desk.do(ReserveStock((reserve_line(4),)), key="k1")
    assert (first.key, first.span, first.fingerprint) == ("k1", 2, 7)
    assert (second.key, second.span, second.fingerprint) == (None, 0, None)
    assert first.reservation == second.reservation == first.seq
    assert second.seq == first.seq + 1


def test_a_reservation_without_ttl_is_hard(desk: Desk) -> None:
    desk.receive(1)
    assert desk.reserve(1).expires_at_ms is None


def test_an_unknown_sku_has_no_available_units(desk: Desk) -> None:
    assert desk.refusal(ReserveStock((reserve_line(1),))).fields["available"] == 0


def test_lines_that_name_a_lot_are_decided_before_those_that_name_a_bin_and_these_before_others() -> None:
    lines = [
        ReserveLine(SITE, SKU, 1, index=0),
        ReserveLine(SITE, SKU, 1, "A-1", index=1),
        ReserveLine(SITE, SKU, 1, None, "L1", index=2),
        ReserveLine(SITE, SKU, 1, "A-1", "L1", index=3),
    ]
    assert [line.index for line in summed(lines)] == [3, 2, 1, 0]


def test_a_named_bin_serves_alone(desk: Desk) -> None:
    desk.receive(5, "A-1")
    desk.receive(5, "A-2")
    assert places(desk.reserve(3, location="A-2")) == [("A-2", "", 3)]
    refusal = desk.refusal(ReserveStock((reserve_line(3, location="A-2"),)))
    assert (refusal.code, refusal.fields["available"]) == (Refusal.INSUFFICIENT_STOCK, 2)


def test_a_bin_that_does_not_exist_has_no_available_units(desk: Desk) -> None:
    desk.receive(5)
    assert desk.code(ReserveStock((reserve_line(1, location="Z"),))) == Refusal.INSUFFICIENT_STOCK


def test_a_named_lot_serves_alone(desk: Desk) -> None:
    desk.receive(5, lot="L1")
    desk.receive(5, lot="L2")
    assert places(desk.reserve(5, lot="L2")) == [("A-1", "L2", 5)]
    assert desk.code(ReserveStock((reserve_line(1, lot="L2"),))) == Refusal.INSUFFICIENT_STOCK


def test_several_skus_are_reserved_together_or_not_at_all(desk: Desk) -> None:
    desk.receive(5, sku="tea")
    desk.receive(1, sku="jam")
    lines = (ReserveLine(SITE, "tea", 2, index=0), ReserveLine(SITE, "jam", 2, index=1))
    refusal = desk.refusal(ReserveStock(lines))
    assert (refusal.fields["line"], refusal.fields["sku"], refusal.fields["available"]) == (1, "jam", 1)
    assert desk.balance(sku="tea") == (5, 0, 0)


def test_a_partial_reservation_takes_what_there_is_and_remembers_what_was_asked(desk: Desk) -> None:
    desk.receive(3, sku="tea")
    lines = (ReserveLine(SITE, "jam", 2, index=0), ReserveLine(SITE, "tea", 5, index=1))
    reservation = desk.reserve_lines(*lines, partial=True)
    asked = [(line.sku, line.requested, line.quantity) for line in reservation.lines]
    assert asked == [("jam", 2, 0), ("tea", 5, 3)]


def test_a_partial_reservation_of_nothing_is_refused(desk: Desk) -> None:
    desk.receive(1)
    desk.reserve(1)
    assert desk.code(ReserveStock((reserve_line(1),), None, None, True)) == Refusal.INSUFFICIENT_STOCK


def test_lines_of_the_same_sku_are_summed_before_they_are_decided(desk: Desk) -> None:
    desk.receive(5)
    lines = (reserve_line(3, index=0), reserve_line(3, index=1))
    refusal = desk.refusal(ReserveStock(lines))
    assert (refusal.fields["requested"], refusal.fields["available"]) == (6, 5)
    reservation = desk.reserve_lines(reserve_line(2, index=0), reserve_line(3, index=1))
    assert [(line.index, line.quantity) for line in reservation.lines] == [(0, 5)]


def test_a_line_that_takes_any_bin_leaves_the_bin_that_another_line_names(desk: Desk) -> None:
    desk.receive(2, "A-1")
    desk.receive(2, "A-2")
    reservation = desk.reserve_lines(reserve_line(2, index=0), reserve_line(2, index=1, location="A-1"))
    assert [(line.index, line.allocations[0].location) for line in reservation.lines] == [
        (0, "A-2"),
        (1, "A-1"),
    ]


def test_lines_of_one_sku_never_share_units(desk: Desk) -> None:
    desk.receive(4, "A-1", lot="L1")
    lines = (
        reserve_line(2, index=0),
        reserve_line(2, index=1, location="A-1"),
        reserve_line(2, index=2, location="A-1", lot="L1"),
    )
    assert desk.code(ReserveStock(lines)) == Refusal.INSUFFICIENT_STOCK
    assert desk.reserve_lines(*lines[:2]).open == 4


def test_lines_with_the_same_index_are_told_apart_by_their_place(desk: Desk) -> None:
    desk.receive(1, sku="tea")
    desk.receive(1, sku="jam")
    reservation = desk.reserve_lines(ReserveLine(SITE, "tea", 1), ReserveLine(SITE, "jam", 1))
    assert [(line.index, line.sku) for line in reservation.lines] == [(0, "tea"), (1, "jam")]


def test_lines_lie_in_order_of_their_index(desk: Desk) -> None:
    for sku in "abc":
        desk.receive(1, sku=sku)
    lines = [ReserveLine(SITE, sku, 1, index=index, location=place) for index, sku, place in
             ((0, "a", None), (1, "b", "A-1"), (2, "c", None))]  # fmt: skip
    reservation = desk.reserve_lines(*reversed(lines))
    assert [line.index for line in reservation.lines] == [0, 1, 2]


@pytest.mark.timeout(20)
def test_ten_thousand_lines_take_time_in_proportion() -> None:
    partition = Partition(0)
    lines = tuple(ReserveLine(SITE, f"sku-{number}", 1, index=number) for number in range(10_000))
    receipts = [ReceiveStock(SITE, line.sku, "A-1", 1) for line in lines]
    for command in (*receipts, ReserveStock(lines), ReleaseReservation(10_001, NOON_MS)):
        entries = decide(partition, command, NOON_MS)
        assert not isinstance(entries, Refused)
        for entry in entries:
            apply(partition, entry)
    assert partition.seq == 30_000
    assert partition.reservations[10_001].state == "released"


@pytest.mark.parametrize("partial", [False, True])
def test_an_expired_lot_that_is_named_is_refused_as_such(desk: Desk, partial: bool) -> None:
    desk.receive(5, lot="L1", expires_at_ms=NOON_MS)
    command = ReserveStock((reserve_line(1, lot="L1"),), None, None, partial)
    assert desk.code(command) == Refusal.LOT_EXPIRED


def test_an_expired_lot_comes_before_a_shortage_on_another_line(desk: Desk) -> None:
    desk.receive(5, lot="L1", expires_at_ms=NOON_MS)
    lines = (reserve_line(1, sku="jam", index=0), reserve_line(1, lot="L1", index=1))
    assert desk.code(ReserveStock(lines)) == Refusal.LOT_EXPIRED


def test_a_sum_beyond_the_limit_is_refused(desk: Desk) -> None:
    desk.receive(5)
    lines = (reserve_line(QUANTITY_MAX, index=0), reserve_line(QUANTITY_MAX, index=1))
    assert desk.code(ReserveStock(lines)) == Refusal.INSUFFICIENT_STOCK
    assert desk.code(ReserveStock(lines, None, None, True)) == Refusal.QUANTITY_LIMIT


def test_the_largest_quantity_can_be_reserved(desk: Desk) -> None:
    desk.receive(QUANTITY_MAX)
    assert desk.reserve(QUANTITY_MAX).open == QUANTITY_MAX


def test_time_does_not_go_back(desk: Desk) -> None:
    desk.receive(2)
    desk.now_ms -= 5_000
    assert desk.reserve(1, ttl_s=10).expires_at_ms == NOON_MS + 10_000
    assert [entry.at_ms for entry in desk.ledger] == [NOON_MS, NOON_MS]


def test_a_shortage_says_how_much_is_pending(desk: Desk) -> None:
    desk.receive(5)
    desk.do(ReserveTentatively("a", 9, 1, (reserve_line(4),)))
    refusal = desk.refusal(ReserveStock((reserve_line(2),)))
    assert (refusal.fields["available"], refusal.fields["pending"]) == (1, 4)
    assert refusal.fields["sku"] == SKU

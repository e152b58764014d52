"""What becomes of a reservation: picked, released, extended, expired; each once."""

import pytest

from engine.commands import (
    AbandonReservation,
    Command,
    ConfirmReservation,
    ExpireStock,
    ExtendReservation,
    PickReservation,
    ReleaseReservation,
    ReserveLine,
    ReserveStock,
)
from engine.entries import Kind
from engine.moving import next_due_ms
from engine.refusals import Refusal
from engine.state import NEVER_MS
from tests.unit.engine.desk import NOON_MS, SITE, SKU, Desk, named, places, reserve_line


def test_a_pick_of_all_resolves_the_reservation(desk: Desk) -> None:
    desk.receive(5)
    reservation = desk.reserve(3)
    answer = desk.ask(PickReservation(*named(reservation)))
    assert (answer["state"], answer["lines"][0]["picked"]) == ("picked", 3)
    assert desk.balance() == (2, 0, 0)
    assert desk.stock().reservations is None


def test_a_pick_of_a_part_leaves_the_rest_reserved(desk: Desk) -> None:
    desk.receive(5)
    reservation = desk.reserve(3)
    assert desk.ask(PickReservation(*named(reservation), quantity=2))["state"] == "part_picked"
    assert desk.balance() == (3, 1, 0)
    assert desk.ask(PickReservation(*named(reservation), quantity=1))["state"] == "picked"


def test_a_pick_of_one_sku_leaves_the_others(desk: Desk) -> None:
    desk.receive(2, sku="tea")
    desk.receive(2, sku="jam")
    reservation = desk.reserve_lines(
        ReserveLine(SITE, "tea", 2, index=0), ReserveLine(SITE, "jam", 2, index=1)
    )
    desk.do(PickReservation(*named(reservation), sku="jam"))
    assert (desk.balance(sku="tea"), desk.balance(sku="jam")) == ((2, 2, 0), (0, 0, 0))
    assert desk.stock("jam").reservations is None
    assert desk.stock("tea").reservations == {reservation.number: reservation}


def test_a_pick_names_the_bin_that_it_takes_from(desk: Desk) -> None:
    desk.receive(2, "A-1")
    desk.receive(2, "A-2")
    reservation = desk.reserve(4)
    desk.do(PickReservation(*named(reservation), location="A-2"))
    assert places(reservation) == [("A-1", "", 2)]


def test_a_pick_from_another_bin_takes_the_reservation_there(desk: Desk) -> None:
    desk.receive(5, "A-1")
    reservation = desk.reserve(3, location="A-1")
    desk.receive(5, "B-1")
    entries = desk.do(PickReservation(*named(reservation), quantity=2, location="B-1"))
    assert [(entry.kind, entry.location) for entry in entries] == [
        (Kind.RESERVATION_MOVED_OUT, "A-1"),
        (Kind.RESERVATION_MOVED_IN, "B-1"),
        (Kind.STOCK_PICKED, "B-1"),
    ]
    assert (desk.balance("A-1"), desk.balance("B-1")) == ((5, 1, 0), (3, 0, 0))
    assert reservation.lines[0].picked == 2


def test_a_pick_of_another_lot_takes_the_reservation_there(desk: Desk) -> None:
    desk.receive(5, lot="L1")
    reservation = desk.reserve(3)
    desk.receive(5, lot="L2")
    desk.do(PickReservation(*named(reservation), lot="L2"))
    assert (desk.balance(lot="L1"), desk.balance(lot="L2")) == ((5, 0, 0), (2, 0, 0))


def test_a_pick_from_a_bin_that_holds_too_few_takes_the_rest_of_its_free_units(desk: Desk) -> None:
    desk.receive(2, "A-1")
    desk.receive(2, "A-2")
    reservation = desk.reserve(4)
    desk.receive(1, "A-2")
    desk.do(PickReservation(*named(reservation), quantity=3, location="A-2"))
    assert places(reservation) == [("A-1", "", 1)]
    refusal = desk.refusal(PickReservation(*named(reservation), quantity=1, location="A-2"))
    assert (refusal.code, refusal.fields["available"], refusal.fields["location"]) == (
        Refusal.INSUFFICIENT_STOCK, 0, "A-2",
    )  # fmt: skip


def test_a_short_pick_holds_what_was_not_found(desk: Desk) -> None:
    desk.receive(5)
    reservation = desk.reserve(4)
    picked, shorted = desk.do(PickReservation(*named(reservation), quantity=1, short_reason="empty"))
    assert (picked.kind, shorted.kind, shorted.quantity) == (Kind.STOCK_PICKED, Kind.STOCK_SHORTED, 3)
    assert (shorted.reason, shorted.detail) == ("short", '{"why": "empty"}')
    assert desk.balance() == (4, 0, 3)
    assert (reservation.state, reservation.lines[0].short) == ("picked", 3)


def test_a_short_pick_may_find_nothing_at_all(desk: Desk) -> None:
    desk.receive(5)
    reservation = desk.reserve(4)
    desk.do(PickReservation(*named(reservation), quantity=0, short_reason="empty"))
    assert desk.balance() == (5, 0, 4)
    assert reservation.state == "released"


def test_a_short_pick_at_one_bin_leaves_the_other_bins_reserved(desk: Desk) -> None:
    desk.receive(2, "A-1")
    desk.receive(2, "A-2")
    reservation = desk.reserve(4)
    desk.do(PickReservation(*named(reservation), quantity=1, location="A-1", short_reason="empty"))
    assert places(reservation) == [("A-2", "", 2)]
    assert desk.balance("A-1") == (1, 0, 1)


def test_no_more_is_picked_than_is_reserved(desk: Desk) -> None:
    desk.receive(5)
    reservation = desk.reserve(3)
    refusal = desk.refusal(PickReservation(*named(reservation), quantity=4))
    assert (refusal.code, refusal.fields) == (Refusal.EXCEEDS_RESERVED, {"requested": 4, "reserved": 3})


def test_a_release_gives_back_what_was_allocated_last(desk: Desk) -> None:
    desk.receive(2, "A-1")
    desk.receive(2, "A-2")
    reservation = desk.reserve(4)
    desk.do(ReleaseReservation(*named(reservation), quantity=3))
    assert places(reservation) == [("A-1", "", 1)]
    assert reservation.lines[0].released == 3


def test_what_is_picked_is_not_released(desk: Desk) -> None:
    desk.receive(5)
    reservation = desk.reserve(3)
    desk.do(PickReservation(*named(reservation), quantity=2))
    assert desk.code(ReleaseReservation(*named(reservation), quantity=2)) == Refusal.EXCEEDS_RESERVED
    assert desk.ask(ReleaseReservation(*named(reservation)))["state"] == "picked"


def test_a_sku_whose_units_are_gone_has_nothing_to_release(desk: Desk) -> None:
    desk.receive(2, sku="tea")
    desk.receive(2, sku="jam")
    reservation = desk.reserve_lines(
        ReserveLine(SITE, "tea", 2, index=0), ReserveLine(SITE, "jam", 2, index=1)
    )
    desk.do(ReleaseReservation(*named(reservation), sku="jam"))
    assert desk.code(ReleaseReservation(*named(reservation), sku="jam")) == Refusal.EXCEEDS_RESERVED
    assert desk.code(PickReservation(*named(reservation), sku="jam")) == Refusal.EXCEEDS_RESERVED


def test_a_quantity_of_several_skus_names_one(desk: Desk) -> None:
    desk.receive(2, sku="tea")
    desk.receive(2, sku="jam")
    reservation = desk.reserve_lines(
        ReserveLine(SITE, "tea", 2, index=0), ReserveLine(SITE, "jam", 2, index=1)
    )
    assert desk.code(ReleaseReservation(*named(reservation), quantity=1)) == Refusal.SKU_REQUIRED
    assert desk.code(PickReservation(*named(reservation), quantity=1)) == Refusal.SKU_REQUIRED


@pytest.mark.parametrize("resolve, state", [
    (PickReservation, "picked"),
    (ReleaseReservation, "released"),
])  # fmt: skip
def test_the_second_time_says_how_it_was_resolved(
    desk: Desk, resolve: type[PickReservation | ReleaseReservation], state: str
) -> None:
    desk.receive(5)
    reservation = desk.reserve(3, ttl_s=60)
    desk.do(resolve(*named(reservation)))
    again: list[Command] = [
        PickReservation(*named(reservation), quantity=99),
        ReleaseReservation(*named(reservation), sku="jam"),
        ExtendReservation(*named(reservation), 60),
        ConfirmReservation(*named(reservation), 7),
        AbandonReservation(*named(reservation)),
    ]
    for command in again:
        refusal = desk.refusal(command)
        assert (refusal.code, refusal.fields) == (Refusal.RESERVATION_RESOLVED, {"state": state})


def test_an_unknown_reservation_is_not_found(desk: Desk) -> None:
    desk.receive(5)
    reservation = desk.reserve(3)
    for name in ((99, NOON_MS), (reservation.number, NOON_MS + 1)):
        commands: list[Command] = [
            PickReservation(*name), ReleaseReservation(*name), ExtendReservation(*name, 1),
            ConfirmReservation(*name, 7), AbandonReservation(*name),
        ]  # fmt: skip
        assert {desk.code(command) for command in commands} == {Refusal.RESERVATION_NOT_FOUND}


def test_a_sku_that_is_not_reserved_is_refused_before_its_quantity(desk: Desk) -> None:
    desk.receive(5)
    reservation = desk.reserve(3)
    assert desk.code(PickReservation(*named(reservation), quantity=9, sku="jam")) == Refusal.SKU_NOT_RESERVED
    assert (
        desk.code(ReleaseReservation(*named(reservation), quantity=9, sku="jam")) == Refusal.SKU_NOT_RESERVED
    )


def test_a_soft_reservation_is_good_until_its_time_and_not_at_it(desk: Desk) -> None:
    desk.receive(5)
    reservation = desk.reserve(3, ttl_s=60)
    desk.now_ms = NOON_MS + 59_999
    assert desk.do(ExpireStock(SITE, SKU)) == []
    desk.do(PickReservation(*named(reservation), quantity=1))
    desk.now_ms = NOON_MS + 60_000
    for command in (
        PickReservation(*named(reservation)),
        ReleaseReservation(*named(reservation)),
        ExtendReservation(*named(reservation), 60),
    ):
        refusal = desk.refusal(command)
        assert (refusal.code, refusal.fields["state"]) == (Refusal.RESERVATION_RESOLVED, "expired")
    (entry,) = desk.do(ExpireStock(SITE, SKU))
    assert (entry.kind, entry.quantity) == (Kind.RESERVATION_EXPIRED, 2)
    assert (reservation.lines[0].expired, reservation.state) == (2, "picked")
    assert desk.balance() == (4, 0, 0)


def test_an_unpicked_reservation_expires_whole(desk: Desk) -> None:
    desk.receive(5, sku="tea")
    desk.receive(5, sku="jam")
    lines = (ReserveLine(SITE, "tea", 2, index=0), ReserveLine(SITE, "jam", 2, index=1))
    reservation = desk.reserve_lines(*lines, ttl_s=60)
    desk.now_ms += 60_000
    assert desk.ask(ExpireStock(SITE, "jam")) == {"expired": 4}
    assert reservation.state == "expired"
    assert desk.do(ExpireStock(SITE, "tea")) == []


def test_an_extension_counts_from_now(desk: Desk) -> None:
    desk.receive(5)
    reservation = desk.reserve(3, ttl_s=60)
    desk.now_ms += 30_000
    desk.do(ExtendReservation(*named(reservation), 60))
    assert reservation.expires_at_ms == NOON_MS + 90_000
    assert next_due_ms(desk.stock()) == NOON_MS + 90_000
    desk.do(ExtendReservation(*named(reservation), 1))
    assert next_due_ms(desk.stock()) == desk.stock().due_ms == NOON_MS + 31_000


def test_a_hard_reservation_is_not_extended_and_does_not_expire(desk: Desk) -> None:
    desk.receive(5)
    reservation = desk.reserve(3)
    assert desk.code(ExtendReservation(*named(reservation), 60)) == Refusal.RESERVATION_HARD
    desk.now_ms += 10**12
    assert desk.do(ExpireStock(SITE, SKU)) == []
    assert next_due_ms(desk.stock()) == NEVER_MS


def test_a_clock_that_goes_back_revives_nothing(desk: Desk) -> None:
    desk.receive(5)
    reservation = desk.reserve(3, ttl_s=60)
    desk.now_ms = NOON_MS + 60_000
    desk.receive(1)
    desk.now_ms = NOON_MS
    assert desk.code(PickReservation(*named(reservation))) == Refusal.RESERVATION_RESOLVED


def test_a_released_unit_can_be_reserved_again(desk: Desk) -> None:
    desk.receive(1)
    desk.do(ReleaseReservation(*named(desk.reserve(1))))
    assert desk.do(ReserveStock((reserve_line(1),)))[0].reserved == 1

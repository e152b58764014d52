"""Reservations over several partitions: tentative shares, confirmed or given back."""

import pytest

from engine.commands import (
    AbandonReservation,
    ConfirmReservation,
    ExtendReservation,
    MoveStock,
    PickReservation,
    ReleaseReservation,
    ReserveTentatively,
    ReserveTogether,
)
from engine.entries import Kind
from engine.images import capture, restore
from engine.refusals import Refusal
from engine.state import Partition, Reservation
from tests.unit.engine.desk import NOON_MS, SITE, SKU, Desk, named, reserve_line

TTL_MS = 5_000
DEADLINE_MS = NOON_MS + TTL_MS
HOME = 3
OPENED_SEQ = 14


def tentative(quantity: int, *, partial: bool = False, sku: str = SKU) -> ReserveTentatively:
    return ReserveTentatively(
        "attempt-1", HOME, OPENED_SEQ, (reserve_line(quantity, index=4, sku=sku),), "r", partial, TTL_MS
    )


@pytest.fixture
def share(desk: Desk) -> Reservation:
    """A tentative share of three units."""
    desk.receive(5)
    (entry,) = desk.do(tentative(3))
    return desk.partition.reservations[entry.seq]


def test_a_tentative_share_holds_its_units(desk: Desk, share: Reservation) -> None:
    assert desk.balance() == (5, 3, 0)
    assert (share.attempt, share.home, share.deadline_ms) == (
        "attempt-1", (HOME, OPENED_SEQ), DEADLINE_MS,
    )  # fmt: skip
    assert desk.partition.tentative == {share.number: DEADLINE_MS}
    assert share.lines[0].index == 4


def test_a_tentative_share_is_pending_for_everybody_else(desk: Desk, share: Reservation) -> None:
    for command in (
        PickReservation(*named(share), is_share=True),
        ReleaseReservation(*named(share), is_share=True),
        ExtendReservation(*named(share), 9, is_share=True),
    ):
        assert desk.code(command) == Refusal.RESERVATION_PENDING


def test_a_reservation_that_spans_partitions_is_addressed_as_a_whole(desk: Desk, share: Reservation) -> None:
    desk.do(ConfirmReservation(*named(share), 21))
    for command in (
        PickReservation(*named(share)),
        ReleaseReservation(*named(share)),
        ExtendReservation(*named(share), 9),
    ):
        assert desk.code(command) == Refusal.RESERVATION_SPANS


def test_a_confirmed_share_is_a_reservation_like_others(desk: Desk, share: Reservation) -> None:
    answer = desk.ask(ConfirmReservation(*named(share), 21, NOON_MS + 60_000))
    assert (answer["tentative"], answer["home"], answer["state"]) == (False, (HOME, 21), "held")
    assert (share.deadline_ms, share.expires_at_ms) == (None, NOON_MS + 60_000)
    assert desk.partition.tentative == {}
    assert desk.stock().due_ms == NOON_MS + 60_000
    desk.do(PickReservation(*named(share), is_share=True))
    assert share.state == "picked"


def test_a_share_is_confirmed_once_however_often(desk: Desk, share: Reservation) -> None:
    confirm = ConfirmReservation(*named(share), 21)
    assert len(desk.do(confirm)) == 1
    assert desk.do(confirm) == []
    desk.do(PickReservation(*named(share), is_share=True))
    assert desk.do(confirm) == []


def test_a_share_is_not_confirmed_by_two_homes(desk: Desk, share: Reservation) -> None:
    desk.do(ConfirmReservation(*named(share), 21))
    assert desk.code(ConfirmReservation(*named(share), 22)) == Refusal.RESERVATION_RESOLVED


def test_an_abandoned_share_gives_its_units_back(desk: Desk, share: Reservation) -> None:
    (entry,) = desk.do(AbandonReservation(*named(share)))
    assert (entry.kind, entry.reason) == (Kind.STOCK_RELEASED, "abandoned")
    assert desk.balance() == (5, 0, 0)
    assert desk.partition.tentative == {}
    assert desk.do(AbandonReservation(*named(share))) == []


def test_an_abandoned_share_is_never_confirmed(desk: Desk, share: Reservation) -> None:
    desk.do(AbandonReservation(*named(share)))
    refusal = desk.refusal(ConfirmReservation(*named(share), 21))
    assert (refusal.code, refusal.fields["state"]) == (Refusal.RESERVATION_RESOLVED, "released")


def test_a_confirmed_share_is_never_abandoned(desk: Desk, share: Reservation) -> None:
    desk.do(ConfirmReservation(*named(share), 21))
    assert desk.code(AbandonReservation(*named(share))) == Refusal.RESERVATION_RESOLVED
    assert desk.balance() == (5, 3, 0)


def test_a_share_that_moves_can_still_be_finished(desk: Desk, share: Reservation) -> None:
    desk.do(MoveStock(SITE, SKU, "A-1", "A-2", 5))
    assert desk.partition.tentative == {share.number: DEADLINE_MS}
    desk.do(AbandonReservation(*named(share)))
    assert desk.balance("A-2") == (5, 0, 0)


def test_a_partial_share_of_nothing_is_refused(desk: Desk) -> None:
    assert desk.code(tentative(3, partial=True)) == Refusal.INSUFFICIENT_STOCK


def test_tentative_shares_and_decisions_survive_recovery(desk: Desk, share: Reservation) -> None:
    lines = (reserve_line(1, index=1),)
    desk.do(ReserveTogether("attempt-1", desk.partition.seq, ((7, 12, NOON_MS),), lines))
    desk.do(ConfirmReservation(*named(share), 21))
    desk.do(tentative(1))
    original = desk.partition
    rows = capture(original, original.stocks, original.reservations)
    desk.partition = Partition(0)
    desk.partition.seq, desk.partition.at_ms = original.seq, original.at_ms
    restore(desk.partition, list(original.stocks), rows)
    assert desk.partition.tentative == original.tentative
    assert desk.partition.attempts == original.attempts
    assert desk.partition.reservations[share.number].home == (HOME, 21)
    assert desk.partition.reservations[3].parts == ((7, 12, NOON_MS),)


def test_a_share_notes_a_change_of_another_shares_sku(desk: Desk, share: Reservation) -> None:
    desk.do(ConfirmReservation(*named(share), 21))
    command = PickReservation(*named(share), 1, "jam", is_share=True)
    (entry,) = desk.do(command, key="k1 0")
    assert (entry.kind, entry.key, entry.reservation) == (Kind.REQUEST_NOTED, "k1 0", share.number)
    assert desk.ask(command)["lines"][0]["allocations"][0]["open"] == 3
    desk.do(PickReservation(*named(share), is_share=True))
    assert desk.code(command) == Refusal.RESERVATION_RESOLVED


def test_a_reservation_of_one_partition_refuses_a_sku_that_it_does_not_have(desk: Desk) -> None:
    desk.receive(5)
    reservation = desk.reserve(2)
    assert desk.code(PickReservation(*named(reservation), None, "jam")) == Refusal.SKU_NOT_RESERVED

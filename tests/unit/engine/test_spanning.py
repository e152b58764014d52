"""Reservations over several partitions: tentative shares, one decision, all or none."""

import pytest

from engine.commands import (
    AbandonReservation,
    ConfirmReservation,
    ExtendReservation,
    MoveStock,
    NoteRequest,
    PickReservation,
    ReleaseReservation,
    ReserveTentatively,
    ReserveTogether,
    SettleAttempt,
)
from engine.entries import Kind
from engine.images import capture, restore
from engine.refusals import Refusal
from engine.state import Partition, Reservation
from engine.touching import stock_keys
from tests.unit.engine.desk import NOON_MS, SITE, SKU, Desk, everything, named, replayed, reserve_line

TTL_MS = 5_000
DEADLINE_MS = NOON_MS + TTL_MS
HOME = 3
OPENED_SEQ = 14


def tentative(quantity: int, *, partial: bool = False, sku: str = SKU) -> ReserveTentatively:
    return ReserveTentatively(
        "attempt-1", HOME, OPENED_SEQ, (reserve_line(quantity, index=4, sku=sku),), "r", partial, TTL_MS
    )


def together(
    quantity: int, *, partial: bool = False, ttl_s: int | None = None, opened_seq: int = 9
) -> ReserveTogether:
    lines = (reserve_line(quantity, index=1),) if quantity else ()
    return ReserveTogether("attempt-1", opened_seq, ((7, 12, NOON_MS),), lines, ttl_s, "r", partial)


SETTLE = SettleAttempt("attempt-1", 9)


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


def test_the_home_partition_decides_and_names_the_shares(desk: Desk) -> None:
    desk.receive(5)
    decided, reserved = desk.do(together(2, ttl_s=60), key="k1")
    assert (decided.kind, decided.key, decided.span, decided.reservation) == (
        Kind.ATTEMPT_DECIDED, "k1", 2, decided.seq,
    )  # fmt: skip
    assert reserved.reservation == decided.seq
    reservation = desk.partition.reservations[decided.seq]
    assert (reservation.parts, reservation.home, reservation.deadline_ms) == (((7, 12, NOON_MS),), None, None)
    assert reservation.expires_at_ms == NOON_MS + 60_000
    assert desk.partition.attempts == {"attempt-1": decided.seq}


def test_a_home_without_lines_of_its_own_decides_too(desk: Desk) -> None:
    answer = desk.ask(together(0))
    assert (answer["lines"], answer["parts"]) == ([], ((7, 12, NOON_MS),))
    assert desk.ask(SETTLE)["decided"] is True


def test_a_shortage_at_home_decides_nothing(desk: Desk) -> None:
    desk.receive(1)
    assert desk.code(together(2)) == Refusal.INSUFFICIENT_STOCK
    assert desk.partition.attempts == {}


def test_a_partial_reservation_may_have_nothing_at_home(desk: Desk) -> None:
    answer = desk.ask(together(2, partial=True))
    assert [(line["requested"], line["quantity"]) for line in answer["lines"]] == [(2, 0)]
    assert desk.partition.attempts == {"attempt-1": 1}


def test_a_partial_reservation_that_has_nothing_anywhere_is_refused(desk: Desk) -> None:
    command = together(2, partial=True)._replace(parts=())
    assert desk.code(command) == Refusal.INSUFFICIENT_STOCK


def test_home_tells_an_attempt_where_it_opens(desk: Desk) -> None:
    desk.receive(5)
    refusal = desk.refusal(together(2, opened_seq=0))
    assert (refusal.code, refusal.fields) == (Refusal.ATTEMPT_ABANDONED, {"attempt": "attempt-1", "seq": 1})
    desk.do(together(2, opened_seq=1))


@pytest.mark.parametrize("step_ms", [-3_600_000, 3_600_000])
def test_a_clock_that_steps_abandons_no_attempt(desk: Desk, step_ms: int) -> None:
    desk.receive(5)
    desk.now_ms += step_ms
    desk.receive(1)
    desk.do(together(2, opened_seq=1))


def test_an_attempt_that_is_settled_undecided_is_never_decided(desk: Desk) -> None:
    desk.receive(5)
    settle = SettleAttempt("attempt-1", 1)
    assert desk.ask(settle) == {"decided": False}
    assert desk.ledger[-1].kind == Kind.ATTEMPT_ABANDONED
    assert desk.code(together(2, opened_seq=1)) == Refusal.ATTEMPT_ABANDONED
    assert desk.ask(settle) == {"decided": False}
    assert len(desk.ledger) == 2
    assert replayed(desk.ledger).closed_seq == desk.partition.closed_seq


def test_what_is_settled_closes_attempts_that_opened_before_it_and_none_that_opened_later(desk: Desk) -> None:
    desk.receive(5)
    desk.receive(5)
    desk.ask(SettleAttempt("other", 1))
    assert desk.code(together(1, opened_seq=1)) == Refusal.ATTEMPT_ABANDONED
    desk.do(together(1, opened_seq=2))


def test_an_attempt_can_be_opened_after_whatever_was_settled(desk: Desk) -> None:
    desk.receive(5)
    desk.ask(SettleAttempt("other", 10**9))
    refusal = desk.refusal(together(0, opened_seq=0))
    desk.do(together(0, opened_seq=refusal.fields["seq"]))


def test_a_decided_attempt_is_settled_as_decided_for_ever(desk: Desk) -> None:
    desk.receive(5)
    desk.do(together(2, ttl_s=60))
    for now_ms in (NOON_MS, DEADLINE_MS, DEADLINE_MS + 10**9):
        desk.now_ms = now_ms
        answer = desk.ask(SETTLE)
        assert (answer["decided"], answer["home_number"]) == (True, 2)
        assert answer["expires_at_ms"] == NOON_MS + 60_000


def test_tentative_shares_and_decisions_survive_recovery(desk: Desk, share: Reservation) -> None:
    desk.do(together(1))
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


def test_a_request_of_many_operations_takes_its_key_and_changes_nothing(desk: Desk) -> None:
    desk.receive(5)
    before = everything(desk.partition)
    (entry,) = desk.do(NoteRequest(99), key="k1")
    assert (entry.kind, entry.key, entry.fingerprint, entry.span) == (Kind.REQUEST_NOTED, "k1", 7, 1)
    assert (entry.sku, entry.quantity, entry.reservation) == (None, 0, None)
    assert everything(desk.partition) == {**before, "seq": entry.seq, "at_ms": entry.at_ms}
    assert desk.ask(NoteRequest(99)) == {}


@pytest.mark.parametrize("change", [PickReservation, ReleaseReservation])
def test_home_notes_a_change_of_the_whole_and_changes_nothing(
    desk: Desk, change: type[PickReservation] | type[ReleaseReservation]
) -> None:
    desk.receive(5)
    desk.do(together(2, ttl_s=60))
    reservation = desk.partition.reservations[2]
    command = change(*named(reservation))
    (entry,) = desk.do(command, key="k1")
    assert (entry.kind, entry.key, entry.reservation) == (Kind.REQUEST_NOTED, "k1", 2)
    assert (reservation.open, reservation.expires_at_ms) == (2, NOON_MS + 60_000)
    assert desk.ask(command)["parts"] == ((7, 12, NOON_MS),)
    desk.do(change(*named(reservation), is_share=True))
    assert desk.ask(command)["state"] in ("picked", "released")


def test_home_notes_an_extension_of_the_whole_and_keeps_its_end(desk: Desk) -> None:
    desk.receive(5)
    desk.do(together(2, ttl_s=60))
    reservation = desk.partition.reservations[2]
    (entry,) = desk.do(ExtendReservation(*named(reservation), 900))
    assert (entry.kind, reservation.expires_at_ms) == (Kind.REQUEST_NOTED, NOON_MS + 60_000)


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


def test_lines_that_found_nothing_elsewhere_are_shown_at_home(desk: Desk) -> None:
    desk.receive(1)
    missing = (reserve_line(3, index=0, sku="jam"), reserve_line(4, index=2, sku="jam"))
    command = together(2, partial=True)._replace(missing=missing)
    answer = desk.ask(command)
    lines = [(line["line"], line["sku"], line["requested"], line["quantity"]) for line in answer["lines"]]
    assert lines == [(0, "jam", 7, 0), (1, SKU, 2, 1)]
    reservation = desk.partition.reservations[2]
    assert everything(replayed(desk.ledger)) == everything(desk.partition)
    touched = set(stock_keys(desk.partition, ReleaseReservation(*named(reservation), is_share=True)))
    assert touched == {(SITE, SKU)}
    assert (SITE, "jam") not in desk.partition.stocks


def test_missing_lines_hold_nothing_by_themselves(desk: Desk) -> None:
    command = together(2, partial=True)._replace(parts=(), missing=(reserve_line(3, index=0, sku="jam"),))
    assert desk.code(command) == Refusal.INSUFFICIENT_STOCK

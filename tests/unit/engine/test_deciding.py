"""Reservations over several partitions at home: one decision for all, or none ever."""

import pytest

from engine.commands import (
    ExtendReservation,
    NoteRequest,
    PickReservation,
    ReleaseReservation,
    ReserveTogether,
    SettleAttempt,
)
from engine.entries import Kind
from engine.refusals import Refusal
from engine.touching import stock_keys
from tests.unit.engine.desk import NOON_MS, SITE, SKU, Desk, everything, named, replayed, reserve_line

OPENED_SEQ = 1
"""At the first entry of the home partition: there is one before anything is asked."""


def together(
    quantity: int, *, partial: bool = False, ttl_s: int | None = None, opened_seq: int = OPENED_SEQ
) -> ReserveTogether:
    lines = (reserve_line(quantity, index=1),) if quantity else ()
    return ReserveTogether("attempt-1", opened_seq, ((7, 12, NOON_MS),), lines, ttl_s, "r", partial)


SETTLE = SettleAttempt("attempt-1", OPENED_SEQ)


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
    desk.receive(1, sku="jam")
    answer = desk.ask(together(0))
    assert (answer["lines"], answer["parts"]) == ([], ((7, 12, NOON_MS),))
    assert desk.ask(SETTLE)["decided"] is True


def test_a_shortage_at_home_decides_nothing(desk: Desk) -> None:
    desk.receive(1)
    assert desk.code(together(2)) == Refusal.INSUFFICIENT_STOCK
    assert desk.partition.attempts == {}


def test_a_partial_reservation_may_have_nothing_at_home(desk: Desk) -> None:
    desk.receive(1, sku="jam")
    answer = desk.ask(together(2, partial=True))
    assert [(line["requested"], line["quantity"]) for line in answer["lines"]] == [(2, 0)]
    assert desk.partition.attempts == {"attempt-1": 2}


def test_a_partial_reservation_that_has_nothing_anywhere_is_refused(desk: Desk) -> None:
    desk.receive(1, sku="jam")
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
    desk.receive(5)
    desk.ask(SettleAttempt("other", 2))
    refusal = desk.refusal(together(0, opened_seq=0))
    assert refusal.fields["seq"] == 3
    desk.do(together(0, opened_seq=refusal.fields["seq"]))


@pytest.mark.parametrize("ahead", [1, 2, 10**9])
def test_an_attempt_of_a_ledger_that_was_put_back_is_neither_decided_nor_settled(
    desk: Desk, ahead: int
) -> None:
    """Settled, it could be decided when the ledger has come so far again, and its share would be gone."""
    desk.receive(5)
    opened_seq = desk.partition.seq + ahead
    refusal = desk.refusal(SettleAttempt("attempt-1", opened_seq))
    assert (refusal.code, refusal.fields) == (
        Refusal.SEQ_NOT_REACHED, {"seen_seq": opened_seq, "seq": 1},
    )  # fmt: skip
    refusal = desk.refusal(together(2, opened_seq=opened_seq))
    assert (refusal.code, refusal.fields["seq"]) == (Refusal.ATTEMPT_ABANDONED, 1)
    desk.do(together(2, opened_seq=refusal.fields["seq"]))


@pytest.mark.parametrize("is_settled_first", [True, False])
def test_when_the_ledger_has_come_so_far_again_one_of_both_is_final(
    desk: Desk, is_settled_first: bool
) -> None:
    desk.receive(5)
    settle, decide = SettleAttempt("attempt-1", 3), together(2, opened_seq=3)
    assert desk.code(settle) == Refusal.SEQ_NOT_REACHED
    desk.receive(5)
    desk.receive(5)
    if is_settled_first:
        assert desk.ask(settle) == {"decided": False}
        assert desk.code(decide) == Refusal.ATTEMPT_ABANDONED
    else:
        desk.do(decide)
    assert desk.ask(settle)["decided"] is not is_settled_first


def test_a_decided_attempt_is_settled_as_decided_for_ever(desk: Desk) -> None:
    desk.receive(5)
    desk.do(together(2, ttl_s=60))
    for now_ms in (NOON_MS, NOON_MS + 5_000, NOON_MS + 10**9):
        desk.now_ms = now_ms
        answer = desk.ask(SETTLE)
        assert (answer["decided"], answer["home_number"]) == (True, 2)
        assert answer["expires_at_ms"] == NOON_MS + 60_000


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
    desk.receive(1, sku="jam")
    command = together(2, partial=True)._replace(parts=(), missing=(reserve_line(3, index=0, sku="jam"),))
    assert desk.code(command) == Refusal.INSUFFICIENT_STOCK


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

"""Decisions about reservations that span partitions: tentative shares, one decision, confirmation, changes.

Every share holds its units tentatively under a deadline, by its own partition's time. The home partition
decides by one entry; whoever settles an attempt that is not decided makes sure that it never will be. So each
share can be finished or undone by whoever asks the home partition, at any time and as often as they like.
Home compares sequence numbers and no clocks: those of two machines may differ by an hour.

A change of the whole takes the caller's key at home, by an entry that changes nothing; each share is then
changed by a command of its own.
"""

import json
from collections.abc import Callable
from typing import Any

from engine.commands import (
    AbandonReservation,
    ConfirmReservation,
    ExtendReservation,
    NoteRequest,
    PickReservation,
    ReleaseReservation,
    ReserveTentatively,
    ReserveTogether,
    SettleAttempt,
)
from engine.draft import Draft
from engine.entries import Kind
from engine.refusals import Refusal, Refused, refused
from engine.reserving import find, leave_all, reserve_lines, summed
from engine.state import Partition


def reserve_tentatively(partition: Partition, command: ReserveTentatively, draft: Draft) -> Refused | None:
    """Hold a share until the home partition has decided."""
    draft.detail = {
        "attempt": command.attempt,
        "home": command.home,
        "opened_seq": command.opened_seq,
        "deadline_ms": draft.at_ms + command.ttl_ms,
    }
    return reserve_lines(partition, draft, command.lines, None, command.reference, partial=command.partial)


def reserve_together(partition: Partition, command: ReserveTogether, draft: Draft) -> Refused | None:
    """Decide an attempt: reserve the home partition's own lines and name the shares that hold with them.

    Refused if it was closed since it was opened, by `settle` or by a new owner, or if it cannot have been
    opened here: the ledger was put back since. The refusal's `seq` is where the next attempt opens.
    """
    if not partition.closed_seq <= command.opened_seq <= partition.seq:
        return refused(Refusal.ATTEMPT_ABANDONED, attempt=command.attempt, seq=partition.seq)
    expires_at_ms = None if command.ttl_s is None else draft.at_ms + command.ttl_s * 1000
    draft.detail = {"attempt": command.attempt, "parts": command.parts}
    draft.note(
        Kind.ATTEMPT_DECIDED,
        reservation=draft.seq + 1,
        expires_at_ms=expires_at_ms,
        reference=command.reference,
    )
    if command.lines:
        refusal = reserve_lines(
            partition, draft, command.lines, expires_at_ms, command.reference,
            partial=command.partial, holds_elsewhere=bool(command.parts),
        )  # fmt: skip
        if refusal is not None:
            return refusal
    if command.missing:
        short = [(line.index, line.site, line.sku, line.quantity) for line in summed(command.missing)]
        draft.detail["requested"] = [*draft.detail.get("requested", ()), *short]
    return None


def settle(partition: Partition, command: SettleAttempt, draft: Draft) -> Refused | None:
    """Make sure that an attempt which is not decided never will be.

    The entry closes all that were opened as early: `reserve_together` refuses them from then on. Refused
    where the ledger has not come so far: the attempt would not be closed any more when it has.
    """
    if command.attempt in partition.attempts:
        return None
    if command.opened_seq > partition.seq:
        return refused(Refusal.SEQ_NOT_REACHED, seen_seq=command.opened_seq, seq=partition.seq)
    if command.opened_seq >= partition.closed_seq:
        detail = {"attempt": command.attempt, "opened_seq": command.opened_seq}
        draft.note(Kind.ATTEMPT_ABANDONED, detail=json.dumps(detail))
    return None


def confirm(partition: Partition, command: ConfirmReservation, draft: Draft) -> Refused | None:
    """Make a tentative share final. Repeated, it changes nothing; one that was abandoned stays so."""
    reservation = find(partition, command.number, command.opened_at_ms)
    if isinstance(reservation, Refused):
        return reservation
    is_final = reservation.deadline_ms is None
    if is_final and reservation.home is not None and reservation.home[1] == command.home_number:
        return None
    if is_final or not reservation.open:
        return refused(Refusal.RESERVATION_RESOLVED, state=reservation.state)
    draft.note(
        Kind.RESERVATION_CONFIRMED,
        reservation=command.number,
        expires_at_ms=command.expires_at_ms,
        detail=json.dumps({"home_number": command.home_number}),
    )
    return None


def abandon(partition: Partition, command: AbandonReservation, draft: Draft) -> Refused | None:
    """Give a tentative share back. Repeated, it changes nothing; a final share stays."""
    reservation = find(partition, command.number, command.opened_at_ms)
    if isinstance(reservation, Refused):
        return reservation
    if reservation.deadline_ms is None:
        return refused(Refusal.RESERVATION_RESOLVED, state=reservation.state)
    leave_all(partition, draft, Kind.STOCK_RELEASED, reservation, "abandoned")
    return None


_Change = PickReservation | ReleaseReservation | ExtendReservation


def note_request(_: Partition, __: NoteRequest, draft: Draft) -> None:
    """Take the key of a request whose operations have keys of their own."""
    draft.note(Kind.REQUEST_NOTED)


def noting(
    decide: Callable[[Partition, Any, Draft], Refused | None],
) -> Callable[[Partition, Any, Draft], Refused | None]:
    """Return a decider that also notes changes of a reservation which are carried out elsewhere.

    That is a change of the whole at home, before its shares are changed, and one of another share's SKU.
    The entry takes the key, and keeps the instant that the answer shows: a repeat shows the same.
    """

    def decide_or_note(partition: Partition, command: _Change, draft: Draft) -> Refused | None:
        refusal = decide(partition, command, draft)
        if refusal is None or refusal.code != (
            Refusal.SKU_NOT_RESERVED if command.is_share else Refusal.RESERVATION_SPANS
        ):
            return refusal
        reservation = partition.reservations[command.number]
        if not command.is_share and reservation.home is not None:
            return refusal  # A share goes by the id of the whole.
        draft.note(Kind.REQUEST_NOTED, reservation=command.number, expires_at_ms=reservation.expires_at_ms)
        return None

    return decide_or_note

"""A request that waits for its outcome, on the caller's side, and what is known of it while it does."""

import asyncio
from typing import Any

import msgspec

from actors.frames import decode_refusal, decode_view
from actors.lane_client import Lane, Nonsense
from actors.outcomes import Answered, LedgerRefused, Outcome, OutcomeUnknown, Overloaded, Unavailable
from actors.requests import Status
from engine.commands import AbandonReservation, ConfirmReservation, ReserveTogether, SettleAttempt
from engine.refusals import Refused

OVERLOADED_RETRY_MS = 100
"""When somebody who was turned away may ask again."""

_ENDINGS = (AbandonReservation, ConfirmReservation, SettleAttempt)


class Pending:
    """A request that waits for its outcome."""

    __slots__ = ("deadline_s", "fields", "future", "id", "key", "lane", "name", "partition", "was_lost")

    def __init__(self, request_id: int, partition: int, name: str, key: str | None, fields: Any) -> None:  # noqa: ANN401
        self.id = request_id
        self.partition = partition
        self.name = name
        self.key = key
        self.fields = fields
        self.future: asyncio.Future[Any]
        self.deadline_s: float
        self.lane: Lane | None = None
        """Where it was sent and may still be answered."""
        self.was_lost = False
        """Whether it was sent before to where it is not waited for any more: it may have happened."""

    def goes(self, lane: Lane | None) -> None:
        """Wait at a host from now on, or at none."""
        if self.lane is not None:
            self.lane.allowance.under_way -= 1
        if lane is not None:
            lane.allowance.under_way += 1
        self.lane = lane

    @property
    def is_unknown(self) -> bool:
        """Whether it may have happened although no answer came."""
        return self.key is not None and (self.was_lost or self.lane is not None)

    @property
    def ends_what_was_begun(self) -> bool:
        """Whether it ends what is begun in several partitions: until it does, units are held there."""
        command = self.fields
        if isinstance(command, ReserveTogether):
            return command.opened_seq > 0
        return isinstance(command, _ENDINGS) or getattr(command, "is_share", False) is True


def late(pending: Pending) -> OutcomeUnknown | Unavailable:
    """Return the fault of a request that is not answered in time: it says what is known."""
    if pending.is_unknown:
        return OutcomeUnknown("no answer in time: it may have happened; send the same key again")
    return Unavailable("no host answered in time; nothing happened")


def outcome_of(pending: Pending, status: int, answer: msgspec.Raw) -> Outcome | Exception:
    """Return what a reply means. Raises Nonsense or one of `actors.frames.UNREADABLE` if it means nothing."""
    if status == Status.ANSWERED or status == Status.REPLAYED:  # noqa: PLR1714 - on the hot path
        return Answered(decode_view(answer), status == Status.REPLAYED)
    if status == Status.REFUSED or status == Status.REFUSED_AGAIN:  # noqa: PLR1714 - on the hot path
        code, fields = decode_refusal(answer)
        return Refused(code, fields, status == Status.REFUSED_AGAIN)
    if status == Status.MALFORMED:
        return ValueError(str(decode_view(answer)))
    if status not in (Status.OVERLOADED, Status.UNAVAILABLE, Status.LEDGER_REFUSED):
        raise Nonsense(f"there is no status {status}")
    if pending.key is not None and pending.was_lost:
        return late(pending)  # Nothing happened there, but perhaps where it was before.
    if status == Status.OVERLOADED:
        return Overloaded(OVERLOADED_RETRY_MS)
    if status == Status.LEDGER_REFUSED:
        return LedgerRefused(str(decode_view(answer)))
    return Unavailable(str(decode_view(answer) or "the host is stopping"))

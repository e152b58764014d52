"""A request that waits for its outcome, on the caller's side, and what is known of it while it does."""

import asyncio
from typing import Any

from actors.lane_client import Lane
from actors.outcomes import OutcomeUnknown, Unavailable


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

    @property
    def is_unknown(self) -> bool:
        """Whether it may have happened although no answer came."""
        return self.key is not None and (self.was_lost or self.lane is not None)


def late(pending: Pending) -> OutcomeUnknown | Unavailable:
    """Return the fault of a request that is not answered in time: it says what is known."""
    if pending.is_unknown:
        return OutcomeUnknown("no answer in time: it may have happened; send the same key again")
    return Unavailable("no host answered in time; nothing happened")

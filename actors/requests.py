"""One request on its way through a host: from its lane, through decide and apply, to the gate."""

from enum import IntEnum
from typing import Any, Protocol

from actors.queries import Query
from engine.commands import Command


class Status(IntEnum):
    """How a request ended; the numbers travel on lanes and are permanent."""

    ANSWERED = 0
    REPLAYED = 1
    REFUSED = 2
    OVERLOADED = 3
    """Nothing happened: the queue is full."""
    MOVED = 4
    """Nothing happened: another host owns the partition."""
    UNAVAILABLE = 5
    """Nothing happened: the host is stopping, or storage does not answer."""
    MALFORMED = 6
    """Nothing happened: the request cannot be understood."""
    REFUSED_AGAIN = 7
    """The first answer to the same key was this refusal."""
    LEDGER_REFUSED = 8
    """Nothing happened: the partition's ledger does not hold, and nobody serves it. The answer says where."""


class ReplyTo(Protocol):
    """Where a request came from."""

    def reply(self, request: "Request") -> None:
        """Take the ended request. Called once, in the order in which requests end."""


class Request:
    """A command or query with its key and, once decided, its encoded answer."""

    __slots__ = (
        "command",
        "encoded",
        "fingerprint",
        "id",
        "key",
        "looked_up",
        "name",
        "partition",
        "reply_to",
        "status",
    )

    def __init__(
        self,
        reply_to: ReplyTo | None,
        request_id: int,
        partition: int,
        name: str,
        command: Command | Query | None,
        key: str | None = None,
        fingerprint: int | None = None,
    ) -> None:
        self.reply_to = reply_to
        self.id = request_id
        self.partition = partition
        self.name = name
        self.command: Any = command
        """A command or query, by its name; None when the request cannot be understood."""
        self.key = key
        self.fingerprint = fingerprint
        self.status = Status.UNAVAILABLE
        self.encoded = b"\xc0"
        """The answer as MessagePack: nil until there is one."""
        self.looked_up: object = None
        """The owned partition for which its reservation or attempt was looked for in the snapshots."""

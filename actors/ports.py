"""What the outer layers ask of the owners of stock, whatever carries it there."""

from collections.abc import Awaitable, Sequence
from typing import Any, Protocol

from actors.outcomes import Answered, Outcome
from actors.queries import Query
from engine.commands import Command, ReserveLine
from engine.refusals import Refused


class Gateway(Protocol):
    """Reaches the owner of each partition, wherever it is, and finds it again when it has moved."""

    partitions: int
    """How many partitions there are; fixed when the database was created."""

    def submit(self, partition: int, command: Command, key: str) -> Awaitable[Outcome]:
        """Send a command, at once and in order; the awaitable gives its outcome.

        Two commands to one partition are decided in the order of their `submit` calls. A connection that
        breaks is mended and the command sent again under its key, until the deadline. Raises Overloaded,
        Unavailable or OutcomeUnknown when awaited.
        """

    def query(self, partition: int, query: Query) -> Awaitable[Outcome]:
        """Ask the owner of a partition. Raises Overloaded or Unavailable when awaited."""

    async def flush(self) -> None:
        """Have every host write its snapshots, so that the read model holds all that was answered before."""

    async def hosts(self) -> list[dict[str, Any]]:
        """Return what each host says of itself, as plain values.

        They are host, pid, address, partitions, in_flight, courier_lag, drift, recovery_ms, and `metrics`.
        Hosts that do not answer within 1 s are left out.
        """


class Room(Protocol):
    """What a gateway still takes, asked before a request is taken apart."""

    def is_short(self, besides: int = 0) -> bool:
        """Whether there may be partitions for which there is no room."""

    def has_room(self, partition: int, besides: int = 0) -> bool:
        """Whether a request for a partition may be sent; else `submit` and `query` say Overloaded.

        `besides` are requests that are as good as sent, wherever they go.
        """


class Reservations(Protocol):
    """Reservations as the public sees them: whatever partitions their lines lie in."""

    async def reserve(
        self,
        lines: Sequence[ReserveLine],
        *,
        ttl_s: int | None,
        reference: str | None,
        partial: bool,
        key: str,
    ) -> Outcome:
        """Reserve all lines or none (with `partial`: what there is). Every crash leaves all or none."""

    async def find(self, public_id: str) -> Outcome:
        """Return a reservation; refused `reservation_not_found`."""

    async def pick(
        self,
        public_id: str,
        *,
        quantity: int | None,
        sku: str | None,
        location: str | None,
        lot: str | None,
        short_reason: str | None,
        key: str,
    ) -> Outcome:
        """Pick from a reservation; the answer is the reservation."""

    async def release(self, public_id: str, *, quantity: int | None, sku: str | None, key: str) -> Outcome:
        """Release units of a reservation; the answer is the reservation."""

    async def extend(self, public_id: str, *, ttl_s: int, key: str) -> Outcome:
        """Extend a soft reservation; the answer is the reservation."""


__all__ = ["Answered", "Gateway", "Outcome", "Refused", "Reservations", "Room"]

"""What somebody needs who looks at a whole database from outside: all that is stored, as of one instant.

Hosts never use it. It reads; what is found wrong is mended through `Snapshots.replace` or not at all.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

from engine.entries import Entry
from engine.images import LineRow, LotRow, ReservationRow
from persistence.checksums import Changed

STRETCH = 5_000
"""Rows that are in memory at once: 5 MB."""


class Record(NamedTuple):
    """A partition as its own row tells it; also one without a row of which other tables have rows."""

    partition: int
    epoch: int
    """Of the last claim; 0 when it was never claimed."""
    snapshot_seq: int
    """The snapshot's rows include every entry up to this one."""
    cursor: int
    """Up to which entry it is broadcast."""
    is_recorded: bool = True
    """Whether it has a row of its own: else epoch and snapshot are not known."""


class RepeatedKey(NamedTuple):
    """A command's key that several entries carry."""

    key: str
    places: tuple[tuple[int, int], ...]
    """(partition, seq) of each, in order."""


class Stretch(NamedTuple):
    """Some entries of a partition, in order."""

    entries: list[Entry]
    """All of them, also those that are not as they were written."""
    changed: list[Changed]
    """Those."""


class View(Protocol):
    """A database at one instant. Every method may raise Unavailable."""

    async def partitions(self) -> int | None:
        """Return how many partitions the database was created with; None when it does not say any more."""

    async def records(self) -> list[Record]:
        """Return every partition that there is or should be, by number: of whatever table knows of it."""

    async def entries_about(self) -> int:
        """Return about how many entries there are: the sum of the partitions' last sequence numbers."""

    def entries(self, partition: int) -> AsyncIterator[Stretch]:
        """Return all entries of a partition, by sequence number, `STRETCH` at a time."""

    def lots(self, partition: int) -> AsyncIterator[list[LotRow]]:
        """Return all rows of a partition's lots, in no particular order, `STRETCH` at a time."""

    def reservations(self, partition: int) -> AsyncIterator[list[ReservationRow]]:
        """Return all rows of a partition's reservations, likewise."""

    def lines(self, partition: int) -> AsyncIterator[list[LineRow]]:
        """Return all rows of a partition's lines, likewise."""

    async def repeated_keys(self, limit: int) -> list[RepeatedKey]:
        """Return keys that more than one entry carries, by the place at which each is used again.

        Looks at the rows, not at the index.
        """


class Survey(Protocol):
    """Opens views."""

    def view(self) -> AbstractAsyncContextManager[View]:
        """Open a view of this instant. Raises Unavailable."""

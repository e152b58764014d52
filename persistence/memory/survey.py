"""A whole database in memory, as of one instant."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

from engine.images import LineRow, LotRow, ReservationRow
from persistence.memory.database import MemoryDatabase, PartitionTables
from persistence.survey import STRETCH, Record, RepeatedKey, Stretch, View

_Row = TypeVar("_Row")


class MemorySurvey:
    """Looks at a database that hosts share."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    @asynccontextmanager
    async def view(self) -> AsyncIterator[View]:
        """See `Survey.view`."""
        yield _MemoryView([_copied(tables) for tables in self._database.partitions])


class _MemoryView:
    def __init__(self, partitions: list[PartitionTables]) -> None:
        self._partitions = partitions

    async def partitions(self) -> int | None:
        """See `View.partitions`."""
        return len(self._partitions)

    async def records(self) -> list[Record]:
        """See `View.records`."""
        return [
            Record(number, tables.epoch, tables.snapshot_seq, tables.cursor)
            for number, tables in enumerate(self._partitions)
        ]

    async def entries_about(self) -> int:
        """See `View.entries_about`."""
        return sum(tables.ledger[-1].seq for tables in self._partitions if tables.ledger)

    async def entries(self, partition: int) -> AsyncIterator[Stretch]:
        """See `View.entries`."""
        tables = self._partitions[partition]
        for entries in _stretches(tables.ledger):
            yield Stretch(entries, tables.changed(entries))

    async def lots(self, partition: int) -> AsyncIterator[list[LotRow]]:
        """See `View.lots`."""
        lots = self._partitions[partition].lots.values()
        for stretch in _stretches([row for places in lots for row in places.values()]):
            yield stretch

    async def reservations(self, partition: int) -> AsyncIterator[list[ReservationRow]]:
        """See `View.reservations`."""
        for stretch in _stretches(self._partitions[partition].reservations.values()):
            yield stretch

    async def lines(self, partition: int) -> AsyncIterator[list[LineRow]]:
        """See `View.lines`."""
        lines = self._partitions[partition].lines.values()
        for stretch in _stretches([row for of_one in lines for row in of_one.values()]):
            yield stretch

    async def repeated_keys(self, limit: int) -> list[RepeatedKey]:
        """See `View.repeated_keys`."""
        places: dict[str, list[tuple[int, int]]] = {}
        for tables in self._partitions:
            for entry in tables.ledger:
                if entry.key is not None:
                    places.setdefault(entry.key, []).append((entry.partition, entry.seq))
        repeated = [RepeatedKey(key, tuple(found)) for key, found in places.items() if len(found) > 1]
        return sorted(repeated, key=lambda found: found.places[1])[:limit]


def _copied(tables: PartitionTables) -> PartitionTables:
    """Return tables that nobody changes; rows never change."""
    return replace(
        tables,
        ledger=list(tables.ledger),
        checksums=dict(tables.checksums),
        lots={stock: dict(lots) for stock, lots in tables.lots.items()},
        reservations=dict(tables.reservations),
        lines={number: dict(lines) for number, lines in tables.lines.items()},
    )


def _stretches(rows: Iterable[_Row]) -> Iterable[list[_Row]]:
    found = list(rows)
    for start in range(0, len(found), STRETCH):
        yield found[start : start + STRETCH]

"""The tables of a partition, which compare each entry with its checksum once.

An entry is harmed by putting another object in its place (`simulation.harming`), so one that was compared
and is the same object needs no second look.
"""

from collections.abc import Iterable

from engine.entries import Entry
from persistence.checksums import Changed
from persistence.memory.database import PartitionTables


class Tables(PartitionTables):
    """Tables that compare each entry with its checksum once: one that is harmed is another object."""

    def __init__(self) -> None:
        super().__init__()
        self._sound: dict[int, Entry] = {}

    def changed(self, entries: Iterable[Entry]) -> list[Changed]:
        """See `PartitionTables.changed`."""
        unseen = [entry for entry in entries if self._sound.get(entry.seq) is not entry]
        wrong = super().changed(unseen) if unseen else []
        if unseen and not wrong:
            self._sound.update((entry.seq, entry) for entry in unseen)
        return wrong

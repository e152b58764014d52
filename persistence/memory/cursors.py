"""How far the courier has come, in memory."""

from collections.abc import Sequence

from persistence.memory.database import MemoryDatabase


class MemoryCursors:
    """The courier's cursors."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def cursors(self, partitions: Sequence[int]) -> dict[int, int]:
        """See `Cursors.cursors`."""
        return {number: self._database.partitions[number].cursor for number in partitions}

    async def move_cursors(self, cursors: dict[int, int], *, back: bool = False) -> None:
        """See `Cursors.move_cursors`."""
        for number, seq in cursors.items():
            tables = self._database.partitions[number]
            tables.cursor = seq if back else max(seq, tables.cursor)

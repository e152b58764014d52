"""Where partitions are, in memory."""

from persistence.memory.database import MemoryDatabase
from persistence.placement import Placement


class MemoryDirectory:
    """The owners of partitions."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def placements(self) -> list[Placement]:
        """See `Directory.placements`."""
        return [
            Placement(number, tables.host, tables.address, tables.epoch)
            for number, tables in enumerate(self._database.partitions)
            if tables.epoch
        ]

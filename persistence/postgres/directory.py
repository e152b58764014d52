"""Where partitions are, as Postgres recorded their claims."""

import asyncpg

from persistence.placement import Placement
from persistence.ports import Unavailable
from persistence.postgres.sessions import Sessions


class PostgresDirectory:
    """The owners of partitions."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def placements(self) -> list[Placement]:
        """See `Directory.placements`."""
        async with self._sessions.session() as connection:
            rows = await connection.fetch(
                "SELECT number, host, address, epoch FROM partition WHERE epoch > 0 ORDER BY number"
            )
        return list(map(Placement._make, rows))

    async def partitions(self) -> int:
        """Return how many partitions there are. Raises Unavailable until the database is migrated."""
        try:
            async with self._sessions.session() as connection:
                found = await connection.fetchval("SELECT count(*) FROM partition")
        except asyncpg.UndefinedTableError as error:
            raise Unavailable("the database is not migrated yet") from error
        if not found:
            raise Unavailable("the database is not migrated yet")
        return int(found)

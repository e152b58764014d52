"""Where partitions are, as Postgres recorded their claims."""

from persistence.ports import Placement
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

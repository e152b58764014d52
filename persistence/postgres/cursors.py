"""How far the courier has come, on Postgres."""

from collections.abc import Sequence

from persistence.postgres.sessions import Sessions

_MOVE = """\
INSERT INTO courier_cursor (partition, seq) SELECT * FROM unnest($1::int[], $2::bigint[])
ON CONFLICT (partition) DO UPDATE SET seq = excluded.seq
WHERE $3 OR courier_cursor.seq < excluded.seq
"""


class PostgresCursors:
    """The courier's cursors."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def cursors(self, partitions: Sequence[int]) -> dict[int, int]:
        """See `Cursors.cursors`."""
        async with self._sessions.session() as connection:
            rows = await connection.fetch(
                "SELECT partition, seq FROM courier_cursor WHERE partition = ANY($1::int[])", list(partitions)
            )
        return {**dict.fromkeys(partitions, 0), **{row[0]: row[1] for row in rows}}

    async def move_cursors(self, cursors: dict[int, int], *, back: bool = False) -> None:
        """See `Cursors.move_cursors`."""
        ordered = sorted(cursors.items())
        async with self._sessions.session() as connection:
            await connection.execute(
                _MOVE, [number for number, _ in ordered], [seq for _, seq in ordered], back
            )

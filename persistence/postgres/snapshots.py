"""Snapshots on Postgres: claims, recovery, and rows behind the ledger."""

from collections.abc import Sequence

from engine.commands import StockKey
from engine.images import LotRow, Rows
from persistence.ports import Head, Recovery
from persistence.postgres.recovery import read_recovery
from persistence.postgres.rows import read_lots, read_reservations, read_stocks, write_rows
from persistence.postgres.sessions import Sessions
from persistence.postgres.takeover import Takeover


class PostgresSnapshots:
    """State behind the ledger."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def claim(self, host: str, address: str, partitions: Sequence[int], now_ms: int) -> list[Head]:
        """See `Snapshots.claim`."""
        return await Takeover(self._sessions, host, address, partitions).claim(now_ms)

    async def lost(self, epochs: dict[int, int]) -> frozenset[int]:
        """See `Snapshots.lost`."""
        async with self._sessions.session() as connection:
            rows = await connection.fetch(
                "SELECT number FROM partition JOIN unnest($1::int[], $2::bigint[]) AS ours (number, epoch)"
                " USING (number) WHERE partition.epoch <> ours.epoch",
                list(epochs),
                list(epochs.values()),
            )
        return frozenset(row[0] for row in rows)

    async def recover(self, partitions: Sequence[int], recent_keys: int) -> Recovery:
        """See `Snapshots.recover`."""
        async with self._sessions.view() as connection:
            return await read_recovery(connection, partitions, recent_keys)

    async def load(self, stocks: Sequence[tuple[int, StockKey]]) -> Rows:
        """See `Snapshots.load`."""
        async with self._sessions.view() as connection:
            return await read_stocks(connection, stocks)

    async def lots(self, stocks: Sequence[StockKey]) -> list[LotRow]:
        """See `Snapshots.lots`."""
        async with self._sessions.session() as connection:
            return await read_lots(connection, stocks)

    async def load_reservation(self, partition: int, number: int) -> Rows:
        """See `Snapshots.load_reservation`."""
        async with self._sessions.view() as connection:
            return await read_reservations(connection, [(partition, number)])

    async def load_attempt(self, partition: int, attempt: str) -> Rows:
        """See `Snapshots.load_attempt`."""
        async with self._sessions.view() as connection:
            found = await connection.fetch(
                "SELECT partition, number FROM reservation"
                " WHERE partition = $1 AND attempt = $2 AND home_partition IS NULL",
                partition,
                attempt,
            )
            return await read_reservations(connection, [(row[0], row[1]) for row in found])

    async def save(self, epochs: dict[int, tuple[int, int, int]], rows: Rows) -> frozenset[int]:
        """See `Snapshots.save`."""
        async with self._sessions.session() as connection, connection.transaction():
            locked = await connection.fetch(
                "SELECT number, epoch, snapshot_seq FROM partition WHERE number = ANY($1::int[])"
                " ORDER BY number FOR NO KEY UPDATE",
                list(epochs),
            )
            owned = {row[0]: row[2] for row in locked if row[1] == epochs[row[0]][0]}
            lost = frozenset(epochs) - frozenset(owned)
            await write_rows(connection, _without(rows, lost) if lost else rows, owned)
            for number, snapshot_seq in owned.items():
                assert snapshot_seq <= epochs[number][1], "a snapshot goes back"
            await connection.execute(
                "UPDATE partition SET snapshot_seq = saved.seq, snapshot_at_ms = saved.at_ms"
                " FROM unnest($1::int[], $2::bigint[], $3::bigint[]) AS saved (number, seq, at_ms)"
                " WHERE partition.number = saved.number",
                list(owned),
                [epochs[number][1] for number in owned],
                [epochs[number][2] for number in owned],
            )
        return lost

    async def replace(self, head: Head, rows: Rows) -> bool:
        """See `Snapshots.replace`."""
        number = head.partition
        async with self._sessions.session() as connection, connection.transaction():
            epoch = await connection.fetchval(
                "SELECT epoch FROM partition WHERE number = $1 FOR NO KEY UPDATE", number
            )
            if epoch != head.epoch:
                return False
            for table in ("stock_lot", "reservation", "reservation_line"):
                await connection.execute(f"DELETE FROM {table} WHERE partition = $1", number)  # noqa: S608
            await write_rows(connection, rows, {number: 0})
            await connection.execute(
                "UPDATE partition SET snapshot_seq = $2, snapshot_at_ms = $3 WHERE number = $1",
                number,
                head.seq,
                head.at_ms,
            )
        return True


def _without(rows: Rows, lost: frozenset[int]) -> Rows:
    return Rows(
        [row for row in rows.lots if row.partition not in lost],
        [row for row in rows.reservations if row.partition not in lost],
        [row for row in rows.lines if row.partition not in lost],
    )

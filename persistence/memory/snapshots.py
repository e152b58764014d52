"""Snapshots in memory."""

from collections.abc import Sequence

from engine.commands import StockKey
from engine.entries import Entry
from engine.images import LotRow, Rows
from persistence.checksums import Changed, firsts
from persistence.claims import claim_entry
from persistence.memory.database import MemoryDatabase, PartitionTables
from persistence.ports import TIMES_SOUGHT, Due, Head, Recovery


class MemorySnapshots:
    """State behind the ledger, of all hosts that share a database."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def claim(self, host: str, address: str, partitions: Sequence[int], now_ms: int) -> list[Head]:
        """See `Snapshots.claim`."""
        heads = []
        for number in sorted(set(partitions)):
            tables = self._database.partitions[number]
            seq, at_ms = _last_of(tables)
            tables.epoch += 1
            tables.host, tables.address, tables.claimed_at_ms = host, address, now_ms
            head = Head(number, tables.epoch, tables.snapshot_seq, seq, at_ms)
            if not head.ends_early:
                claim = claim_entry(
                    number, seq + 1, max(now_ms, at_ms), host=host, address=address, epoch=tables.epoch
                )
                self._database.commit([claim])
                head = head._replace(seq=claim.seq, at_ms=claim.at_ms)
            heads.append(head)
        return heads

    async def lost(self, epochs: dict[int, int]) -> frozenset[int]:
        """See `Snapshots.lost`."""
        return frozenset(
            number for number, epoch in epochs.items() if self._database.partitions[number].epoch != epoch
        )

    async def recover(self, partitions: Sequence[int], recent_keys: int) -> Recovery:
        """See `Snapshots.recover`."""
        recovery = Recovery([], [], [], Rows([], [], []), [], [], [], {})
        for number in sorted(set(partitions)):
            self._recover_one(number, recovery)
        owned = set(partitions)
        places = [place for place in self._database.keys.values() if place[0] in owned]
        keyed = self._database.at(places)
        keyed.sort(key=lambda entry: (entry.at_ms, entry.partition, entry.seq))
        recent = keyed[-recent_keys:] if recent_keys else []
        changed = self._changed([*recovery.tail, *recent])
        recovery.changed.update(firsts(changed))
        wrong = {(one.partition, one.seq) for one in changed}
        recovery.recent_keys.extend(entry for entry in recent if (entry.partition, entry.seq) not in wrong)
        return recovery

    def _changed(self, entries: list[Entry]) -> list[Changed]:
        partitions = self._database.partitions
        return [one for entry in entries for one in partitions[entry.partition].changed([entry])]

    def _recover_one(self, number: int, recovery: Recovery) -> None:
        tables = self._database.partitions[number]
        recovery.heads.append(Head(number, tables.epoch, tables.snapshot_seq, *_last_of(tables)))
        tail = tables.ledger[tables.snapshot_seq :]
        recovery.tail.extend(tail)
        touched = {
            (entry.site, entry.sku) for entry in tail if entry.site is not None and entry.sku is not None
        }
        named = {entry.reservation for entry in tail if entry.reservation is not None}
        for entry in tail:
            if entry.sku is None and entry.reservation is not None:
                lines = tables.lines.get(entry.reservation, {}).values()
                touched.update((line.site, line.sku) for line in lines if line.open)
        recovery.stocks.extend((number, stock) for stock in sorted(touched))
        rows = self._database.rows_of_stocks(number, touched, named)
        recovery.rows.lots.extend(rows.lots)
        recovery.rows.reservations.extend(rows.reservations)
        recovery.rows.lines.extend(rows.lines)
        recovery.dues.extend(due for due in self._dues(number) if (due.site, due.sku) not in touched)
        recovery.tentative.extend(
            (number, row.number, row.deadline_ms)
            for _, row in sorted(tables.reservations.items())
            if row.deadline_ms is not None and row.open
        )

    def _dues(self, number: int) -> list[Due]:
        tables = self._database.partitions[number]
        soonest: dict[StockKey, int] = {}
        for stock, lots in tables.lots.items():
            for lot in lots.values():
                if lot.expires_at_ms is not None and lot.on_hand > lot.reserved + lot.held:
                    soonest[stock] = min(soonest.get(stock, lot.expires_at_ms), lot.expires_at_ms)
        for row in tables.reservations.values():
            if row.expires_at_ms is not None and row.open:
                for line in tables.lines.get(row.number, {}).values():
                    if line.open:
                        stock = (line.site, line.sku)
                        soonest[stock] = min(soonest.get(stock, row.expires_at_ms), row.expires_at_ms)
        return [Due(number, *stock, due_ms) for stock, due_ms in sorted(soonest.items())]

    async def load(self, stocks: Sequence[tuple[int, StockKey]]) -> Rows:
        """See `Snapshots.load`."""
        wanted: dict[int, list[StockKey]] = {}
        for partition, stock in stocks:
            wanted.setdefault(partition, []).append(stock)
        found = Rows([], [], [])
        for partition, keys in wanted.items():
            rows = self._database.rows_of_stocks(partition, keys)
            found.lots.extend(rows.lots)
            found.reservations.extend(rows.reservations)
            found.lines.extend(rows.lines)
        return found

    async def lots(self, stocks: Sequence[StockKey]) -> list[LotRow]:
        """See `Snapshots.lots`."""
        return [
            lot
            for tables in self._database.partitions
            for stock in stocks
            for lot in tables.lots.get(stock, {}).values()
        ]

    async def load_reservation(self, partition: int, number: int) -> Rows:
        """See `Snapshots.load_reservation`."""
        return self._database.rows_of_reservations(partition, [number])

    async def load_attempt(self, partition: int, attempt: str) -> Rows:
        """See `Snapshots.load_attempt`."""
        reservations = self._database.partitions[partition].reservations.values()
        found = [row.number for row in reservations if row.attempt == attempt and row.home_partition is None]
        return self._database.rows_of_reservations(partition, found)

    async def save(self, epochs: dict[int, tuple[int, int, int]], rows: Rows) -> frozenset[int]:
        """See `Snapshots.save`."""
        lost = await self.lost({number: epoch for number, (epoch, _, _) in epochs.items()})
        for number in epochs.keys() - lost:
            tables = self._database.partitions[number]
            _, seq, at_ms = epochs[number]
            assert tables.snapshot_seq <= seq, "a snapshot goes back"
            self._database.write(number, rows)
            tables.snapshot_seq, tables.snapshot_at_ms = seq, at_ms
        return lost

    async def replace(self, head: Head, rows: Rows) -> bool:
        """See `Snapshots.replace`."""
        tables = self._database.partitions[head.partition]
        if tables.epoch != head.epoch:
            return False
        for table in (tables.lots, tables.reservations, tables.lines):
            table.clear()
        self._database.write(head.partition, rows)
        tables.snapshot_seq, tables.snapshot_at_ms = head.seq, head.at_ms
        return True


def _last_of(tables: PartitionTables) -> tuple[int, int]:
    """Return (seq, at_ms) of a partition's last entry, as `Head` has them."""
    if not tables.ledger:
        return 0, 0
    newest = tables.ledger[: -TIMES_SOUGHT - 2 : -1]
    wrong = {place.seq for place in tables.changed(newest)}
    return newest[0].seq, next((entry.at_ms for entry in newest if entry.seq not in wrong), 0)

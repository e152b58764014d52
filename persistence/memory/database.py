"""The tables, with the constraints that the real ones have."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from engine.commands import StockKey
from engine.entries import EFFECTS, Entry, Kind
from engine.images import LineRow, LotRow, ReservationRow, Rows
from engine.limits import QUANTITY_MAX
from persistence.checksums import Changed, checksum, firsts
from persistence.ports import KeysTaken, PartitionsLost, RowsChanged

_WITH_SIGN = (Kind.STOCK_ADJUSTED, Kind.STOCK_COUNTED)
_WITHOUT_STOCK = (
    Kind.PARTITION_CLAIMED,
    Kind.RESERVATION_EXTENDED,
    Kind.RESERVATION_CONFIRMED,
    Kind.ATTEMPT_DECIDED,
    Kind.ATTEMPT_ABANDONED,
    Kind.REQUEST_NOTED,
)


@dataclass(slots=True)
class PartitionTables:
    """All that is stored of one partition."""

    host: str = ""
    address: str = ""
    epoch: int = 0
    snapshot_seq: int = 0
    snapshot_at_ms: int = 0
    claimed_at_ms: int = 0
    cursor: int = 0
    ledger: list[Entry] = field(default_factory=list)
    checksums: dict[int, int] = field(default_factory=dict)
    """Of the ledger's entries, by sequence number."""
    compared: dict[int, tuple[Entry, int]] = field(default_factory=dict)
    """Entries that were held against their checksums, and these: rows do not change, others replace them."""
    lots: dict[StockKey, dict[tuple[str, str], LotRow]] = field(default_factory=dict)
    """By location and lot."""
    reservations: dict[int, ReservationRow] = field(default_factory=dict)
    lines: dict[int, dict[int, LineRow]] = field(default_factory=dict)

    def changed(self, entries: Iterable[Entry]) -> list[Changed]:
        """Return which of the ledger's entries are not as they were written."""
        changed = []
        for entry in entries:
            stored = self.checksums.get(entry.seq)
            same, held = self.compared.get(entry.seq, (None, None))
            if same is not entry or held != stored:
                own = checksum(entry)
                if own != stored:
                    changed.append(Changed(entry.partition, entry.seq, stored, own))
                else:
                    self.compared[entry.seq] = entry, own
        return changed


class MemoryDatabase:
    """What all hosts share: the partitions' tables and the index on keys."""

    def __init__(self, partitions: int = 256) -> None:
        self.partitions = [PartitionTables() for _ in range(partitions)]
        self.keys: dict[str, tuple[int, int]] = {}
        """The (partition, seq) of the entry that carries a key."""

    def commit(self, entries: Sequence[Entry]) -> None:
        """Append entries, all or nothing.

        Raises PartitionsLost or KeysTaken; AssertionError when the entries are not what an engine decides.
        """
        heads: dict[int, int] = {}
        for entry in entries:
            check(entry)
            head = heads.get(entry.partition, entry.seq - 1)
            assert entry.seq == head + 1, "a batch leaves a sequence number out or has it twice"
            heads[entry.partition] = entry.seq
        firsts = {entry.partition: entry.seq for entry in reversed(entries)}
        lost = [number for number, seq in firsts.items() if len(self.partitions[number].ledger) >= seq]
        if lost:
            raise PartitionsLost(frozenset(lost))
        keyed = [entry for entry in entries if entry.key is not None]
        taken = frozenset(entry.key for entry in keyed if entry.key is not None and entry.key in self.keys)
        if taken:
            raise KeysTaken(taken)
        assert len({entry.key for entry in keyed}) == len(keyed), "a batch has the same key twice"
        for entry in entries:
            tables = self.partitions[entry.partition]
            assert entry.seq == len(tables.ledger) + 1, "an append leaves a sequence number out"
            tables.ledger.append(entry)
            sum_ = tables.checksums[entry.seq] = checksum(entry)
            tables.compared[entry.seq] = entry, sum_
        self.keys.update(
            (entry.key, (entry.partition, entry.seq)) for entry in keyed if entry.key is not None
        )

    def at(self, places: Iterable[tuple[int, int]]) -> list[Entry]:
        """Return the entries at these (partition, seq) that there are, in this order."""
        found = (self.partitions[number].ledger[seq - 1 : seq] for number, seq in places)
        return [entry for entries in found for entry in entries]

    def checked(self, entries: list[Entry]) -> list[Entry]:
        """Return entries of the ledger that are all as they were written. Raises RowsChanged."""
        by_partition: dict[int, list[Entry]] = {}
        for entry in entries:
            by_partition.setdefault(entry.partition, []).append(entry)
        changed = [one for number, of in by_partition.items() for one in self.partitions[number].changed(of)]
        if changed:
            raise RowsChanged(firsts(changed))
        return entries

    def write(self, number: int, rows: Rows) -> None:
        """Store a partition's rows over those that are there."""
        tables = self.partitions[number]
        for lot in rows.lots:
            if lot.partition == number:
                assert lot.reserved >= 0 and lot.held >= 0  # noqa: PT018 - the table's CHECK
                assert lot.reserved + lot.held <= lot.on_hand <= QUANTITY_MAX
                tables.lots.setdefault((lot.site, lot.sku), {})[lot.location, lot.lot] = lot
        for reservation in rows.reservations:
            if reservation.partition == number:
                tables.reservations[reservation.number] = reservation
        for line in rows.lines:
            if line.partition == number:
                tables.lines.setdefault(line.number, {})[line.line] = line

    def rows_of_stocks(self, number: int, stocks: Iterable[StockKey], named: Iterable[int] = ()) -> Rows:
        """Return the rows of stocks, and every reservation open at one of them or named, with its lines."""
        tables = self.partitions[number]
        wanted = set(stocks)
        lots = [lot for stock in sorted(wanted) for _, lot in sorted(tables.lots.get(stock, {}).items())]
        numbers = set(named) | {
            line.number
            for lines in tables.lines.values()
            for line in lines.values()
            if line.open and (line.site, line.sku) in wanted
        }
        reservations = self.rows_of_reservations(number, numbers)
        return Rows(lots, reservations.reservations, reservations.lines)

    def rows_of_reservations(self, number: int, numbers: Iterable[int]) -> Rows:
        """Return the rows of those reservations that are known, with all their lines."""
        tables = self.partitions[number]
        known = sorted(set(numbers) & tables.reservations.keys())
        lines = [line for one in known for _, line in sorted(tables.lines.get(one, {}).items())]
        return Rows([], [tables.reservations[one] for one in known], lines)


def check(entry: Entry) -> None:
    """Assert what the real ledger's CHECKs say of a row."""
    assert entry.seq >= 1
    assert entry.kind in EFFECTS, entry.kind
    assert entry.reserved >= 0 <= entry.held, entry
    assert entry.reserved + entry.held <= entry.on_hand <= QUANTITY_MAX, entry
    place = (entry.site, entry.sku, entry.location, entry.lot)
    if entry.kind in _WITHOUT_STOCK:
        assert place == (None, None, None, None), entry
        assert entry.quantity == 0, entry
    else:
        assert None not in place, entry
        assert entry.quantity > 0 or entry.kind in _WITH_SIGN, entry

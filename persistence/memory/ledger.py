"""The ledger in memory."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from operator import attrgetter

from engine.commands import StockKey
from engine.entries import EFFECTS, Entry, Kind
from persistence.balances import SUMMED_MAX, LotBalance, LotSum
from persistence.checksums import firsts
from persistence.memory.database import MemoryDatabase
from persistence.traced import Traced

_SEQ = attrgetter("seq")

Place = tuple[str, str, str, str]
"""(site, sku, location, lot)"""


class MemoryLedger:
    """The ledger of all hosts that share a database."""

    def __init__(self, database: MemoryDatabase, host: str = "host") -> None:
        self.host = host
        self._database = database

    async def append(self, entries: Sequence[Entry]) -> None:
        """See `Ledger.append`."""
        self._database.commit(entries)

    async def is_committed(self, entries: Sequence[Entry]) -> bool:
        """See `Ledger.is_committed`."""
        equal = sum(self._entries(entry.partition)[entry.seq - 1 : entry.seq] == [entry] for entry in entries)
        assert equal in (0, len(entries)), "an append was committed in part"
        return equal > 0 or not entries

    async def read(self, partition: int, after_seq: int, limit: int) -> list[Entry]:
        """See `Ledger.read`."""
        return self._checked(self._entries(partition)[after_seq : after_seq + limit])

    async def history(self, partition: int, stock: StockKey, after_seq: int, limit: int) -> list[Entry]:
        """See `Ledger.history`."""
        found = (entry for entry in self._entries(partition)[after_seq:] if (entry.site, entry.sku) == stock)
        return self._checked(list(found)[:limit])

    async def of_reservation(self, partition: int, number: int, until_seq: int) -> list[Entry]:
        """See `Ledger.of_reservation`."""
        return self._checked(
            [
                entry
                for entry in self._entries(partition)[number - 1 : until_seq]
                if entry.reservation == number
            ]
        )

    async def last_of(self, reservations: Sequence[Traced], depth: int) -> list[Entry]:
        """See `Ledger.last_of`."""
        numbers = {asked.partition for asked in reservations}
        own, at_stocks = self._by_reservation(numbers), self._by_stock(numbers)
        found: dict[int, list[Entry]] = {}
        for asked in reservations:
            told = found.setdefault(asked.partition, [])
            of_own = own.get((asked.partition, asked.number), [])
            told += of_own[: _behind(of_own, asked.until_seq)][-1:]
            for stock in asked.stocks:
                there = at_stocks.get((asked.partition, *stock), [])
                later = there[_behind(there, asked.seq) : _behind(there, asked.until_seq)]
                told += [entry for entry in later[-depth:] if entry.reservation == asked.number][-1:]
        return self._checked([entry for entries in found.values() for entry in dict.fromkeys(entries)])

    def _by_reservation(self, partitions: Iterable[int]) -> dict[tuple[int, int], list[Entry]]:
        """Return what changed reservations and no stock, by partition and number."""
        found: dict[tuple[int, int], list[Entry]] = {}
        for number in partitions:
            for entry in self._entries(number):
                if entry.sku is None and entry.reservation is not None:
                    found.setdefault((number, entry.reservation), []).append(entry)
        return found

    def _by_stock(self, partitions: Iterable[int]) -> dict[tuple[int, str, str], list[Entry]]:
        """Return what changed stocks, by partition, site and SKU."""
        found: dict[tuple[int, str, str], list[Entry]] = {}
        for number in partitions:
            for entry in self._entries(number):
                if entry.site is not None and entry.sku is not None:
                    found.setdefault((number, entry.site, entry.sku), []).append(entry)
        return found

    async def at(self, places: Sequence[tuple[int, int]]) -> list[Entry]:
        """See `Ledger.at`."""
        return self._checked(self._database.at(sorted(set(places))))

    async def confirmations(self, partition: int, numbers: Sequence[int]) -> list[Entry]:
        """See `Ledger.confirmations`."""
        return self._checked(
            [
                entry
                for entry in self._entries(partition)
                if entry.kind == Kind.RESERVATION_CONFIRMED and entry.reservation in numbers
            ]
        )

    async def with_keys(self, keys: Sequence[str]) -> list[Entry]:
        """See `Ledger.with_keys`."""
        known = self._database.keys
        return self._checked(self._database.at(sorted(known[key] for key in set(keys) if key in known)))

    async def seq_at(self, partition: int, at_ms: int) -> int:
        """See `Ledger.seq_at`."""
        return bisect_right(
            self._entries(partition), at_ms, key=lambda entry: self._checked([entry])[0].at_ms
        )

    async def head(self, partition: int) -> tuple[int, int]:
        """See `Ledger.head`."""
        last = self._checked(self._entries(partition)[-1:])
        return (last[0].seq, last[0].at_ms) if last else (0, 0)

    async def balances(self, partition: int, stock: StockKey, until_seq: int) -> list[Entry]:
        """See `Ledger.balances`."""
        last = {
            (entry.location, entry.lot): entry
            for entry in self._entries(partition)[:until_seq]
            if (entry.site, entry.sku) == stock
        }
        by_place = sorted(last.items(), key=lambda item: (item[0][0] or "", item[0][1] or ""))
        return self._checked([entry for _, entry in by_place])

    async def last(self, stocks: Sequence[tuple[int, StockKey, int]], depth: int) -> list[LotBalance]:
        """See `Ledger.last`."""
        found: list[LotBalance] = []
        for partition, stock, until_seq in stocks:
            of_stock = [
                entry for entry in self._entries(partition)[:until_seq] if (entry.site, entry.sku) == stock
            ]
            newest = {(entry.location or "", entry.lot or ""): entry for entry in of_stock[-depth:]}
            found += [
                LotBalance(partition, *stock, *place, entry.seq, entry.on_hand, entry.reserved, entry.held)
                for place, entry in newest.items()
            ]
        return found

    async def sums(self, partition: int, after_seq: int, until_seq: int) -> list[LotSum]:
        """See `Ledger.sums`."""
        assert until_seq - after_seq <= SUMMED_MAX, "too many entries to be added up at once"
        found: dict[Place, LotSum] = {}
        for entry in self._entries(partition)[after_seq:until_seq]:
            if entry.site is not None is not entry.sku and entry.location is not None is not entry.lot:
                place = entry.site, entry.sku, entry.location, entry.lot
                found[place] = _with(found.get(place), place, entry)
        return list(found.values())

    async def missing(self, partition: int, after_seq: int, until_seq: int) -> int | None:
        """See `Ledger.missing`."""
        there = {entry.seq for entry in self._entries(partition)[after_seq:until_seq]}
        return next((seq for seq in range(after_seq + 1, until_seq + 1) if seq not in there), None)

    async def changed(self, partition: int, after_seq: int, until_seq: int) -> int | None:
        """See `Ledger.changed`."""
        tables = self._database.partitions[partition]
        return firsts(tables.changed(tables.ledger[after_seq:until_seq])).get(partition)

    def _checked(self, entries: list[Entry]) -> list[Entry]:
        return self._database.checked(entries)

    def _entries(self, partition: int) -> list[Entry]:
        return self._database.partitions[partition].ledger


def _behind(entries: Sequence[Entry], seq: int) -> int:
    """Return where the entries after `seq` begin."""
    return bisect_right(entries, seq, key=_SEQ)


def _with(before: LotSum | None, place: Place, entry: Entry) -> LotSum:
    """Return a lot's sum with one more entry."""
    on_hand, reserved, held = (effect * entry.quantity for effect in EFFECTS[entry.kind])
    if entry.reservation is None:
        reserved = 0
    if before is not None:
        on_hand, reserved, held = before.on_hand + on_hand, before.reserved + reserved, before.held + held
    beyond = (entry.on_hand - on_hand, entry.reserved - reserved, entry.held - held)
    least = most = beyond
    if before is not None:
        least = (
            min(before.least[0], beyond[0]),
            min(before.least[1], beyond[1]),
            min(before.least[2], beyond[2]),
        )
        most = (
            max(before.most[0], beyond[0]),
            max(before.most[1], beyond[1]),
            max(before.most[2], beyond[2]),
        )
    return LotSum(*place, entry.seq, on_hand, reserved, held, least, most)

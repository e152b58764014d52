"""Whether what no balance shows is what the ledger says: dates, ages, references, who holds a share for whom.

Rows of lots and reservations are held against the entries by which they came. A wrong date would otherwise
go on into the ledger, as an entry that says that something has expired.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from engine.apply import FILLS, UNFIT, apply_filtered
from engine.entries import Entry, Kind
from engine.images import LotRow, ReservationRow, Rows, capture, reservation_row
from engine.state import Partition

if TYPE_CHECKING:
    from actors.owned import OwnedPartition
    from actors.sums import Place
    from engine.commands import StockKey
    from persistence.ports import Ledger, Snapshots

_PAGE = 500
"""Entries that are applied in one go."""
_ASKED_MAX = 500
"""Entries that are asked for at once: 4 ms to take them in."""
_OPENS = frozenset({Kind.STOCK_RESERVED, Kind.ATTEMPT_DECIDED})


At = Callable[[Sequence[tuple[int, int]]], Awaitable[list[Entry]]]
"""Asks for entries as `Ledger.at` does."""


class Wrong(NamedTuple):
    """What is not as the ledger has it."""

    place: str
    found: object
    expected: object

    def __str__(self) -> str:
        return f"{self.place} has {self.found}, and the ledger says {self.expected}"


def rows_of(state: Partition, keys: Iterable[StockKey]) -> Rows:
    """Return what is in memory of stocks: their lots, and the reservations that are open at them."""
    keys = list(keys)
    numbers = {number for key in keys for number in state.stocks[key].reservations or ()}
    open_here = [reservation_row(state.number, state.reservations[number]) for number in sorted(numbers)]
    return Rows(capture(state, keys, ()).lots, open_here, [])


def durable(rows: Rows, until_seq: int) -> Rows:
    """Return those rows that the ledger up to an entry can tell of, of a partition that others change."""
    lots = [row for row in rows.lots if min(row.seq, row.age) <= until_seq]
    return Rows(lots, [row for row in rows.reservations if row.seq <= until_seq], [])


async def written(
    snapshots: Snapshots, owned: OwnedPartition, lots: Mapping[StockKey, Mapping[Place, LotRow]]
) -> Rows:
    """Return rows of stocks' lots, those of the partition, with the reservations open at them.

    Raises Unavailable.
    """
    number = owned.state.number
    ours = [row for of_stock in lots.values() for row in of_stock.values() if row.partition == number]
    asked = sorted({(number, (row.site, row.sku)) for row in ours if row.reserved})
    found = await snapshots.load(asked) if asked else Rows([], [], [])
    return found._replace(lots=ours)


async def wrong_origins(ledger: Ledger, owned: OwnedPartition, rows: Rows) -> list[Wrong]:
    """Return what of rows is not as the ledger has it. Raises Unavailable."""
    try:
        return await Origins(ledger, owned.state.number, owned.committed_seq).wrong(rows)
    except UNFIT as fault:
        return [Wrong("a row", repr(fault), "what can be read")]


class Origins:
    """Looks rows of one partition up in the ledger, up to an entry that is durable.

    `at` asks for entries as `Ledger.at` does, which it is by default.
    """

    def __init__(
        self,
        ledger: Ledger,
        partition: int,
        until_seq: int,
        at: At | None = None,
    ) -> None:
        self._ledger = ledger
        self._at = at or ledger.at
        self._partition = partition
        self._until_seq = until_seq
        self._entries: dict[int, Entry] = {}

    async def wrong(self, rows: Rows) -> list[Wrong]:
        """Return what differs, lots without units left out. Raises Unavailable, or one of UNFIT."""
        lots = [row for row in rows.lots if row.on_hand]
        opened = [row for row in rows.reservations if row.number <= self._until_seq]
        asked = {row.age for row in lots} | {row.number for row in opened} | {row.seq for row in opened}
        await self._ask(sorted(asked))
        found = [wrong for row in opened for wrong in await self._of_reservation(row)]
        doubtful: dict[StockKey, list[LotRow]] = {}
        for row in lots:
            if not self._came_so(row):
                doubtful.setdefault((row.site, row.sku), []).append(row)
        for key, rows_of_stock in doubtful.items():
            found += await self._replayed(key, rows_of_stock)
        return found

    async def _ask(self, seqs: list[int]) -> None:
        for start in range(0, len(seqs), _ASKED_MAX):
            places = [(self._partition, seq) for seq in seqs[start : start + _ASKED_MAX]]
            self._entries |= {entry.seq: entry for entry in await self._at(places)}

    # Lots

    def _came_so(self, row: LotRow) -> bool:
        """Whether a lot's units came with their date by the entry that is their age: all but always."""
        entry = self._entries.get(row.age)
        return (
            entry is not None
            and entry.kind in FILLS
            and (entry.site, entry.sku, entry.lot) == (row.site, row.sku, row.lot)
            and entry.expires_at_ms == row.expires_at_ms
        )

    async def _replayed(self, key: StockKey, rows: list[LotRow]) -> list[Wrong]:
        """Compare lots with what all entries of their SKU come to; one that moved on since is left out."""
        state = Partition(self._partition)
        while page := await self._ledger.history(self._partition, key, state.seq, _PAGE):
            for entry in page:
                if entry.seq <= self._until_seq:
                    apply_filtered(state, entry)
            if len(page) < _PAGE or page[-1].seq >= self._until_seq:
                break
        stock, found = state.stocks.get(key), []
        for row in rows:
            bin_ = stock.bins.get(row.location) if stock is not None else None
            lot = bin_.lot(row.lot) if bin_ is not None else None
            expected = (lot.expires_at_ms, lot.age) if lot is not None else None
            if expected != (row.expires_at_ms, row.age) and (lot is None or lot.seq == row.seq):
                place = f"{row.site}/{row.sku} at {row.location}" + (f" lot {row.lot}" if row.lot else "")
                told = f"expires_at_ms and age {(row.expires_at_ms, row.age)}"
                found.append(Wrong(place, told, expected))
        return found

    # Reservations

    async def _of_reservation(self, row: ReservationRow) -> list[Wrong]:
        place = f"reservation {row.number}"
        first, last = self._entries.get(row.number), self._entries.get(row.seq)
        if first is None or first.reservation != row.number or first.kind not in _OPENS:
            return [Wrong(place, "been opened", "that it was not")]
        if row.seq <= self._until_seq and (last is None or last.reservation != row.number):
            return [Wrong(place, f"been changed by entry {row.seq}", "that it was not")]
        found = [
            Wrong(place, f"{name} {is_}", should_be)
            for name, is_, should_be in (
                ("opened_at_ms", row.opened_at_ms, first.at_ms),
                ("reference", row.reference, first.reference),
                *_of_attempt(row, first, last),
            )
            if is_ != should_be
        ]
        if row.open and not await self._has_its_date(row, first, last):
            found.append(Wrong(place, f"expires_at_ms {row.expires_at_ms}", "another date"))
        return found

    async def _has_its_date(self, row: ReservationRow, first: Entry, last: Entry | None) -> bool:
        if last is not None and _sets_date(last):
            return row.expires_at_ms == last.expires_at_ms
        if row.expires_at_ms == first.expires_at_ms:
            return True
        entries = await self._ledger.of_reservation(
            self._partition, row.number, min(row.seq, self._until_seq)
        )
        dates = [entry.expires_at_ms for entry in entries if entry is entries[0] or _sets_date(entry)]
        return row.expires_at_ms == dates[-1]


def _sets_date(entry: Entry) -> bool:
    """Whether an entry says anew when its reservation ends: all do that change no stock."""
    return entry.sku is None


def _of_attempt(
    row: ReservationRow, first: Entry, last: Entry | None
) -> Iterable[tuple[str, object, object]]:
    """Return (column, what it says, what it should say) of a reservation over several partitions, or not."""
    detail = json.loads(first.detail) if first.detail is not None else {}
    yield "attempt", row.attempt, detail.get("attempt")
    parts = json.loads(row.parts) if row.parts else []
    yield "parts", parts, detail.get("parts", []) if "home" not in detail else []
    yield "home_partition", row.home_partition, detail.get("home")
    if "home" not in detail:
        yield "home_number", row.home_number, None
        yield "deadline_ms", row.deadline_ms, None
    elif last is not None and last.kind == Kind.RESERVATION_CONFIRMED:
        yield "home_number", row.home_number, json.loads(last.detail or "")["home_number"]
        yield "deadline_ms", row.deadline_ms, None
    elif row.home_number == (opened_seq := detail.get("opened_seq", 0)) or last is first:
        # Only home's decision makes a share final and names its number, and comes after the opening.
        yield "home_number", row.home_number, opened_seq
        yield "deadline_ms", row.deadline_ms, detail["deadline_ms"]
    else:
        yield "deadline_ms", row.deadline_ms, None

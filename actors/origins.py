"""Whether what no balance shows is what the ledger says: dates, ages, references, who holds a share for whom.

Rows of lots and reservations are held against the entries by which they came. A wrong date would otherwise
go on into the ledger, as an entry that says that something has expired.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from actors.joining import Place as EntryPlace
from engine.apply import FILLS, UNFIT, apply_filtered
from engine.commands import StockKey
from engine.entries import Entry, Kind
from engine.images import LotRow, ReservationRow, Rows, capture, reservation_row
from engine.state import Partition
from persistence.traced import Traced

if TYPE_CHECKING:
    from actors.owned import OwnedPartition
    from actors.sums import Place
    from persistence.ports import Ledger, Snapshots

DEPTH = 200
"""Entries of a stock that are looked at: 0.5 ms of a database's time at most, 0.03 ms for one with eight."""
_PAGE = 500
"""Entries that are applied in one go."""
_ASKED_MAX = 500
"""Entries that are asked for at once: 4 ms to take them in."""
_OPENS = frozenset({Kind.STOCK_RESERVED, Kind.ATTEMPT_DECIDED})

_Some = TypeVar("_Some")


class Asking(NamedTuple):
    """How the ledger is asked."""

    at: Callable[[Sequence[EntryPlace]], Awaitable[list[Entry]]]
    """For entries of one partition, as `Ledger.at`."""
    last_of: Callable[[Sequence[Traced]], Awaitable[list[Entry]]]
    """For what changed reservations of one partition last, as `Ledger.last_of`."""


class Told(NamedTuple):
    """What is told of lots and reservations, by memory or by a snapshot."""

    lots: list[LotRow]
    reservations: list[ReservationRow]
    stocks: dict[int, tuple[StockKey, ...]]
    """At which each reservation has lines."""

    @classmethod
    def of(cls, rows: Rows) -> Told:
        """Return what rows of a snapshot tell, all of one partition."""
        stocks: dict[int, dict[StockKey, None]] = {}
        for line in rows.lines:
            stocks.setdefault(line.number, {})[line.site, line.sku] = None
        return cls(rows.lots, rows.reservations, {number: tuple(keys) for number, keys in stocks.items()})


class Wrong(NamedTuple):
    """What is not as the ledger has it."""

    place: str
    found: object
    expected: object

    def __str__(self) -> str:
        return f"{self.place} has {self.found}, and the ledger says {self.expected}"


def rows_of(state: Partition, keys: Iterable[StockKey]) -> Told:
    """Return what is in memory of stocks: their lots, and the reservations that are open at them."""
    keys = list(keys)
    numbers = sorted({number for key in keys for number in state.stocks[key].reservations or ()})
    found = [state.reservations[number] for number in numbers]
    return Told(
        capture(state, keys, ()).lots,
        [reservation_row(state.number, one) for one in found],
        {one.number: tuple({(line.site, line.sku): None for line in one.lines}) for one in found},
    )


def durable(told: Told, until_seq: int) -> Told:
    """Return what the ledger up to an entry can tell of, of a partition that others change."""
    lots = [row for row in told.lots if min(row.seq, row.age) <= until_seq]
    return Told(lots, [row for row in told.reservations if row.seq <= until_seq], told.stocks)


async def written(
    snapshots: Snapshots, owned: OwnedPartition, lots: Mapping[StockKey, Mapping[Place, LotRow]]
) -> Told:
    """Return what rows tell of stocks' lots, those of the partition, and the reservations open at them.

    Raises Unavailable.
    """
    number = owned.state.number
    ours = [row for of_stock in lots.values() for row in of_stock.values() if row.partition == number]
    asked = sorted({(number, (row.site, row.sku)) for row in ours if row.reserved})
    found = await snapshots.load(asked) if asked else Rows([], [], [])
    return Told.of(found._replace(lots=ours))


async def wrong_origins(ledger: Ledger, owned: OwnedPartition, told: Told, until_seq: int) -> list[Wrong]:
    """Return what is not as the ledger up to `until_seq` has it. Raises Unavailable.

    Whatever is told of a reservation must be as of that entry, or of a later one.
    """
    asking = Asking(ledger.at, partial(ledger.last_of, depth=DEPTH))
    try:
        return await Origins(ledger, owned, until_seq, asking).wrong(told)
    except UNFIT as fault:
        return [Wrong("a row", repr(fault), "what can be read")]


class Origins:
    """Looks up in the ledger, up to an entry that is durable, what is told of one partition."""

    def __init__(self, ledger: Ledger, owned: OwnedPartition, until_seq: int, asking: Asking) -> None:
        self._ledger = ledger
        self._asking = asking
        self._partition = owned.state.number
        self._until_seq = until_seq
        self._state_seq = owned.state.seq
        self._entries: dict[int, Entry] = {}
        self._last_of: dict[int, list[Entry]] = {}

    async def wrong(self, told: Told) -> list[Wrong]:
        """Return what differs, lots without units left out. Raises Unavailable, or one of UNFIT."""
        lots = [row for row in told.lots if row.on_hand]
        opened = [row for row in told.reservations if row.number <= self._until_seq]
        await asyncio.gather(self._ask({row.age for row in lots}, opened), self._trace(opened, told.stocks))
        found = [wrong for row in opened for wrong in self._of_reservation(row)]
        doubtful: dict[StockKey, list[LotRow]] = {}
        for row in lots:
            if not self._came_so(row):
                doubtful.setdefault((row.site, row.sku), []).append(row)
        for key, rows_of_stock in doubtful.items():
            found += await self._replayed(key, rows_of_stock)
        return found

    async def _ask(self, ages: set[int], opened: list[ReservationRow]) -> None:
        """Look entries up by the sequence numbers that rows name."""
        seqs = sorted(ages.union(*((row.number, row.seq) for row in opened)))
        for some in _groups(seqs):
            entries = await self._asking.at([EntryPlace(self._partition, seq) for seq in some])
            self._entries |= {entry.seq: entry for entry in entries}

    async def _trace(self, opened: list[ReservationRow], stocks: Mapping[int, tuple[StockKey, ...]]) -> None:
        """Look up what changed reservations last, whatever their rows say."""
        for rows in _groups(opened):
            traced = [
                Traced(self._partition, row.number, stocks.get(row.number, ()), row.seq, self._until_seq)
                for row in rows
            ]
            for entry in await self._asking.last_of(traced):
                if entry.reservation is not None:
                    self._last_of.setdefault(entry.reservation, []).append(entry)

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

    def _of_reservation(self, row: ReservationRow) -> Iterator[Wrong]:
        place = f"reservation {row.number}"
        first, last = self._entries.get(row.number), self._entries.get(row.seq)
        if first is None or first.reservation != row.number or first.kind not in _OPENS:
            yield Wrong(place, "been opened", "that it was not")
            return
        for name, is_, should_be in _at_first(row, first):
            if is_ != should_be:
                yield Wrong(place, f"{name} {is_}", should_be)
        if self._until_seq < row.seq <= self._state_seq:
            return  # Changed since by what is not durable: the ledger cannot tell yet.
        if last is None or last.reservation != row.number:
            yield Wrong(place, f"been changed by entry {row.seq}", "that it was not")
            return
        traced = self._last_of.get(row.number, ())
        newest_seq = max((entry.seq for entry in traced), default=row.seq)
        if newest_seq > row.seq:
            yield Wrong(place, f"been changed last by entry {row.seq}", f"by entry {newest_seq}")
            return
        dated = next((entry for entry in traced if _sets_date(entry)), None)
        for name, is_, should_be in _since(row, first, dated):
            if is_ != should_be:
                yield Wrong(place, f"{name} {is_}", should_be)


def _groups(things: Sequence[_Some]) -> Iterator[Sequence[_Some]]:
    for start in range(0, len(things), _ASKED_MAX):
        yield things[start : start + _ASKED_MAX]


def _sets_date(entry: Entry) -> bool:
    """Whether an entry says anew when its reservation ends: all do that change no stock."""
    return entry.sku is None


Column = tuple[str, object, object]
"""(column, what it says, what it should say)"""


def _at_first(row: ReservationRow, first: Entry) -> Iterable[Column]:
    """Return what a reservation's first entry says for ever."""
    detail = json.loads(first.detail) if first.detail is not None else {}
    yield "opened_at_ms", row.opened_at_ms, first.at_ms
    yield "reference", row.reference, first.reference
    yield "attempt", row.attempt, detail.get("attempt")
    parts = json.loads(row.parts) if row.parts else []
    yield "parts", parts, detail.get("parts", []) if "home" not in detail else []
    yield "home_partition", row.home_partition, detail.get("home")


def _since(row: ReservationRow, first: Entry, dated: Entry | None) -> Iterable[Column]:
    """Return what `dated` says, the last entry that changed a reservation and no stock, or else its first."""
    if row.open:
        yield "expires_at_ms", row.expires_at_ms, (dated or first).expires_at_ms
    detail = json.loads(first.detail) if first.detail is not None else {}
    if "home" not in detail:
        yield "home_number", row.home_number, None
        yield "deadline_ms", row.deadline_ms, None
    elif dated is None:  # Nothing but its confirmation, and what comes after it, changes a share so.
        yield "home_number", row.home_number, detail.get("opened_seq", 0)
        yield "deadline_ms", row.deadline_ms, detail["deadline_ms"]
    else:
        yield "deadline_ms", row.deadline_ms, None
        if dated.kind == Kind.RESERVATION_CONFIRMED:
            yield "home_number", row.home_number, json.loads(dated.detail or "")["home_number"]

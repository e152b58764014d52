"""Whether a stock that came from a snapshot is what the ledger says: looked at before it is first used.

A snapshot that lost or changed a row would otherwise go on into new entries, and the ledger would be wrong
for ever. Of each lot that the stock's newest `DEPTH` entries touch, the last one is held against memory; lots
that rest longer are held against the entry that their row names, and against more of the newest entries. What
those do not touch is left to the auditor. What no balance shows, `origins` looks up.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from actors.joining import Place as EntryPlace
from actors.origins import DEPTH, Asking, Origins, Told, rows_of
from engine.entries import Kind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from actors.owned import OwnedPartition
    from engine.commands import StockKey
    from engine.entries import Entry
    from engine.images import Rows
    from engine.state import Lot, Reservation, Stock
    from persistence.balances import LotBalance
from persistence.ports import Ledger

_PAGE = 500
"""Entries that are read at once."""
_DEEPER = 1_000
"""Entries that are looked at where lots rest longer than `DEPTH` entries: 2 ms of a database's time.
Stocks of a partition that wake together share them."""

Place = tuple[str, str]
"""(location, lot)"""


class Soundness:
    """Compares what came from a snapshot with the ledger. `asking` asks for what `origins` wants to know."""

    def __init__(self, ledger: Ledger, asking: Asking) -> None:
        self._ledger = ledger
        self._asking = asking

    async def of_stocks(
        self,
        owned: OwnedPartition,
        keys: Collection[StockKey],
        last: Mapping[StockKey, Iterable[LotBalance]],
    ) -> str:
        """Compare stocks with what the ledger says last of their lots; return what is wrong, if anything is.

        Raises Unavailable, or one of UNFIT.
        """
        state = owned.state
        looks = [Look(state.stocks[key], last.get(key, ())) for key in keys]
        if unseen := [EntryPlace(state.number, seq) for look in looks for seq in look.unseen]:
            entries = await self._asking.at(unseen)
            for look in looks:
                look.look_at(entries)
            await self._look_deeper(owned, [look for look in looks if look.unseen])
        if why := next((look.why for look in looks if look.why), ""):
            return why
        return await self._look_up(owned, rows_of(state, keys))

    async def _look_deeper(self, owned: OwnedPartition, looks: list[Look]) -> None:
        """See that lots which rest long are not of an entry that others of theirs have followed."""
        depth = _DEEPER // len(looks)
        if depth <= DEPTH:
            return
        by_key = {(look.stock.site, look.stock.sku): look for look in looks}
        asked = [(owned.state.number, key, owned.committed_seq) for key in by_key]
        for balance in await self._ledger.last(asked, depth):
            by_key[balance.site, balance.sku].compare(balance)

    async def of_rows(self, owned: OwnedPartition, number: int | None, rows: Rows) -> str:
        """Do the same with the rows of a reservation alone; that there are none of `number` may be wrong too.

        Raises Unavailable, or one of UNFIT.
        """
        state = owned.state
        if not rows.reservations and number is not None:
            entries = await self._asking.at([EntryPlace(state.number, number)])
            is_lost = any(entry.reservation == entry.seq for entry in entries)
            return f"reservation {number} is missing" if is_lost else ""
        for row in rows.reservations:
            lines = [line for line in rows.lines if line.number == row.number]
            gone = sum(line.picked + line.released + line.expired + line.short for line in lines)
            adds_up = row.open + gone == sum(line.quantity for line in lines)
            if not adds_up or row.open != sum(line.open for line in lines) or not (lines or row.attempt):
                return f"reservation {row.number} is not what its lines hold"
            if row.number not in state.reservations and any(
                line.open and (line.site, line.sku) in state.stocks for line in lines
            ):  # An active stock knows all reservations that are open at it.
                return f"reservation {row.number} is open at a stock that does not know it"
        return await self._look_up(owned, Told.of(rows))

    async def of_attempt(self, owned: OwnedPartition, attempt: str, opened_seq: int) -> str:
        """Look for the decision of an attempt of which the snapshot has none; return what is wrong.

        It can only come after the attempt was opened. Raises Unavailable, or one of UNFIT.
        """
        seq, until_seq = opened_seq, owned.snapshot_seq
        while seq < until_seq and (page := await self._ledger.read(owned.state.number, seq, _PAGE)):
            for entry in page:
                told = entry.detail if entry.kind == Kind.ATTEMPT_DECIDED else None
                if told is not None and json.loads(told)["attempt"] == attempt:
                    return f"attempt {attempt} is missing, which entry {entry.seq} decided"
            seq = page[-1].seq
        return ""

    async def _look_up(self, owned: OwnedPartition, told: Told) -> str:
        wrong = await Origins(self._ledger, owned, owned.committed_seq, self._asking).wrong(told)
        return str(wrong[0]) if wrong else ""


class Look:
    """One look at one stock."""

    def __init__(self, stock: Stock, last: Iterable[LotBalance]) -> None:
        self.stock = stock
        self.why = ""
        """What is wrong; empty where nothing is."""
        self._lots: dict[Place, Lot] = {
            (bin_.location, lot.code): lot for bin_ in stock.bins.values() for lot in bin_.lots
        }
        self._unseen = dict(self._lots)
        self._compare_with_itself()
        for balance in last:
            self._unseen.pop((balance.location, balance.lot), None)
            self.compare(balance)

    @property
    def unseen(self) -> list[int]:
        """The entries of which memory has lots that were not looked at yet."""
        return [lot.seq for lot in self._unseen.values()]

    def look_at(self, entries: Iterable[Entry]) -> None:
        """Compare the lots that were not looked at with the entries that they claim to be of."""
        by_seq = {entry.seq: entry for entry in entries}
        for (location, code), lot in self._unseen.items():
            entry = by_seq.get(lot.seq)
            key = (self.stock.site, self.stock.sku, location, code)
            if entry is None or entry[7:11] != key:
                self._wrong(location, code, f"has no entry {lot.seq}")
            elif entry[12:15] != (lot.on_hand, lot.reserved, lot.held):
                self._wrong(location, code, f"is not as entry {lot.seq} left it")

    def compare(self, last: LotBalance) -> None:
        """Compare a lot with the last entry that was found of it."""
        lot = self._lots.get((last.location, last.lot))
        if lot is None:
            self._wrong(last.location, last.lot, f"is missing, and entry {last.seq} has changed it")
        elif lot.seq != last.seq:
            self._wrong(
                last.location, last.lot, f"is of entry {lot.seq}, and entry {last.seq} has changed it"
            )
        elif (lot.on_hand, lot.reserved, lot.held) != (last.on_hand, last.reserved, last.held):
            self._wrong(last.location, last.lot, f"is not as entry {last.seq} left it")

    def _compare_with_itself(self) -> None:
        """Reserved units are what open reservations hold, held units have their reasons."""
        promised: Counter[Place] = Counter()
        site, sku = self.stock.site, self.stock.sku
        for reservation in (self.stock.reservations or {}).values():
            if not is_whole(reservation):
                self._tell(f"reservation {reservation.number} is not what its lines hold")
            for line in reservation.lines:
                if line.sku == sku and line.site == site:
                    for allocation in line.allocations:
                        promised[allocation.location, allocation.lot] += allocation.open
        for place, lot in self._lots.items():
            if promised.pop(place, 0) != lot.reserved:
                self._wrong(*place, "has other units reserved than open reservations hold")
            if sum((lot.holds or {}).values()) != lot.held:
                self._wrong(*place, "has other units held than its reasons say")
        for place in +promised:
            self._wrong(*place, "is missing, and reservations hold units of it")

    def _wrong(self, location: str, code: str, what: str) -> None:
        lot = f" lot {code}" if code else ""
        self._tell(f"{self.stock.site}/{self.stock.sku} at {location}{lot} {what}")

    def _tell(self, why: str) -> None:
        self.why = self.why or why


def is_whole(reservation: Reservation) -> bool:
    """Whether a reservation holds what its lines hold, and lines have what became of their units."""
    open_units = 0
    for line in reservation.lines:
        held = sum(allocation.open for allocation in line.allocations)
        gone = line.picked + line.released + line.expired + line.short
        allocated = sum(allocation.quantity for allocation in line.allocations)
        if not held + gone == allocated == line.quantity <= line.requested:
            return False
        open_units += held
    return open_units == reservation.open and bool(reservation.lines or reservation.attempt)

"""What the ledger says, worked out by other means than the engine's: plain sums, kept for every prefix.

It reads rows by their documented columns (`docs/architecture.md`) and knows nothing of strategies, queues or
activation. `check` says the first thing about a row that does not follow from the rows before it.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import cache
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from simulation.promises import Promise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine.entries import Entry

Place = tuple[str, str, str]
"""(site, sku, location)"""
UNITS = ("on_hand", "reserved", "held")

_DOES = {
    "stock_received": (1, 0, 0),
    "stock_reserved": (0, 1, 0),
    "stock_released": (0, -1, 0),
    "reservation_expired": (0, -1, 0),
    "reservation_moved_out": (0, -1, 0),
    "reservation_moved_in": (0, 1, 0),
    "stock_picked": (-1, -1, 0),
    "stock_shorted": (0, -1, 1),
    "stock_moved_out": (-1, -1, 0),
    "stock_moved_in": (1, 1, 0),
    "stock_adjusted": (1, 0, 0),
    "stock_counted": (1, 0, 0),
    "stock_held": (0, 0, 1),
    "stock_unheld": (0, 0, -1),
    "lot_expired": (0, 0, 1),
}
"""What a unit adds to on hand, to reserved if a reservation is named, and to held."""

_SIGNED = frozenset({"stock_adjusted", "stock_counted"})
_FILLS = frozenset({"stock_received", "stock_moved_in", "stock_adjusted", "stock_counted"})


class LotState(NamedTuple):
    """A lot in a bin after an entry."""

    code: str
    on_hand: int = 0
    reserved: int = 0
    held: int = 0
    holds: tuple[tuple[str, int], ...] = ()
    """Units held by reason."""
    expires_at_ms: int | None = None
    """When it expires: what the last entry said that filled it."""
    age: int = 0
    """Sequence number at which its units came in; moved ones keep theirs."""
    seq: int = 0

    @property
    def free(self) -> int:
        """Units that may be promised, if the lot is good."""
        return self.on_hand - self.reserved - self.held


class BinState(NamedTuple):
    """A bin after an entry, with all lots that it ever had, by code."""

    seq: int
    on_hand: int
    reserved: int
    held: int
    lots: tuple[LotState, ...]

    def lot(self, code: str) -> LotState:
        """Return a lot; one without units where there never was any."""
        for lot in self.lots:
            if lot.code == code:
                return lot
        return LotState(code)

    def meant(self, code: str | None) -> LotState | None:
        """Return the lot that is named, or the only one with units; None where several have some."""
        if code is not None:
            return self.lot(code)
        stocked = [lot for lot in self.lots if lot.on_hand]
        if len(stocked) > 1:
            return None
        return stocked[0] if stocked else self.lot("")


NO_BIN = BinState(0, 0, 0, 0, ())


class LedgerModel:
    """One partition: balances, promises and totals at every prefix."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.seq = 0
        self.at_ms = 0
        self.epoch = 0
        self.owner = ""
        self.claims: list[tuple[int, str]] = []
        """(seq, host) of every claim."""
        self.stocks: dict[tuple[str, str], dict[str, list[BinState]]] = {}
        """By (site, sku) and location: what a bin was after each entry that changed it."""
        self.available: dict[tuple[str, str], list[tuple[int, int]]] = {}
        """(seq, units that may be promised) of a whole SKU."""
        self.promises: dict[int, Promise] = {}
        self.rows: list[Entry] = []

    def check(self, entry: Entry, writer: str) -> str | None:
        """Take the next row; return what is wrong with it, or None."""
        wrong = None
        if entry.seq != self.seq + 1:
            wrong = f"the entry before is {self.seq}"
        elif entry.at_ms < self.at_ms:
            wrong = f"recorded {self.at_ms - entry.at_ms} ms before the entry before it"
        self.seq, self.at_ms = entry.seq, entry.at_ms
        self.rows.append(entry)
        if entry.kind == "partition_claimed":
            wrong = wrong or self._take_claim(entry)
        if writer != self.owner:
            wrong = wrong or f"written by {writer}, but {self.owner} owns the partition"
        if wrong is None and entry.sku is not None:
            wrong = self._take_lot(entry)
        if wrong is None and entry.reservation is not None:
            wrong = self._take_promise(entry, entry.reservation)
        return (
            None
            if wrong is None
            else f"partition {self.partition}, entry {entry.seq} ({entry.kind}): {wrong}"
        )

    def _take_claim(self, entry: Entry) -> str | None:
        host, epoch = Promise.said(entry)["host"], Promise.said(entry)["epoch"]
        if epoch != self.epoch + 1:
            return f"epoch {epoch} follows {self.epoch}"
        self.epoch, self.owner = epoch, host
        self.claims.append((entry.seq, host))
        return None

    def _take_lot(self, entry: Entry) -> str | None:
        assert entry.site is not None is not entry.sku
        assert entry.location is not None is not entry.lot
        stock = self.stocks.setdefault((entry.site, entry.sku), {})
        history = stock.get(entry.location)
        if history is None:
            history = stock[entry.location] = []
        bin_ = history[-1] if history else NO_BIN
        before = bin_.lot(entry.lot)
        quantity = entry.quantity
        on_hand, reserved, held = _DOES[entry.kind]
        on_hand = before.on_hand + on_hand * quantity
        reserved = before.reserved + (reserved * quantity if entry.reservation is not None else 0)
        plus_held, held = held * quantity, before.held + held * quantity
        if (on_hand, reserved, held) != (entry.on_hand, entry.reserved, entry.held):
            said = (entry.on_hand, entry.reserved, entry.held)
            return f"it says {said}, the sum is {(on_hand, reserved, held)}"
        if reserved < 0 or held < 0 or reserved + held > on_hand:
            return f"oversold: on hand, reserved and held are {(on_hand, reserved, held)}"
        if quantity <= 0 and entry.kind not in _SIGNED:
            return f"it is of {quantity} units"
        holds = _held(before.holds, entry.reason, plus_held) if plus_held else before.holds
        if holds is None:
            return f"more than was held for {entry.reason}"
        expires_at_ms, age = before.expires_at_ms, before.age
        if entry.kind in _FILLS and on_hand:
            if not before.on_hand or entry.expires_at_ms is not None:
                expires_at_ms = entry.expires_at_ms
            age = _age(entry, before, stock)
            others = (history[-1].lot(entry.lot) for history in stock.values() if history)
            dates = {lot.expires_at_ms for lot in others if lot.on_hand} if entry.lot else ()
            if dates and dates != {expires_at_ms}:
                return f"lot {entry.lot} expires at {expires_at_ms}, elsewhere it does at {dates}"
        lot = LotState(entry.lot, on_hand, reserved, held, holds, expires_at_ms, age, entry.seq)
        history.append(_with(bin_, lot))
        totals = self.available.setdefault((entry.site, entry.sku), [(0, 0)])
        totals.append((entry.seq, totals[-1][1] + lot.free - before.free))
        return None

    def _take_promise(self, entry: Entry, number: int) -> str | None:
        promise = self.promises.get(number)
        if promise is None:
            if number != entry.seq or entry.kind not in ("stock_reserved", "attempt_decided"):
                return f"it names reservation {number}, which was never opened"
            promise = self.promises[number] = Promise(self.partition, entry)
        return promise.take(entry)

    # What was

    def bins_of(self, sku: str, site: str) -> dict[str, BinState]:
        """Return a SKU's bins as they are now, by location."""
        stock = self.stocks.get((site, sku), {})
        return {location: history[-1] for location, history in stock.items() if history}

    def bin_at(self, place: Place, seq: int) -> BinState:
        """Return a bin at a prefix; zeros where there is none."""
        history = self.stocks.get(place[:2], {}).get(place[2])
        if not history:
            return NO_BIN
        if history[-1].seq <= seq:
            return history[-1]
        found = bisect_right(history, seq, key=_SEQ)
        return history[found - 1] if found else NO_BIN

    def bins_between(self, place: Place, first_seq: int, last_seq: int) -> list[BinState]:
        """Return what a bin was at every prefix from one to another, as `bin_at`."""
        history = self.stocks.get(place[:2], {}).get(place[2], [])
        first = bisect_right(history, first_seq, key=_SEQ)
        last = bisect_right(history, last_seq, key=_SEQ)
        return [self.bin_at(place, first_seq), *history[first:last]]

    def was_seen_by(self, host: str, place: Place, seq: int) -> bool:
        """Whether a bin was as it was at an entry while a host owned the partition."""
        history = self.stocks[place[:2]][place[2]]
        found = bisect_right(history, seq, key=_SEQ)
        until_seq = history[found].seq if found < len(history) else self.seq + 1
        end = self.seq + 1
        for claim_seq, owner in reversed(self.claims):
            if owner == host and seq < end and claim_seq < until_seq:
                return True
            end = claim_seq
        return False

    def bins_known(self, site: str, sku: str, seq: int) -> set[str]:
        """Return the locations at which a SKU ever was, at a prefix."""
        stock = self.stocks.get((site, sku), {})
        return {location for location, history in stock.items() if history and history[0].seq <= seq}

    def free_units(self, place: Place, at_ms: int) -> int:
        """Return what may be promised now of a SKU, at a location or (with "") anywhere, at an instant."""
        bins = self.stocks.get(place[:2], {})
        return sum(
            lot.free
            for location, history in bins.items()
            if history and place[2] in ("", location)
            for lot in history[-1].lots
            if lot.expires_at_ms is None or lot.expires_at_ms > at_ms
        )

    def available_between(self, place: Place, first_seq: int, last_seq: int) -> set[int]:
        """Return how many units may have been promised at any prefix from one to another; "": anywhere."""
        if place[2]:
            bins = self.bins_between(place, first_seq, last_seq)
            return {bin_.on_hand - bin_.reserved - bin_.held for bin_ in bins}
        history = self.available.get(place[:2], [(0, 0)])
        first = bisect_right(history, first_seq, key=_SEQ)
        last = bisect_right(history, last_seq, key=_SEQ)
        return {units for _, units in history[max(0, first - 1) : last]}

    def places(self) -> Iterator[tuple[Place, list[BinState]]]:
        """Return all bins with what they were."""
        for (site, sku), stock in self.stocks.items():
            for location, history in stock.items():
                if history:
                    yield (site, sku, location), history


def _SEQ(state: tuple[int, ...] | BinState) -> int:  # noqa: N802 - a key, as `itemgetter(0)`, with a type
    return state[0]


def _with(bin_: BinState, lot: LotState) -> BinState:
    """Return a bin with one lot as it is now."""
    if len(bin_.lots) <= 1 and (not bin_.lots or bin_.lots[0].code == lot.code):
        return BinState(lot.seq, lot.on_hand, lot.reserved, lot.held, (lot,))
    lots = tuple(sorted([*(one for one in bin_.lots if one.code != lot.code), lot]))
    sums = [sum(column) for column in zip(*(one[1:4] for one in lots), strict=True)]
    return BinState(lot.seq, sums[0], sums[1], sums[2], lots)


def _held(
    holds: tuple[tuple[str, int], ...], reason: str | None, units: int
) -> tuple[tuple[str, int], ...] | None:
    """Return units held by reason after some more; None if there are less than none."""
    by_reason = dict(holds)
    by_reason[str(reason)] = by_reason.get(str(reason), 0) + units
    if by_reason[str(reason)] < 0:
        return None
    return tuple((one, held) for one, held in by_reason.items() if held)


def _age(entry: Entry, before: LotState, stock: dict[str, list[BinState]]) -> int:
    """Return since when units are here: those that moved were here before."""
    came = entry.seq
    source = stock.get(entry.counterpart or "") if entry.kind == "stock_moved_in" else None
    if source and entry.lot is not None:
        came = source[-1].lot(entry.lot).age
    return came if not before.on_hand else min(before.age, came)


@cache
def partition_of(site: str, sku: str, partitions: int) -> int:
    """Return where a SKU lies: 64 bits of its BLAKE2b hash, modulo (`docs/architecture.md`)."""
    return int(blake2b(f"{site}\0{sku}".encode(), digest_size=8).hexdigest(), 16) % partitions

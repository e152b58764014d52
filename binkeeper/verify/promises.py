"""The model's reservations: who holds how many units where, and whether they may leave."""

import json
from typing import Any

from binkeeper.verify.findings import Sort, Tell
from engine.entries import Entry

Held = tuple[int, str, str]
"""(line, location, lot)"""

_LEAVES = {
    "stock_picked": "picked",
    "stock_released": "released",
    "reservation_expired": "expired",
    "stock_shorted": "short",
    "stock_moved_out": None,
    "reservation_moved_out": None,
}
"""By these, units leave a reservation; under which head its line counts them. None: they go on elsewhere."""
_ARRIVES = frozenset({"stock_moved_in", "reservation_moved_in"})
_NOT_OF_TENTATIVE = frozenset({"stock_picked", "reservation_expired", "stock_shorted"})


class LineSums:
    """What became of a line's units."""

    __slots__ = ("counts", "quantity", "site", "sku")

    def __init__(self, site: str, sku: str) -> None:
        self.site = site
        self.sku = sku
        self.quantity = 0
        self.counts = {"picked": 0, "released": 0, "expired": 0, "short": 0}


class Promise:
    """One reservation."""

    __slots__ = ("expires_at_ms", "is_tentative", "is_unknown", "lines", "open", "seq")

    def __init__(self) -> None:
        self.open: dict[Held, int] = {}
        self.lines: dict[int, LineSums] = {}
        self.expires_at_ms: int | None = None
        self.is_tentative = False
        self.is_unknown = False
        """Its first entry was not seen: what it holds is not known."""
        self.seq = 0

    @property
    def units(self) -> int:
        """How many it still holds."""
        return sum(self.open.values())


class Promises:
    """All reservations of a partition, by number."""

    def __init__(self, tell: Tell) -> None:
        self.of: dict[int, Promise] = {}
        self._tell = tell

    def take(self, entry: Entry, first_seq: int) -> None:
        """Take an entry that names a reservation; `first_seq` is the first entry of its command."""
        number, kind = entry.reservation, entry.kind
        assert number is not None
        promise = self.of.get(number)
        if kind in {"stock_reserved", "attempt_decided"}:
            promise = self._opened(entry, promise, first_seq)
        elif promise is None:
            self._wrong(entry, "a reservation that an entry before has opened", "an unknown one")
            promise = self.of[number] = Promise()
            promise.is_unknown = True
        promise.seq = entry.seq
        if entry.sku is None:
            self._take_alone(entry, promise)
        elif kind in _LEAVES:
            self._leave(entry, promise)
        elif kind == "stock_reserved" or kind in _ARRIVES:
            self._enter(entry, promise)
        else:
            self._wrong(entry, f"no reservation in an entry of {kind}", f"number {number}")

    def _wrong(self, entry: Entry, expected: str, found: str) -> None:
        self._tell(Sort.RESERVATION, entry.seq, f"reservation {entry.reservation}", expected, found)

    def _opened(self, entry: Entry, promise: Promise | None, first_seq: int) -> Promise:
        number = entry.reservation
        assert number is not None
        if number != first_seq:
            self._wrong(entry, f"number {first_seq}, the first entry of its command", f"number {number}")
        if promise is None:
            promise = self.of[number] = Promise()
            promise.expires_at_ms = entry.expires_at_ms
            promise.is_tentative = "home" in _detail(entry)
        elif entry.kind == "attempt_decided":
            self._wrong(
                entry, "a decision as the first entry of its reservation", "one that is there already"
            )
        return promise

    def _take_alone(self, entry: Entry, promise: Promise) -> None:
        """Take an entry that touches no stock."""
        if entry.kind not in {"reservation_extended", "reservation_confirmed"}:
            return
        if not promise.units and not promise.is_unknown:
            self._wrong(entry, "an open reservation", f"{entry.kind} of one that is over")
        if entry.kind == "reservation_confirmed":
            if not promise.is_tentative and not promise.is_unknown:
                self._wrong(entry, "a tentative share", "one that is final")
            promise.is_tentative = False
        promise.expires_at_ms = entry.expires_at_ms

    def _enter(self, entry: Entry, promise: Promise) -> None:
        held = self._held(entry, promise)
        if held is None:
            return
        promise.open[held] = promise.open.get(held, 0) + entry.quantity
        if entry.kind == "stock_reserved":
            promise.lines[held[0]].quantity += entry.quantity

    def _leave(self, entry: Entry, promise: Promise) -> None:
        held = self._held(entry, promise)
        if held is None:
            return
        there = promise.open.get(held, 0)
        if entry.quantity > there and not promise.is_unknown:
            over = "" if promise.units else "; the reservation is over"
            self._wrong(entry, f"at most the {there} units that are open there", f"{entry.quantity}{over}")
        if promise.is_tentative and entry.kind in _NOT_OF_TENTATIVE:
            self._wrong(entry, "a share that is confirmed", f"{entry.kind} of a tentative one")
        if entry.kind == "reservation_expired" and not promise.is_unknown:
            due_ms = promise.expires_at_ms
            if due_ms is None or due_ms > entry.at_ms:
                self._wrong(entry, f"no end before {due_ms}", f"expired at {entry.at_ms}")
        promise.open[held] = max(0, there - entry.quantity)
        if not promise.open[held]:
            del promise.open[held]
        head = _LEAVES[entry.kind]
        if head is not None:
            promise.lines[held[0]].counts[head] += entry.quantity

    def _held(self, entry: Entry, promise: Promise) -> Held | None:
        """Return where of its line an entry is, and see that the line is of one SKU."""
        site, sku, location, lot = entry[7:11]
        if entry.line is None:
            self._wrong(entry, "a line", "none")
            return None
        assert site is not None is not sku
        assert location is not None is not lot
        line = promise.lines.get(entry.line)
        if line is None:
            line = promise.lines[entry.line] = LineSums(site, sku)
        elif (line.site, line.sku) != (site, sku):
            self._wrong(entry, f"line {entry.line} of {line.site}/{line.sku}", f"{site}/{sku}")
            return None
        return entry.line, location, lot


def _detail(entry: Entry) -> dict[str, Any]:
    try:
        detail = json.loads(entry.detail) if entry.detail is not None else {}
    except (ValueError, RecursionError):
        return {}  # `fold` tells it.
    return detail if isinstance(detail, dict) else {}

"""A reservation in one partition, as the ledger's rows that name it say: what it was at every prefix."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from engine.entries import Entry

ENDS = {
    "stock_picked": "picked",
    "stock_released": "released",
    "reservation_expired": "expired",
    "stock_shorted": "short",
}
_decode = msgspec.json.Decoder().decode
_ENTERS = frozenset({"stock_reserved", "reservation_moved_in", "stock_moved_in"})

State = tuple[int, int, int, int, int]
"""(picked, released, expired, short, open)"""


class Promise:
    """Units promised to one caller in one partition."""

    def __init__(self, partition: int, first: Entry) -> None:
        self.partition = partition
        self.number = first.seq
        self.opened_at_ms = first.at_ms
        self.reference = first.reference
        self.expires_at_ms = first.expires_at_ms
        self.dates = {first.expires_at_ms}
        """All that it ever was to expire at."""
        self.detail = self.said(first)
        self.attempt: str | None = self.detail.get("attempt")
        self.is_share = "home" in self.detail
        self.parts: list[list[int]] | None = self.detail.get("parts")
        """[partition, number, opened_at_ms] of its shares, where it spans partitions."""
        self.home_number = 0
        """Number of the reservation that it is a share of, once it is confirmed."""
        self.rows: list[Entry] = []
        self.open: dict[tuple[int, str, str], int] = defaultdict(int)
        """Units by (line, location, lot)."""
        self.skus: dict[int, str] = {line[0]: line[2] for line in self.detail.get("requested", ())}
        """By line."""
        self.states: list[tuple[int, State]] = []
        """(seq, state) after each entry that changed it."""
        self._ended = dict.fromkeys(ENDS, 0)

    @staticmethod
    def said(entry: Entry) -> dict[str, Any]:
        """Return an entry's detail."""
        return _decode(entry.detail) if entry.detail else {}

    @property
    def open_units(self) -> int:
        """Units that are still promised."""
        return self.states[-1][1][-1] if self.states else 0

    @property
    def is_tentative(self) -> bool:
        """Whether it is a share that nobody has confirmed."""
        return self.is_share and not self.home_number

    def take(self, entry: Entry) -> str | None:
        """Take the next row that names it; return what is wrong with it, or None."""
        self.rows.append(entry)
        if entry.kind in ("reservation_extended", "reservation_confirmed"):
            self.expires_at_ms = entry.expires_at_ms
            self.dates.add(entry.expires_at_ms)
            if entry.kind == "reservation_confirmed":
                self.home_number = self.said(entry)["home_number"]
        elif entry.kind == "request_noted" and entry.expires_at_ms != self.expires_at_ms:
            return f"it notes {entry.expires_at_ms}, it expires at {self.expires_at_ms}"
        elif entry.kind == "stock_reserved" and (entry.expires_at_ms, entry.reference) != (
            self.expires_at_ms, self.reference,
        ):  # fmt: skip
            return f"it says {entry.expires_at_ms, entry.reference}, not as the first entry"
        if entry.kind == "reservation_expired" and (
            self.expires_at_ms is None or entry.at_ms < self.expires_at_ms
        ):
            return f"reservation {self.number} expired before its time, {self.expires_at_ms}"
        if entry.sku is not None:
            assert entry.location is not None is not entry.lot
            if entry.line is None:
                return "it names no line"
            if self.skus.setdefault(entry.line, entry.sku) != entry.sku:
                return f"line {entry.line} is of {self.skus[entry.line]}"
            held = (entry.line, entry.location, entry.lot)
            self.open[held] += entry.quantity if entry.kind in _ENTERS else -entry.quantity
            if self.open[held] < 0:
                return f"{-self.open[held]} more left reservation {self.number} than it held"
            if entry.kind in ENDS:
                self._ended[entry.kind] += entry.quantity
        picked, released, expired, short = self._ended.values()
        state = (picked, released, expired, short, sum(self.open.values()))
        if not self.states or self.states[-1][1] != state:
            self.states.append((entry.seq, state))
        return None

    def held(self, sku: str | None, location: str | None = None) -> int:
        """Return the units that are open, of one SKU and in one bin if they are named."""
        return sum(
            units
            for (line, where, _), units in self.open.items()
            if sku in (None, self.skus[line]) and location in (None, where)
        )

    def open_at(self, seq: int) -> int:
        """Return the units that were promised at a prefix."""
        return next((state[-1] for at, state in reversed(self.states) if at <= seq), 0)

    def states_between(self, first_seq: int, last_seq: int) -> list[State]:
        """Return what it was at prefixes from one to another."""
        between = [state for seq, state in self.states if first_seq < seq <= last_seq]
        before = [state for seq, state in self.states if seq <= first_seq]
        return [*before[-1:], *between]

    def held_between(self, sku: str | None, first_seq: int, last_seq: int) -> set[int]:
        """Return how many units, of one SKU if it is named, were open at prefixes from one to another."""
        seqs = self.seqs_between(first_seq, last_seq)
        return {
            sum(one["open"] for line in self.lines_at(seq) if sku in (None, line["sku"])
                for one in line["allocations"])
            for seq in seqs
        }  # fmt: skip

    def seqs_between(self, first_seq: int, last_seq: int) -> list[int]:
        """Return one prefix for each time at which it may have looked otherwise, the latest first."""
        seqs = [row.seq for row in self.rows if row.seq <= last_seq]
        later = [seq for seq in seqs if seq > first_seq]
        return [*later[::-1], *seqs[len(seqs) - len(later) - 1 : len(seqs) - len(later)]]

    def date_at(self, seq: int) -> int | None:
        """Return when it was to expire, at a prefix."""
        date = self.rows[0].expires_at_ms
        for row in self.rows:
            if row.seq <= seq and row.kind in ("reservation_extended", "reservation_confirmed"):
                date = row.expires_at_ms
        return date

    def lines_at(self, seq: int) -> list[dict[str, Any]]:
        """Return its lines at a prefix, as callers are shown them."""
        lines: dict[int, dict[str, Any]] = {}
        if self.number <= seq:
            for index, site, sku, units in self.detail.get("requested", ()):
                lines[index] = _line(index, site, sku, units)
        for row in self.rows:
            if row.seq > seq:
                break
            if row.sku is not None and row.line is not None:
                line = lines.get(row.line)
                if line is None:
                    line = lines[row.line] = _line(row.line, row.site, row.sku, 0)
                _move(line, row)
        return [lines[index] for index in sorted(lines)]


def _line(index: int, site: str | None, sku: str, requested: int) -> dict[str, Any]:
    return {
        "line": index,
        "site": site,
        "sku": sku,
        "quantity": 0,
        "requested": requested,
        "picked": 0,
        "released": 0,
        "expired": 0,
        "short": 0,
        "allocations": [],
    }


def _move(line: dict[str, Any], row: Entry) -> None:
    """Let an entry's units come into a line's allocation, or leave it."""
    allocations, place = line["allocations"], (row.location, row.lot or None)
    found = [one for one in allocations if (one["location"], one["lot"]) == place]
    if not found:
        found = [{"location": place[0], "lot": place[1], "quantity": 0, "open": 0}]
        allocations.extend(found)
    sign = 1 if row.kind in _ENTERS else -1
    found[0]["open"] += sign * row.quantity
    if row.kind in ENDS:
        line[ENDS[row.kind]] += row.quantity
        return
    found[0]["quantity"] += sign * row.quantity
    if not found[0]["quantity"]:
        allocations.remove(found[0])
    if row.kind == "stock_reserved":
        line["quantity"] += row.quantity
        line["requested"] = max(line["requested"], line["quantity"])

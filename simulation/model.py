"""What the ledger says, worked out by other means than the engine's: plain sums, kept for every prefix.

It reads rows by their documented columns (`docs/architecture.md`) and knows nothing of lots' ages, strategies
or activation. `check` says the first thing about a row that does not follow from the rows before it.
"""

import json
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

Place = tuple[str, str, str]
"""(site, sku, location)"""
UNITS = ("on_hand", "reserved", "held")

_ON_HAND = {"stock_received": 1, "stock_picked": -1, "stock_moved_out": -1, "stock_moved_in": 1,
            "stock_adjusted": 1, "stock_counted": 1}  # fmt: skip
_RESERVED = {"stock_reserved": 1, "stock_released": -1, "reservation_expired": -1,
             "reservation_moved_out": -1, "reservation_moved_in": 1, "stock_picked": -1, "stock_shorted": -1,
             "stock_moved_out": -1, "stock_moved_in": 1}  # fmt: skip
_HELD = {"stock_shorted": 1, "stock_held": 1, "stock_unheld": -1, "lot_expired": 1}
_ENDS = {"stock_picked": "picked", "stock_released": "released", "reservation_expired": "expired",
         "stock_shorted": "short"}  # fmt: skip


@dataclass(slots=True)
class Promise:
    """A reservation in one partition."""

    partition: int
    number: int
    opened_at_ms: int
    reference: str | None
    expires_at_ms: int | None
    detail: dict[str, Any]
    open: dict[tuple[int, str, str], int] = field(default_factory=lambda: defaultdict(int))
    """Units by (line, location, lot)."""
    ended: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_ENDS.values(), 0))
    reasons: set[str] = field(default_factory=set)
    skus: set[str] = field(default_factory=set)
    is_confirmed: bool = False
    states: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)
    """(seq, (picked, released, expired, short, open)) after each entry that names it."""

    @property
    def open_units(self) -> int:
        """Units that are still promised."""
        return sum(self.open.values())

    @property
    def is_tentative(self) -> bool:
        """Whether it is a share that nobody has confirmed."""
        return "home" in self.detail and not self.is_confirmed


class LedgerModel:
    """One partition: balances, promises and totals at every prefix."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.seq = 0
        self.at_ms = 0
        self.epoch = 0
        self.owner = ""
        self.lots: dict[tuple[str, str, str, str], list[int]] = {}
        self.bins: dict[Place, list[tuple[int, int, int, int]]] = {}
        """(seq, on hand, reserved, held) after each entry that changed the bin."""
        self.available: dict[Place, list[tuple[int, int]]] = {}
        """(seq, units that may be promised) by bin, and with location "" of the whole SKU."""
        self.promises: dict[int, Promise] = {}

    def check(self, entry: Any, writer: str) -> str | None:  # noqa: ANN401 - a row, by its columns' names
        """Take the next row; return what is wrong with it, or None."""
        where = f"partition {self.partition}, entry {entry.seq} ({entry.kind})"
        if entry.seq != self.seq + 1:
            return f"{where}: the entry before is {self.seq}"
        if entry.at_ms < self.at_ms:
            return f"{where}: recorded {self.at_ms - entry.at_ms} ms before the entry before it"
        self.seq, self.at_ms = entry.seq, entry.at_ms
        if entry.kind == "partition_claimed":
            detail = json.loads(entry.detail)
            if detail["epoch"] != self.epoch + 1:
                return f"{where}: epoch {detail['epoch']} follows {self.epoch}"
            self.epoch, self.owner = detail["epoch"], detail["host"]
        if writer != self.owner:
            return f"{where}: written by {writer}, but {self.owner} owns the partition"
        return self._check_lot(entry, where) or self._check_promise(entry, where)

    def _check_lot(self, entry: Any, where: str) -> str | None:  # noqa: ANN401
        if entry.sku is None:
            return None
        lot = self.lots.setdefault((entry.site, entry.sku, entry.location, entry.lot), [0, 0, 0])
        lot[0] += _ON_HAND.get(entry.kind, 0) * entry.quantity
        lot[1] += _RESERVED.get(entry.kind, 0) * entry.quantity if entry.reservation is not None else 0
        lot[2] += _HELD.get(entry.kind, 0) * entry.quantity
        if lot != [entry.on_hand, entry.reserved, entry.held]:
            return f"{where}: it says {entry.on_hand, entry.reserved, entry.held}, the sum is {tuple(lot)}"
        if lot[1] < 0 or lot[2] < 0 or lot[1] + lot[2] > lot[0]:
            return f"{where}: oversold: on hand, reserved and held are {tuple(lot)}"
        place = (entry.site, entry.sku, entry.location)
        sums = [sum(column) for column in zip(*self._lots_at(place), strict=True)]
        self.bins.setdefault(place, []).append((entry.seq, sums[0], sums[1], sums[2]))
        for location in (entry.location, ""):
            one = (entry.site, entry.sku, location)
            units = sum(on_hand - reserved - held for on_hand, reserved, held in self._lots_at(one))
            self.available.setdefault(one, []).append((entry.seq, units))
        return None

    def _lots_at(self, place: Place) -> list[list[int]]:
        site, sku, location = place
        return [lot for key, lot in self.lots.items() if key[:2] == (site, sku) and location in ("", key[2])]

    def _check_promise(self, entry: Any, where: str) -> str | None:  # noqa: ANN401 - a case for each kind
        number = entry.reservation
        if number is None:
            return None
        promise = self.promises.get(number)
        if promise is None:
            if number != entry.seq:
                return f"{where}: names reservation {number}, which was never opened"
            detail = json.loads(entry.detail) if entry.detail else {}
            promise = self.promises[number] = Promise(
                self.partition, number, entry.at_ms, entry.reference, entry.expires_at_ms, detail
            )
        if entry.kind in ("reservation_extended", "reservation_confirmed"):
            promise.expires_at_ms = entry.expires_at_ms
            promise.is_confirmed |= entry.kind == "reservation_confirmed"
        is_early = promise.expires_at_ms is None or entry.at_ms < promise.expires_at_ms
        if entry.kind == "reservation_expired" and is_early and not promise.is_tentative:
            return f"{where}: reservation {number} expired before its time, {promise.expires_at_ms}"
        if entry.sku is not None:
            promise.skus.add(entry.sku)
            held = (entry.line, entry.location, entry.lot)
            promise.open[held] += _RESERVED[entry.kind] * entry.quantity
            if promise.open[held] < 0:
                return f"{where}: {-promise.open[held]} more left reservation {number} than it held"
            if entry.kind in _ENDS:
                promise.ended[_ENDS[entry.kind]] += entry.quantity
            if entry.reason:
                promise.reasons.add(entry.reason)
        state = (*promise.ended.values(), promise.open_units)
        if not promise.states or promise.states[-1][1] != state:
            promise.states.append((entry.seq, state))
        return None

    def bin_at(self, place: Place, seq: int) -> tuple[int, int, int, int]:
        """Return a bin's (seq, on hand, reserved, held) at a prefix; zeros where there is none."""
        history = self.bins.get(place, [])
        found = bisect_right(history, seq, key=lambda one: one[0])
        return history[found - 1] if found else (0, 0, 0, 0)

    def bins_between(self, place: Place, first_seq: int, last_seq: int) -> list[tuple[int, int, int, int]]:
        """Return what a bin was at every prefix from one to another, as `bin_at`."""
        history = self.bins.get(place, [])
        first = bisect_right(history, first_seq, key=lambda one: one[0])
        last = bisect_right(history, last_seq, key=lambda one: one[0])
        return [self.bin_at(place, first_seq), *history[first:last]]

    def bins_known(self, site: str, sku: str, seq: int) -> set[str]:
        """Return the locations at which a SKU ever was, at a prefix."""
        return {
            place[2]
            for place, history in self.bins.items()
            if place[:2] == (site, sku) and history[0][0] <= seq
        }

    def least_available(self, place: Place, first_seq: int, last_seq: int) -> int:
        """Return the fewest units that could be promised at any prefix from one to another."""
        history = self.available.get(place, [])
        first = bisect_right(history, first_seq, key=lambda one: one[0])
        last = bisect_right(history, last_seq, key=lambda one: one[0])
        units = [units for _, units in history[max(0, first - 1) : last]]
        return min(units) if units and first else 0

    def promise_states(self, number: int, first_seq: int, last_seq: int) -> set[tuple[int, ...]]:
        """Return the states that a reservation had at prefixes from one to another."""
        states = self.promises[number].states
        first = bisect_right(states, first_seq, key=lambda one: one[0])
        last = bisect_right(states, last_seq, key=lambda one: one[0])
        return {state for _, state in states[max(0, first - 1) : last]}

    def promise_at(self, number: int, seq: int) -> tuple[int, ...]:
        """Return a reservation's (picked, released, expired, short, open) at a prefix that has it."""
        states = self.promises[number].states
        return states[bisect_right(states, seq, key=lambda one: one[0]) - 1][1]


def address_of(public_id: str) -> tuple[int, int]:
    """Return (partition, number) as the 74 free bits of a UUIDv7 (RFC 9562) hold them: 12 + 4, then 58."""
    value = int(public_id.replace("-", ""), 16)
    low = value & (1 << 62) - 1
    return (low >> 58) << 12 | value >> 64 & 0xFFF, low & (1 << 58) - 1

"""A model of one partition's ledger, simpler than the engine, and without a line in common with it.

It takes entry after entry and tells what does not follow from those before: sequence, time, claims, commands,
balances, holds. Where something does not fit, it believes the entry and goes on, so that one changed row is
told once and not for ever after. Reservations are in `promises`.
"""

import json

from binkeeper.verify.commands import CommandOrder
from binkeeper.verify.findings import Sort, Tell
from binkeeper.verify.promises import Promises
from engine.entries import Entry
from engine.partitioning import partition_of

UNITS_MAX = 2**53 - 1

CHANGES: dict[str, tuple[int, int, int] | None] = {
    "partition_claimed": None,
    "stock_received": (1, 0, 0),
    "stock_reserved": (0, 1, 0),
    "reservation_extended": None,
    "reservation_confirmed": None,
    "attempt_decided": None,
    "attempt_abandoned": None,
    "request_noted": None,
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
"""What a unit adds to on hand, reserved (where a reservation is named) and held; None: it touches no stock.

It is written out here a second time on purpose: a table that is wrong in the engine is right here.
"""
_SIGNED = frozenset({"stock_adjusted", "stock_counted"})
_DATED = frozenset({"stock_received", "stock_moved_in", "stock_adjusted", "stock_counted"})
"""By these, units come in, and say when their lot expires."""

Place = tuple[str, str, str, str]
"""(site, sku, location, lot)"""


class LotSums:
    """What the entries of a lot in a bin have come to."""

    __slots__ = ("expires_at_ms", "held", "holds", "on_hand", "reserved", "seq")

    def __init__(self) -> None:
        self.on_hand = 0
        self.reserved = 0
        self.held = 0
        self.holds: dict[str, int] = {}
        self.expires_at_ms: int | None = None
        self.seq = 0

    @property
    def balance(self) -> tuple[int, int, int]:
        """On hand, reserved, held."""
        return self.on_hand, self.reserved, self.held


class LedgerFold:
    """One partition, from its first entry on.

    `partitions` is how many there are: a SKU must lie in the one that its name gives. None: unchecked.
    """

    def __init__(self, partition: int, partitions: int | None, tell: Tell) -> None:
        self.seq = 0
        self.at_ms = 0
        self.epoch = 0
        self.lots: dict[Place, LotSums] = {}
        self.promises = Promises(tell)
        self._partition = partition
        self._partitions = partitions
        self._skus: set[tuple[str, str]] = set()
        self._commands = CommandOrder(tell)
        self._tell = tell

    def take(self, entry: Entry) -> None:
        """Take the next entry; tell what does not fit."""
        seq = entry.seq
        if seq != self.seq + 1:
            self._tell(Sort.SEQUENCE, self.seq + 1, "", f"entry {self.seq + 1}", f"entry {seq}")
        if entry.at_ms < self.at_ms:
            self._tell(Sort.TIME, seq, "", f"at_ms of at least {self.at_ms}", entry.at_ms)
        self._commands.take(entry)
        self.seq = seq
        self.at_ms = max(self.at_ms, entry.at_ms)
        kind = entry.kind
        if kind not in CHANGES:
            self._tell(Sort.ENTRY, seq, "", "a kind that is known", repr(kind))
            return
        if entry.detail is not None and not _is_object(entry.detail):
            self._tell(Sort.ENTRY, seq, "", "a detail that is a JSON object", entry.detail)
        changes = CHANGES[kind]
        if changes is None:
            if not self._is_without_stock(entry):
                return
            if kind == "partition_claimed":
                self._claim(entry)
        elif not self._take_stock(entry, changes):
            return
        if entry.reservation is not None:
            self.promises.take(entry, self._commands.first_seq)

    def end(self) -> None:
        """Say that there are no more entries."""
        self._commands.end(self.seq)

    def _claim(self, entry: Entry) -> None:
        try:
            epoch = json.loads(entry.detail or "")["epoch"]
        except (ValueError, KeyError, TypeError, RecursionError):
            epoch = None
        if type(epoch) is not int or epoch <= self.epoch:
            self._tell(Sort.CLAIM, entry.seq, "", f"a claim of an epoch above {self.epoch}", repr(epoch))
        if type(epoch) is int:
            self.epoch = max(self.epoch, epoch)

    def _is_without_stock(self, entry: Entry) -> bool:
        found = entry[7:15]
        if found == (None, None, None, None, 0, 0, 0, 0):
            return True
        self._tell(Sort.ENTRY, entry.seq, "", f"no stock in an entry of {entry.kind}", found)
        return False

    def _take_stock(self, entry: Entry, changes: tuple[int, int, int]) -> bool:
        site, sku, location, code = entry[7:11]
        if site is None or sku is None or location is None or code is None:
            self._tell(Sort.ENTRY, entry.seq, "", f"a lot in a bin in an entry of {entry.kind}", entry[7:11])
            return False
        quantity = entry.quantity
        if quantity <= 0 and entry.kind not in _SIGNED:
            self._tell(Sort.ENTRY, entry.seq, told(entry), "a quantity above 0", quantity)
        place = (site, sku, location, code)
        lot = self.lots.get(place)
        if lot is None:
            lot = self.lots[place] = LotSums()
            self._look_where(entry, site, sku)
        on_hand = lot.on_hand + changes[0] * quantity
        reserved = lot.reserved if entry.reservation is None else lot.reserved + changes[1] * quantity
        held = lot.held + changes[2] * quantity
        self._look_at_date(entry, lot)
        stated = lot.on_hand, lot.reserved, lot.held = entry.on_hand, entry.reserved, entry.held
        lot.seq = entry.seq
        if stated != (on_hand, reserved, held):
            expected = f"on hand {on_hand}, reserved {reserved}, held {held}"
            self._tell(Sort.BALANCE, entry.seq, told(entry), expected, _balance(entry))
        if not (stated[1] >= 0 <= stated[2] and stated[1] + stated[2] <= stated[0] <= UNITS_MAX):
            expected = "0 <= reserved + held <= on hand, each at least 0"
            self._tell(Sort.BOUNDS, entry.seq, told(entry), expected, _balance(entry))
        if changes[2]:
            self._hold(entry, lot, changes[2] * quantity)
        return True

    def _look_at_date(self, entry: Entry, lot: LotSums) -> None:
        """Note when a lot expires, before it has the entry's units; see that none expires before."""
        if entry.kind in _DATED:
            if entry.on_hand and (not lot.on_hand or entry.expires_at_ms is not None):
                lot.expires_at_ms = entry.expires_at_ms
        elif entry.kind == "lot_expired" and (
            lot.expires_at_ms is None or lot.expires_at_ms > entry.at_ms or entry.reason != "expired"
        ):
            found = f"held as {entry.reason!r} at {entry.at_ms}"
            self._tell(Sort.TIME, entry.seq, told(entry), f"a lot that expires at {lot.expires_at_ms}", found)

    def _look_where(self, entry: Entry, site: str, sku: str) -> None:
        if self._partitions is not None and (site, sku) not in self._skus:
            self._skus.add((site, sku))
            where = partition_of(site, sku, self._partitions)
            if where != self._partition:
                found = f"partition {self._partition}"
                self._tell(Sort.PLACE, entry.seq, told(entry), f"partition {where}", found)

    def _hold(self, entry: Entry, lot: LotSums, units: int) -> None:
        reason = entry.reason
        if reason is None:
            self._tell(Sort.HOLD, entry.seq, told(entry), "a reason", "none")
            return
        before = lot.holds.get(reason, 0)
        if before + units < 0:
            expected = f"at most {before} units held as {reason!r}"
            self._tell(Sort.HOLD, entry.seq, told(entry), expected, f"{-units} put back")
        lot.holds[reason] = max(0, before + units)
        if not lot.holds[reason]:
            del lot.holds[reason]


def told(entry: Entry) -> str:
    """Return the place of an entry for people."""
    return f"{entry.site}/{entry.sku} at {entry.location}" + (f" lot {entry.lot}" if entry.lot else "")


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):  # Thousands of levels deep.
        return False


def _balance(entry: Entry) -> str:
    return f"on hand {entry.on_hand}, reserved {entry.reserved}, held {entry.held}"

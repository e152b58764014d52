"""What can happen: the entries of the ledger.

An entry records one change of one lot in one bin, with the lot's balances after it, so that every row of the
ledger can be checked by itself. A command that touches several lots makes several entries at consecutive
sequence numbers; only the first carries the key. An entry is also the row that is written: its fields are the
ledger's columns, in this order.
"""

from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import NamedTuple


class Kind(StrEnum):
    """What an entry says happened. The names are permanent: they are stored."""

    PARTITION_CLAIMED = "partition_claimed"
    STOCK_RECEIVED = "stock_received"
    STOCK_RESERVED = "stock_reserved"
    RESERVATION_EXTENDED = "reservation_extended"
    RESERVATION_CONFIRMED = "reservation_confirmed"
    ATTEMPT_DECIDED = "attempt_decided"
    ATTEMPT_ABANDONED = "attempt_abandoned"
    REQUEST_NOTED = "request_noted"
    STOCK_RELEASED = "stock_released"
    RESERVATION_EXPIRED = "reservation_expired"
    RESERVATION_MOVED_OUT = "reservation_moved_out"
    RESERVATION_MOVED_IN = "reservation_moved_in"
    STOCK_PICKED = "stock_picked"
    STOCK_SHORTED = "stock_shorted"
    STOCK_MOVED_OUT = "stock_moved_out"
    STOCK_MOVED_IN = "stock_moved_in"
    STOCK_ADJUSTED = "stock_adjusted"
    STOCK_COUNTED = "stock_counted"
    STOCK_HELD = "stock_held"
    STOCK_UNHELD = "stock_unheld"
    LOT_EXPIRED = "lot_expired"


class Entry(NamedTuple):
    """One row of the ledger. Times are milliseconds UTC, quantities units of the SKU."""

    partition: int
    seq: int
    """Gap-free within the partition, from 1."""
    at_ms: int
    """When it was recorded, by the owner's clock; never less than that of the entry before."""
    kind: str
    key: str | None
    """The command's idempotency key, on the command's first entry."""
    fingerprint: int | None
    """A 63-bit hash of the command's body, beside the key."""
    span: int
    """How many entries the command made, on its first entry; 0 on the others."""
    site: str | None
    sku: str | None
    location: str | None
    lot: str | None
    """The lot's code; "" for stock without a lot; None where no stock is touched."""
    quantity: int
    """Units that changed: positive, but for the signed difference of an adjustment or a count."""
    on_hand: int
    reserved: int
    held: int
    """The lot's balances in this bin after the entry: `0 <= reserved + held <= on_hand`."""
    reservation: int | None
    """Number of the reservation: the sequence number of its first entry."""
    line: int | None
    """Index of the reservation's line."""
    counterpart: str | None
    """The other location of a move."""
    expires_at_ms: int | None
    """When the lot expires (received, moved in, adjusted, counted) or the reservation does (all others)."""
    reference: str | None
    reason: str | None
    detail: str | None
    """What only few entries need, as JSON text."""


make_entry: Callable[[tuple[object, ...]], Entry] = partial(tuple.__new__, Entry)
"""Makes an entry of all its fields three times as fast as `Entry`: 0.16 us, not 0.49 us."""


EFFECTS: dict[str, tuple[int, int, int]] = {
    Kind.PARTITION_CLAIMED: (0, 0, 0),
    Kind.STOCK_RECEIVED: (1, 0, 0),
    Kind.STOCK_RESERVED: (0, 1, 0),
    Kind.RESERVATION_EXTENDED: (0, 0, 0),
    Kind.RESERVATION_CONFIRMED: (0, 0, 0),
    Kind.ATTEMPT_DECIDED: (0, 0, 0),
    Kind.ATTEMPT_ABANDONED: (0, 0, 0),
    Kind.REQUEST_NOTED: (0, 0, 0),
    Kind.STOCK_RELEASED: (0, -1, 0),
    Kind.RESERVATION_EXPIRED: (0, -1, 0),
    Kind.RESERVATION_MOVED_OUT: (0, -1, 0),
    Kind.RESERVATION_MOVED_IN: (0, 1, 0),
    Kind.STOCK_PICKED: (-1, -1, 0),
    Kind.STOCK_SHORTED: (0, -1, 1),
    Kind.STOCK_MOVED_OUT: (-1, -1, 0),
    Kind.STOCK_MOVED_IN: (1, 1, 0),
    Kind.STOCK_ADJUSTED: (1, 0, 0),
    Kind.STOCK_COUNTED: (1, 0, 0),
    Kind.STOCK_HELD: (0, 0, 1),
    Kind.STOCK_UNHELD: (0, 0, -1),
    Kind.LOT_EXPIRED: (0, 0, 1),
}
"""What one unit of an entry adds to on hand, reserved and held.

Reserved changes only if a reservation is named: the same kind records a pick with and without one.
"""

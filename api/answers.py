"""The shapes of answers, for the OpenAPI document: answers are plain dicts, and tests hold them to this."""

import datetime as dt
from typing import Any, Literal

from msgspec import Struct

State = Literal["held", "part_picked", "picked", "released", "expired"]


class Lot(Struct, kw_only=True):
    """One lot in a bin; `lot` is null for stock without a lot."""

    lot: str | None
    on_hand: int
    reserved: int
    held: int
    available: int
    expires_on: dt.date | None
    """The last good day; not told for the past."""
    holds: dict[str, int] | None = None
    """Units held by reason."""


class AsOf(Struct, kw_only=True):
    """The moment of a past state."""

    seq: int
    at: dt.datetime


class Bin(Struct, kw_only=True):
    """One SKU at one location; `seq` is the sequence number of its last change."""

    site: str
    sku: str
    location: str
    on_hand: int
    reserved: int
    held: int
    available: int
    seq: int
    lots: list[Lot]
    as_of: AsOf | None = None


class Stock(Struct, kw_only=True):
    """All bins of a SKU at a site, with their sums."""

    site: str
    sku: str
    on_hand: int
    reserved: int
    held: int
    available: int
    seq: int
    bins: list[Bin]
    as_of: AsOf | None = None


class Allocation(Struct, kw_only=True):
    """Units of a line in one lot of one bin; `open` of them are still reserved."""

    location: str
    lot: str | None
    quantity: int
    open: int


class ReservationLine(Struct, kw_only=True):
    """One line of a reservation: what was asked for, what was reserved, and what became of it."""

    line: int
    site: str
    sku: str
    quantity: int
    requested: int
    picked: int
    released: int
    expired: int
    short: int
    allocations: list[Allocation]


class Reservation(Struct, kw_only=True):
    """Units promised to one caller. Without `expires_at` it does not expire."""

    id: str
    state: State
    reference: str | None
    expires_at: dt.datetime | None
    lines: list[ReservationLine]


class Picked(Struct, kw_only=True):
    """Where units went out without a reservation, and the bins after it."""

    site: str
    sku: str
    quantity: int
    reference: str | None
    allocations: list["Taken"]
    bins: list[Bin]


class Taken(Struct, kw_only=True):
    """Units that went out of one lot of one bin."""

    location: str
    lot: str | None
    quantity: int


class Moved(Struct, kw_only=True, rename={"from_": "from"}):
    """Both bins after a move."""

    from_: Bin
    to: Bin


class Counted(Struct, kw_only=True):
    """The bin after a count, and the units that the count added (or took away)."""

    bin: Bin
    variance: int


class HistoryItem(Struct, kw_only=True):
    """One entry of the ledger, with the lot's balances in its bin after it."""

    partition: int
    seq: int
    at: dt.datetime
    kind: str
    key: str | None
    site: str | None
    sku: str | None
    location: str | None
    lot: str | None
    quantity: int
    on_hand: int
    reserved: int
    held: int
    reservation: str | None
    line: int | None
    counterpart: str | None
    expires_on: dt.date | None
    expires_at: dt.datetime | None
    reference: str | None
    reason: str | None


class HistoryPage(Struct, kw_only=True):
    """Entries of a SKU, oldest first; `next_cursor` is the `after` of the next page."""

    items: list[HistoryItem]
    next_cursor: int | None


class BinPage(Struct, kw_only=True):
    """Bins in the order of site, SKU and location."""

    items: list[Bin]
    next_cursor: str | None


class OpenReservation(Struct, kw_only=True):
    """Units that a reservation holds."""

    id: str
    reference: str | None
    location: str
    lot: str | None
    quantity: int
    expires_at: dt.datetime | None
    tentative: bool


class Hold(Struct, kw_only=True):
    """Units that are off sale."""

    location: str
    lot: str | None
    reason: str
    quantity: int


class DatedLot(Lot, kw_only=True):
    """A lot with a date."""

    location: str


class Explanation(Struct, kw_only=True):
    """A SKU's stock, and what each of its numbers consists of."""

    site: str
    sku: str
    on_hand: int
    reserved: int
    held: int
    available: int
    seq: int
    bins: list[Bin]
    explanation: str
    reservations: list[OpenReservation]
    holds: list[Hold]
    lots: list[DatedLot]


class BatchAnswer(Struct, kw_only=True):
    """The result of each operation in order: its `status` with the fields of its answer or problem."""

    results: list[dict[str, Any]]


class Healthy(Struct, kw_only=True):
    """The process runs."""

    status: Literal["ok"]


class Ready(Struct, kw_only=True):
    """Everything needed answers."""

    status: Literal["ready"]
    hosts: int
    partitions: int


class RefusedPartition(Struct, kw_only=True):
    """A partition that is not served, because its ledger does not hold at an entry."""

    partition: int
    seq: int
    why: str


class Status(Struct, kw_only=True):
    """What the hosts say of themselves; `courier_lag` is the largest (in entries), `drift` the sum."""

    hosts: list[dict[str, Any]]
    partitions: int
    partitions_owned: int
    courier_lag: int
    drift: int
    audit_age_s: float | None = None
    """How long ago the last host had compared everything; nothing while one never has."""
    rebuilds: int
    """Partitions that were rebuilt from the ledger since the hosts started."""
    partitions_refused: list[RefusedPartition]


class FieldError(Struct, kw_only=True):
    """One wrong field or parameter."""

    detail: str | None = None
    pointer: str | None = None
    """JSON pointer into the body."""
    parameter: str | None = None
    """Name of a path segment or query parameter."""


class ProblemDocument(Struct, kw_only=True):
    """An RFC 9457 problem. Other members say what a caller needs to act, such as `reserved`."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    instance: str | None = None
    errors: list[FieldError] | None = None
    requested: int | None = None
    available: int | None = None
    line: int | None = None
    state: State | None = None

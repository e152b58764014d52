"""What may be asked of a partition. Field order is the wire order of lanes: only append, with a default.

Quantities are whole units; times are milliseconds UTC; `None` means "not named by the caller". The edge has
checked types, lengths and ranges (`engine.limits`) before a command is made.
"""

from typing import NamedTuple

StockKey = tuple[str, str]
"""(site, sku): the unit of activation; all its bins lie in one partition."""


class ReceiveStock(NamedTuple):
    """Put units into a bin. A date without a lot code makes a lot that is named by its date."""

    site: str
    sku: str
    location: str
    quantity: int
    lot: str | None = None
    expires_at_ms: int | None = None
    reference: str | None = None
    reason: str | None = None


class ReserveLine(NamedTuple):
    """One line of a reservation. `strategy`: fefo, fifo, lifo, closest or fewest."""

    site: str
    sku: str
    quantity: int
    location: str | None = None
    lot: str | None = None
    strategy: str = "fefo"
    index: int = 0  # type: ignore[assignment]  # hides tuple.index, which nobody wants of a line
    """Position in the caller's request."""


class ReserveStock(NamedTuple):
    """Reserve lines that lie in one partition. Soft with `ttl_s`, hard without."""

    lines: tuple[ReserveLine, ...]
    ttl_s: int | None = None
    reference: str | None = None
    partial: bool = False


class ReserveTentatively(NamedTuple):
    """Hold a share of a reservation that spans partitions, until its home partition has decided."""

    attempt: str
    home: int
    """The partition that decides."""
    opened_seq: int
    """How far the home partition was when it was told of the attempt."""
    lines: tuple[ReserveLine, ...]
    reference: str | None = None
    partial: bool = False
    ttl_ms: int = 10_000
    """How long the owner waits before it asks the home partition what became of the attempt."""


class ReserveTogether(NamedTuple):
    """Reserve the home partition's lines and so decide the attempt: from then on, all its shares hold."""

    attempt: str
    opened_seq: int
    """How far the partition was when it was told of the attempt; 0 asks just for that."""
    parts: tuple[tuple[int, int, int], ...]
    """(partition, number, opened_at_ms) of each tentative share."""
    lines: tuple[ReserveLine, ...]
    ttl_s: int | None = None
    reference: str | None = None
    partial: bool = False
    fingerprint: int = 0
    """Hash of the caller's request: the same for each attempt at it, as this command is not."""
    missing: tuple[ReserveLine, ...] = ()
    """With `partial`, lines of other partitions that found nothing there: they are shown with nothing."""


class ConfirmReservation(NamedTuple):
    """Make a tentative share final, as its home partition decided."""

    number: int
    opened_at_ms: int
    home_number: int
    expires_at_ms: int | None = None


class AbandonReservation(NamedTuple):
    """Give a tentative share back."""

    number: int
    opened_at_ms: int


class SettleAttempt(NamedTuple):
    """Ask the home partition what became of an attempt; one that is not decided is abandoned with that.

    Refused where the partition is not as far as when it was told of the attempt.
    """

    attempt: str
    opened_seq: int


class NoteRequest(NamedTuple):
    """Take the caller's key for a request of many operations, before the first: each has a key of its own."""

    fingerprint: int
    """Hash of the whole request."""


class ExtendReservation(NamedTuple):
    """Let a soft reservation live `ttl_s` seconds from now."""

    number: int
    opened_at_ms: int
    ttl_s: int
    is_share: bool = False
    """Whether the gateway addresses a share of a reservation that spans partitions, not the whole."""


class ReleaseReservation(NamedTuple):
    """Give reserved units back: all that is open, one SKU's, or `quantity` of them."""

    number: int
    opened_at_ms: int
    quantity: int | None = None
    sku: str | None = None
    is_share: bool = False


class PickReservation(NamedTuple):
    """Take reserved units out: all that is open, or as narrowed down.

    A location that holds none of the reservation's units serves it from there. With `short_reason`, what is
    not picked of the lines named is not there: it leaves the reservation and is held in its bin until it is
    counted.
    """

    number: int
    opened_at_ms: int
    quantity: int | None = None
    sku: str | None = None
    location: str | None = None
    lot: str | None = None
    short_reason: str | None = None
    is_share: bool = False


class PickStock(NamedTuple):
    """Take units out without a reservation."""

    site: str
    sku: str
    quantity: int
    location: str | None = None
    lot: str | None = None
    reference: str | None = None


class MoveStock(NamedTuple):
    """Move units between bins of a SKU: free ones first, then reserved ones, which keep their reservation."""

    site: str
    sku: str
    from_location: str
    to_location: str
    quantity: int
    lot: str | None = None


class AdjustStock(NamedTuple):
    """Add or take away units with a reason. The reason "expired" takes units held as expired first."""

    site: str
    sku: str
    location: str
    delta: int
    lot: str | None = None
    reason: str = ""


class CountStock(NamedTuple):
    """Set a lot to what was counted when the ledger was at `seen_seq`; later movements are kept."""

    site: str
    sku: str
    location: str
    counted: int
    lot: str | None = None
    seen_seq: int | None = None
    on_hand_seen: int | None = None
    """On hand at `seen_seq`; the host looks it up when something moved since."""


class HoldStock(NamedTuple):
    """Take units off sale: quarantine, damage, quality or another reason."""

    site: str
    sku: str
    location: str
    quantity: int
    lot: str | None = None
    reason: str = ""


class UnholdStock(NamedTuple):
    """Put held units back on sale; those held for the same reason first."""

    site: str
    sku: str
    location: str
    quantity: int
    lot: str | None = None
    reason: str = ""


class ExpireStock(NamedTuple):
    """Record what is due at a SKU: soft reservations and lots past their date. Sent by the owner's clock."""

    site: str
    sku: str


Command = (
    ReceiveStock
    | ReserveStock
    | ReserveTentatively
    | ReserveTogether
    | ConfirmReservation
    | AbandonReservation
    | SettleAttempt
    | NoteRequest
    | ExtendReservation
    | ReleaseReservation
    | PickReservation
    | PickStock
    | MoveStock
    | AdjustStock
    | CountStock
    | HoldStock
    | UnholdStock
    | ExpireStock
)

OPERATIONS: dict[str, type[Command]] = {
    "receive": ReceiveStock,
    "reserve": ReserveStock,
    "reserve_tentatively": ReserveTentatively,
    "reserve_together": ReserveTogether,
    "confirm": ConfirmReservation,
    "abandon": AbandonReservation,
    "settle": SettleAttempt,
    "note": NoteRequest,
    "extend": ExtendReservation,
    "release": ReleaseReservation,
    "pick": PickReservation,
    "pick_stock": PickStock,
    "move": MoveStock,
    "adjust": AdjustStock,
    "count": CountStock,
    "hold": HoldStock,
    "unhold": UnholdStock,
    "expire": ExpireStock,
}
"""The permanent name of each command, on lanes and in metrics."""

OPERATION_NAMES: dict[type[Command], str] = {command: name for name, command in OPERATIONS.items()}

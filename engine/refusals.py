"""Why the engine says no. A refusal is a value, not an exception: nothing happened, and it says why."""

from enum import StrEnum
from typing import Any, NamedTuple


class Refusal(StrEnum):
    """Every reason to refuse a command, in order of precedence: the first that applies is the answer.

    The names are permanent: they travel as `code` in HTTP problems and over lanes.
    """

    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    ATTEMPT_ABANDONED = "attempt_abandoned"
    RESERVATION_NOT_FOUND = "reservation_not_found"
    RESERVATION_SPANS = "reservation_spans"
    RESERVATION_RESOLVED = "reservation_resolved"
    RESERVATION_PENDING = "reservation_pending"
    RESERVATION_HARD = "reservation_hard"
    SKU_NOT_RESERVED = "sku_not_reserved"
    SKU_REQUIRED = "sku_required"
    STOCK_NOT_FOUND = "stock_not_found"
    BIN_NOT_FOUND = "bin_not_found"
    LOT_NOT_FOUND = "lot_not_found"
    LOT_REQUIRED = "lot_required"
    LOT_EXPIRED = "lot_expired"
    LOT_EXPIRY_DIFFERS = "lot_expiry_differs"
    SEQ_NOT_REACHED = "seq_not_reached"
    EXCEEDS_RESERVED = "exceeds_reserved"
    EXCEEDS_HELD = "exceeds_held"
    INSUFFICIENT_STOCK = "insufficient_stock"
    BELOW_COMMITTED = "below_committed"
    QUANTITY_LIMIT = "quantity_limit"

    @property
    def is_transient(self) -> bool:
        """Whether the same command may succeed later with nothing else changed by the caller."""
        return self in TRANSIENT


TRANSIENT = frozenset({Refusal.RESERVATION_PENDING, Refusal.INSUFFICIENT_STOCK})


class Refused(NamedTuple):
    """A refusal with what the caller needs to act, such as `requested` and `available` in units."""

    code: Refusal
    fields: dict[str, Any]
    replayed: bool = False
    """Whether this is the first answer to the same key, given again."""


def refused(code: Refusal, **fields: Any) -> Refused:  # noqa: ANN401 - the fields are data for people
    """Return a refusal with these fields."""
    return Refused(code, fields)

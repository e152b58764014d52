"""What callers send: one msgspec struct for each body, the only place where requests are validated.

The same structs decode JSON and MessagePack on hot and other routes and in batches, and describe themselves
in the OpenAPI document. Codes are 1-64 printable characters; texts have no control characters; quantities
are whole units.
"""

import datetime as dt
import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from engine.limits import (
    BATCH_OPERATIONS_MAX,
    CODE_LENGTH_MAX,
    KEY_LENGTH_MAX,
    LINES_MAX,
    QUANTITY_MAX,
    TEXT_LENGTH_MAX,
    TTL_S_MAX,
)

_NO_CONTROL = {"pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]*$"}
"""For the OpenAPI document; `__post_init__` checks it, several times as fast as a pattern."""


def _code(text: str) -> Meta:
    return Meta(
        min_length=1,
        max_length=CODE_LENGTH_MAX,
        description=f"{text}: printable characters",
        extra_json_schema=_NO_CONTROL,
    )


Site = Annotated[str, _code("code of the site")]
Sku = Annotated[str, _code("code of the article")]
Location = Annotated[str, _code("code of the place")]
LotCode = Annotated[str, _code("code of the lot")]
Quantity = Annotated[int, Meta(ge=1, le=QUANTITY_MAX, description="whole units, without a decimal point")]
QuantityOrNone = Annotated[
    int, Meta(ge=0, le=QUANTITY_MAX, description="whole units; 0 only with `short_reason`")
]
Delta = Annotated[
    int, Meta(ge=-QUANTITY_MAX, le=QUANTITY_MAX, description="units to add, or to take away when negative")
]
Counted = Annotated[int, Meta(ge=0, le=QUANTITY_MAX, description="units that were counted")]
Seq = Annotated[int, Meta(ge=0, le=QUANTITY_MAX, description="a sequence number of the ledger")]
Text = Annotated[str, Meta(min_length=1, max_length=TEXT_LENGTH_MAX, extra_json_schema=_NO_CONTROL)]
TtlS = Annotated[int, Meta(ge=1, le=TTL_S_MAX, description="seconds until the reservation expires")]
Strategy = Annotated[
    Literal["fefo", "fifo", "lifo", "closest", "fewest"],
    Meta(description="which bins and lots serve the quantity"),
]
Key = Annotated[
    str, Meta(pattern=f"^[!-~]{{1,{KEY_LENGTH_MAX}}}$", description="idempotency key of the operation")
]
LastDay = Annotated[
    dt.date,
    Meta(
        description="the last good day, not before 1970",
        extra_json_schema={"pattern": "^(19[7-9]|[2-9][0-9]{2})[0-9]-"},
    ),
]
ReservationId = Annotated[str, Meta(min_length=1, max_length=64, description="id of the reservation")]

_FIRST_DAY = dt.date(1970, 1, 1)
"""Instants are counted from it; stock has no earlier date."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Wrong(ValueError):
    """A field whose value breaks a rule that its type cannot say. The text is `field: what is wrong`."""


def _check_codes(body: object, *names: str) -> None:
    for name in names:
        code = getattr(body, name)
        if code is not None and not code.isprintable():
            raise Wrong(f"{name}: Expected printable characters only")


def _check_texts(body: object, *names: str) -> None:
    for name in names:
        text = getattr(body, name)
        if text is not None and not text.isprintable() and _CONTROL.search(text):
            raise Wrong(f"{name}: Expected no control characters")


class LineBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """One line of a reservation. Without a location, the strategy chooses."""

    site: Site
    sku: Sku
    quantity: Quantity
    location: Location | None = None
    lot: LotCode | None = None
    strategy: Strategy = "fefo"

    def __post_init__(self) -> None:
        _check_codes(self, "site", "sku", "location", "lot")


class ReserveBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """A reservation: one line written flat, or `lines`. Without `ttl_s` it does not expire."""

    site: Site | None = None
    sku: Sku | None = None
    quantity: Quantity | None = None
    location: Location | None = None
    lot: LotCode | None = None
    strategy: Strategy | None = None
    lines: Annotated[list[LineBody], Meta(min_length=1, max_length=LINES_MAX)] | None = None
    ttl_s: TtlS | None = None
    reference: Text | None = None
    partial: Annotated[bool, Meta(description="reserve what there is when it is short")] = False

    def __post_init__(self) -> None:
        site, sku = self.site, self.sku
        if self.lines is None:
            if site is None or sku is None or self.quantity is None:
                missing = "site" if site is None else "sku" if sku is None else "quantity"
                raise Wrong(f"{missing}: Object missing required field")
            if (
                not (site.isprintable() and sku.isprintable())
                or self.location is not None
                or self.lot is not None
            ):
                _check_codes(self, "site", "sku", "location", "lot")
        else:
            for name in ("site", "sku", "quantity", "location", "lot", "strategy"):
                if getattr(self, name) is not None:
                    raise Wrong(f"{name}: Expected it in each of `lines`, not beside them")
        if self.reference is not None:
            _check_texts(self, "reference")


class PickBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """A pick from a reservation. Nothing named means all; with `short_reason`, the rest is not there."""

    quantity: QuantityOrNone | None = None
    sku: Sku | None = None
    location: Location | None = None
    lot: LotCode | None = None
    short_reason: Text | None = None

    def __post_init__(self) -> None:
        _check_codes(self, "sku", "location", "lot")
        _check_texts(self, "short_reason")
        if self.short_reason is None:
            if self.quantity == 0:
                raise Wrong("quantity: Expected `int` >= 1 (0 only with `short_reason`)")
        elif self.quantity is None:
            raise Wrong("quantity: Object missing required field: `short_reason` asks for what was picked")


class ReleaseBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """A release of a reservation. Nothing named means all of it."""

    quantity: Quantity | None = None
    sku: Sku | None = None

    def __post_init__(self) -> None:
        _check_codes(self, "sku")


class ExtendBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """A longer life for a reservation, counted from now."""

    ttl_s: TtlS


class ReceiveBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """Units that come in. A date without a lot makes a lot that is named by its date."""

    site: Site
    sku: Sku
    location: Location
    quantity: Quantity
    lot: LotCode | None = None
    expires_on: LastDay | None = None
    reference: Text | None = None
    reason: Text | None = None

    def __post_init__(self) -> None:
        _check_codes(self, "site", "sku", "location", "lot")
        _check_texts(self, "reference", "reason")
        if self.expires_on is not None and self.expires_on < _FIRST_DAY:
            raise Wrong(f"expires_on: Expected `date` >= {_FIRST_DAY}")


class PickStockBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """Units that go out without a reservation."""

    site: Site
    sku: Sku
    quantity: Quantity
    location: Location | None = None
    lot: LotCode | None = None
    reference: Text | None = None

    def __post_init__(self) -> None:
        _check_codes(self, "site", "sku", "location", "lot")
        _check_texts(self, "reference")


class MoveBody(Struct, forbid_unknown_fields=True, kw_only=True, rename={"from_": "from"}):
    """Units that go from one bin of a SKU to another."""

    site: Site
    sku: Sku
    from_: Location
    to: Location
    quantity: Quantity
    lot: LotCode | None = None

    def __post_init__(self) -> None:
        _check_codes(self, "site", "sku", "from_", "to", "lot")
        if self.from_ == self.to:
            raise Wrong("to: Expected another location than `from`")


class AdjustBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """Units added or taken away, with the reason."""

    site: Site
    sku: Sku
    location: Location
    delta: Delta
    reason: Text
    lot: LotCode | None = None

    def __post_init__(self) -> None:
        _check_codes(self, "site", "sku", "location", "lot")
        _check_texts(self, "reason")
        if not self.delta:
            raise Wrong("delta: Expected another `int` than 0")


class CountBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """What a counter found when the bin showed `seen_seq`: movements after it are kept."""

    site: Site
    sku: Sku
    location: Location
    counted: Counted
    lot: LotCode | None = None
    seen_seq: Seq | None = None

    def __post_init__(self) -> None:
        _check_codes(self, "site", "sku", "location", "lot")


class HoldBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """Units that are taken off sale or put back on it, with the reason."""

    site: Site
    sku: Sku
    location: Location
    quantity: Quantity
    reason: Text
    lot: LotCode | None = None

    def __post_init__(self) -> None:
        _check_codes(self, "site", "sku", "location", "lot")
        _check_texts(self, "reason")


class BatchBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """Operations in order. Each is decoded by itself, so that a wrong one does not touch the others."""

    operations: Annotated[
        list[msgspec.Raw],
        Meta(
            max_length=BATCH_OPERATIONS_MAX,
            description=f"at most {BATCH_OPERATIONS_MAX} operations, decided in order",
        ),
    ]


Body = (
    ReserveBody
    | PickBody
    | ReleaseBody
    | ExtendBody
    | ReceiveBody
    | PickStockBody
    | MoveBody
    | AdjustBody
    | CountBody
    | HoldBody
    | BatchBody
)

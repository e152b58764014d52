"""Every route with what it takes and gives: the application dispatches on it, OpenAPI tells it."""

from typing import NamedTuple

from api import answers as a
from api import bodies as b
from api.problems import Code
from engine.limits import QUANTITY_MAX
from engine.refusals import Refusal


class Parameter(NamedTuple):
    """A query parameter."""

    name: str
    text: str
    schema: dict[str, object]


class Route(NamedTuple):
    """One method of one path. `name` is its operationId and its label in metrics."""

    name: str
    method: str
    path: str
    summary: str
    answer: type | str
    """A struct of `api.answers`, or a content type."""
    body: type | None = None
    status: int = 200
    refusals: tuple[str, ...] = ()
    """Codes of this route beside those that any route may give."""
    query: tuple[Parameter, ...] = ()
    is_open: bool = False

    @property
    def group(self) -> str:
        """What the route is about."""
        if self.path.startswith("/v1/reservations"):
            return "reservations"
        return "server" if not self.path.startswith("/v1/") or self.name == "status" else "stock"


CODE: dict[str, object] = {
    "type": "string",
    "minLength": 1,
    "maxLength": 64,
    "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]*$",
}
"""The schema of a code in an address. That all of it is printable is more than a pattern says."""
_AS_OF = Parameter(
    "as_of",
    "an RFC 3339 instant or a sequence number: the stock as it was then",
    {
        "type": "string",
        "pattern": "^([0-9]{1,16}|[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}"
        "([.][0-9]+)?([Zz]|[+ -][0-9]{2}:[0-9]{2}))$",
    },
)
_LIMIT = Parameter(
    "limit", "items a page", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}
)
_RESERVATION = (Refusal.RESERVATION_NOT_FOUND, Refusal.RESERVATION_RESOLVED, Refusal.RESERVATION_PENDING)
_BIN = (Refusal.STOCK_NOT_FOUND, Refusal.BIN_NOT_FOUND)
_LOT = (*_BIN, Refusal.LOT_NOT_FOUND)
_PAST = (Code.INVALID_PARAMETER, Code.AS_OF_IN_FUTURE, Code.AS_OF_TOO_EARLY)

ROUTES: tuple[Route, ...] = (
    Route(
        "reserve",
        "POST",
        "/v1/reservations",
        "Reserve units: one line, or several all or nothing",
        a.Reservation,
        b.ReserveBody,
        201,
        (Refusal.INSUFFICIENT_STOCK, Refusal.LOT_EXPIRED, Refusal.ATTEMPT_ABANDONED),
    ),
    Route(
        "reservation",
        "GET",
        "/v1/reservations/{id}",
        "Read a reservation",
        a.Reservation,
        refusals=(Refusal.RESERVATION_NOT_FOUND, Code.INVALID_PARAMETER),
    ),
    Route(
        "pick",
        "POST",
        "/v1/reservations/{id}/pick",
        "Take reserved units out; nothing named means all",
        a.Reservation,
        b.PickBody,
        200,
        (
            *_RESERVATION,
            Refusal.SKU_NOT_RESERVED,
            Refusal.SKU_REQUIRED,
            Refusal.EXCEEDS_RESERVED,
            Refusal.INSUFFICIENT_STOCK,
        ),
    ),
    Route(
        "release",
        "POST",
        "/v1/reservations/{id}/release",
        "Give reserved units back; nothing named means all",
        a.Reservation,
        b.ReleaseBody,
        200,
        (*_RESERVATION, Refusal.SKU_NOT_RESERVED, Refusal.SKU_REQUIRED, Refusal.EXCEEDS_RESERVED),
    ),
    Route(
        "extend",
        "POST",
        "/v1/reservations/{id}/extend",
        "Let a reservation live longer, counted from now",
        a.Reservation,
        b.ExtendBody,
        200,
        (*_RESERVATION, Refusal.RESERVATION_HARD),
    ),
    Route(
        "receive",
        "POST",
        "/v1/stock/receive",
        "Put units into a bin",
        a.Bin,
        b.ReceiveBody,
        201,
        (Refusal.LOT_EXPIRY_DIFFERS, Refusal.QUANTITY_LIMIT),
    ),
    Route(
        "pick_stock",
        "POST",
        "/v1/stock/pick",
        "Take units out without a reservation",
        a.Picked,
        b.PickStockBody,
        200,
        (*_LOT, Refusal.LOT_EXPIRED, Refusal.INSUFFICIENT_STOCK),
    ),
    Route(
        "move",
        "POST",
        "/v1/stock/move",
        "Move units between bins; reserved ones keep their reservation",
        a.Moved,
        b.MoveBody,
        200,
        (*_LOT, Refusal.INSUFFICIENT_STOCK, Refusal.QUANTITY_LIMIT),
    ),
    Route(
        "adjust",
        "POST",
        "/v1/stock/adjust",
        "Add or take away units with a reason",
        a.Bin,
        b.AdjustBody,
        200,
        (*_LOT, Refusal.LOT_REQUIRED, Refusal.INSUFFICIENT_STOCK, Refusal.QUANTITY_LIMIT),
    ),
    Route(
        "count",
        "POST",
        "/v1/stock/count",
        "Count a bin without freezing it",
        a.Counted,
        b.CountBody,
        200,
        (Refusal.LOT_REQUIRED, Refusal.SEQ_NOT_REACHED, Refusal.BELOW_COMMITTED, Refusal.QUANTITY_LIMIT),
    ),
    Route(
        "hold",
        "POST",
        "/v1/stock/hold",
        "Take units off sale",
        a.Bin,
        b.HoldBody,
        200,
        (*_LOT, Refusal.INSUFFICIENT_STOCK),
    ),
    Route(
        "unhold",
        "POST",
        "/v1/stock/unhold",
        "Put held units back on sale",
        a.Bin,
        b.HoldBody,
        200,
        (*_LOT, Refusal.EXCEEDS_HELD),
    ),
    Route(
        "bins",
        "GET",
        "/v1/stock",
        "List bins",
        a.BinPage,
        refusals=(Code.INVALID_PARAMETER, Code.INVALID_CURSOR),
        query=(
            Parameter("site", "only this site", CODE),
            Parameter("location", "only this location", CODE),
            Parameter("sku", "only this SKU", CODE),
            _LIMIT,
            Parameter("cursor", "`next_cursor` of the page before", {"type": "string"}),
        ),
    ),
    Route(
        "stock",
        "GET",
        "/v1/stock/{site}/{sku}",
        "Read all bins of a SKU, now or as they were",
        a.Stock,
        refusals=(Refusal.STOCK_NOT_FOUND, *_PAST),
        query=(_AS_OF,),
    ),
    Route(
        "bin",
        "GET",
        "/v1/stock/{site}/{sku}/{location}",
        "Read a bin, now or as it was",
        a.Bin,
        refusals=(*_BIN, *_PAST),
        query=(_AS_OF,),
    ),
    Route(
        "history",
        "GET",
        "/v1/history/{site}/{sku}",
        "Read what happened to a SKU, oldest first",
        a.HistoryPage,
        refusals=(Refusal.STOCK_NOT_FOUND, Code.INVALID_PARAMETER),
        query=(
            Parameter(
                "after",
                "only entries after this sequence number",
                {"type": "integer", "minimum": 0, "maximum": QUANTITY_MAX, "default": 0},
            ),
            _LIMIT,
        ),
    ),
    Route(
        "explain",
        "GET",
        "/v1/explain/{site}/{sku}",
        "Read why the available quantity is what it is",
        a.Explanation,
        refusals=(Refusal.STOCK_NOT_FOUND, Code.INVALID_PARAMETER),
    ),
    Route(
        "batch",
        "POST",
        "/v1/batch",
        "Carry out many operations in order, each with its own outcome",
        a.BatchAnswer,
        b.BatchBody,
        200,
        (Code.BATCH_TOO_LARGE,),
    ),
    Route(
        "status",
        "GET",
        "/v1/status",
        "Read what the hosts say of themselves",
        a.Status,
        refusals=(Code.INVALID_PARAMETER,),
    ),
    Route("healthz", "GET", "/healthz", "Whether the process runs", a.Healthy, is_open=True),
    Route(
        "readyz",
        "GET",
        "/readyz",
        "Whether everything needed answers",
        a.Ready,
        refusals=(Code.NOT_READY,),
        is_open=True,
    ),
    Route("metrics", "GET", "/metrics", "Metrics as Prometheus text", "text/plain"),
    Route("openapi", "GET", "/openapi.json", "This document", "application/json"),
    Route("docs", "GET", "/docs", "This document as a page", "text/html"),
)

"""Everything that can go wrong over HTTP, as RFC 9457 problems with permanent codes.

    Problem (an exception while a request is handled; it becomes the answer)
    |-- of the edge        `Code`: what was wrong with the request itself, or with the server
    |-- of a refusal       `engine.refusals.Refusal`: the engine said no, nothing happened
    `-- of a fault         nothing happened (429, 503) or the outcome is unknown (504)

A caller switches on `code`; `status` says what to do with it: 4xx change the request, 429 and 503 send it
again after `Retry-After`, 504 send the same key again.
"""

import math
from enum import StrEnum
from typing import Any, NamedTuple

from actors.outcomes import Fault, LedgerRefused, OutcomeUnknown, Overloaded
from engine.refusals import Refusal, Refused
from persistence.ports import RowsChanged

TYPE_PREFIX = "urn:binkeeper:problem:"
"""A problem's `type` is this with its code: permanent, and not tied to anybody's domain."""


class Code(StrEnum):
    """What is wrong with a request or with the server, before the engine is asked: permanent names."""

    MALFORMED_REQUEST = "malformed_request"
    HEAD_TOO_LARGE = "head_too_large"
    MALFORMED_BODY = "malformed_body"
    MISSING_FIELD = "missing_field"
    UNKNOWN_FIELD = "unknown_field"
    WRONG_TYPE = "wrong_type"
    INVALID_VALUE = "invalid_value"
    INVALID_PARAMETER = "invalid_parameter"
    INVALID_CURSOR = "invalid_cursor"
    INVALID_IDEMPOTENCY_KEY = "invalid_idempotency_key"
    AS_OF_IN_FUTURE = "as_of_in_future"
    AS_OF_TOO_EARLY = "as_of_too_early"
    BATCH_TOO_LARGE = "batch_too_large"
    BODY_TIMEOUT = "body_timeout"
    BODY_TOO_LARGE = "body_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    NOT_ACCEPTABLE = "not_acceptable"
    TOKEN_MISSING = "token_missing"  # noqa: S105 - a code, not a secret
    TOKEN_INVALID = "token_invalid"  # noqa: S105 - a code, not a secret
    ROUTE_NOT_FOUND = "route_not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    OVERLOADED = "overloaded"
    UNAVAILABLE = "unavailable"
    NOT_READY = "not_ready"
    STOPPING = "stopping"
    OUTCOME_UNKNOWN = "outcome_unknown"
    INTERNAL_ERROR = "internal_error"


class Meaning(NamedTuple):
    """What a code means, for the answer and for the documentation."""

    status: int
    title: str
    """The same for every occurrence."""
    advice: str
    """What a caller should do next."""


MEANINGS: dict[str, Meaning] = {
    Code.MALFORMED_REQUEST: Meaning(400, "This is not HTTP", "Send HTTP/1.1 requests."),
    Code.HEAD_TOO_LARGE: Meaning(431, "The address and headers are too large", "Send fewer or shorter ones."),
    Code.MALFORMED_BODY: Meaning(
        400, "The body cannot be decoded", "Send well-formed JSON or MessagePack in UTF-8."
    ),
    Code.MISSING_FIELD: Meaning(422, "A field is missing", "Add the field that `errors` names."),
    Code.UNKNOWN_FIELD: Meaning(
        422, "A field is not known here", "Correct or leave out the field that `errors` names."
    ),
    Code.WRONG_TYPE: Meaning(422, "A field has the wrong type", "Send the type that `errors` asks for."),
    Code.INVALID_VALUE: Meaning(
        422, "A field's value is not allowed", "Send a value within the limits that `errors` gives."
    ),
    Code.INVALID_PARAMETER: Meaning(
        422,
        "A part of the address is not valid",
        "Correct the path segment or query parameter that `errors` names.",
    ),
    Code.INVALID_CURSOR: Meaning(
        422, "The cursor is not one of ours", "Send `next_cursor` as it was, or begin without."
    ),
    Code.INVALID_IDEMPOTENCY_KEY: Meaning(
        400, "The idempotency key is not valid", "Send 1 to 64 visible ASCII characters, quoted or bare."
    ),
    Code.AS_OF_IN_FUTURE: Meaning(
        422, "The instant is in the future", "Ask for an instant or sequence number that was."
    ),
    Code.AS_OF_TOO_EARLY: Meaning(
        422, "The instant is before the first entry", "Ask for `first_at` or `first_seq`, or later."
    ),
    Code.BATCH_TOO_LARGE: Meaning(422, "The batch has too many operations", "Send several batches."),
    Code.BODY_TIMEOUT: Meaning(
        408, "The body came too slowly", "Nothing happened: send the whole body within `limit_s` seconds."
    ),
    Code.BODY_TOO_LARGE: Meaning(
        413, "The body is too large", "Send less at once: `limit_bytes` is the most."
    ),
    Code.UNSUPPORTED_MEDIA_TYPE: Meaning(
        415, "The content type is not spoken here", "Send application/json or application/msgpack."
    ),
    Code.NOT_ACCEPTABLE: Meaning(
        406, "No acceptable content type", "Accept application/json or application/msgpack."
    ),
    Code.TOKEN_MISSING: Meaning(401, "A token is required", "Send `Authorization: Bearer TOKEN`."),
    Code.TOKEN_INVALID: Meaning(
        401, "The token is not valid", "Take the token that `binkeeper token` prints."
    ),
    Code.ROUTE_NOT_FOUND: Meaning(
        404, "There is nothing at this address", "See /openapi.json for what there is."
    ),
    Code.METHOD_NOT_ALLOWED: Meaning(
        405, "The method is not allowed here", "Use a method that `Allow` names."
    ),
    Code.OVERLOADED: Meaning(
        429, "Too much at once", "Nothing happened: try again after `Retry-After` seconds."
    ),
    Code.UNAVAILABLE: Meaning(
        503, "Not available now", "Nothing happened: try again after `Retry-After` seconds."
    ),
    Code.NOT_READY: Meaning(503, "Not ready", "Wait: what is missing is in `detail`."),
    Code.STOPPING: Meaning(
        503, "The server is stopping", "Nothing happened: try again after `Retry-After` seconds."
    ),
    Code.OUTCOME_UNKNOWN: Meaning(
        504,
        "The outcome is not known",
        "It may have happened: send the same request with the same key again.",
    ),
    Code.INTERNAL_ERROR: Meaning(
        500, "An error on our side", "Send the same key again; if it stays, report `X-Request-Id`."
    ),
    Refusal.IDEMPOTENCY_KEY_REUSED: Meaning(
        422, "The idempotency key was used for another request", "Use a fresh key for another request."
    ),
    Refusal.ATTEMPT_ABANDONED: Meaning(
        409,
        "The reservation took too long and was undone",
        "Nothing is reserved: try again with a fresh key.",
    ),
    Refusal.RESERVATION_NOT_FOUND: Meaning(404, "There is no such reservation", "Check the id."),
    Refusal.RESERVATION_RESOLVED: Meaning(
        409, "The reservation is resolved", "`state` says how: picked, released or expired."
    ),
    Refusal.RESERVATION_PENDING: Meaning(
        409, "The reservation is not decided yet", "Try again: it will be within seconds."
    ),
    Refusal.RESERVATION_HARD: Meaning(409, "The reservation does not expire", "There is nothing to extend."),
    Refusal.RESERVATION_SPANS: Meaning(
        409, "The reservation lies in several partitions", "Send it through /v1/reservations."
    ),
    Refusal.SKU_REQUIRED: Meaning(
        409, "The reservation has several SKUs", "Name one with `sku`, or no quantity."
    ),
    Refusal.SKU_NOT_RESERVED: Meaning(
        409, "The SKU is not in the reservation", "Name one of its SKUs, or none."
    ),
    Refusal.STOCK_NOT_FOUND: Meaning(
        404, "The SKU is not known at this site", "Check the codes, or receive stock first."
    ),
    Refusal.BIN_NOT_FOUND: Meaning(404, "The SKU was never at this location", "Check the location."),
    Refusal.LOT_NOT_FOUND: Meaning(404, "There is no such lot", "Check the lot."),
    Refusal.LOT_REQUIRED: Meaning(409, "The bin holds several lots", "Name one with `lot`."),
    Refusal.LOT_EXPIRED: Meaning(409, "The lot is past its date", "Name another lot, or none."),
    Refusal.LOT_EXPIRY_DIFFERS: Meaning(
        409, "The lot is known with another date", "Send `expires_on` as it is known, or another lot code."
    ),
    Refusal.SEQ_NOT_REACHED: Meaning(
        409,
        "The sequence number was not reached yet",
        "Send the `seq` that the bin showed when it was counted.",
    ),
    Refusal.EXCEEDS_RESERVED: Meaning(
        409, "More than is reserved", "`reserved` is what is left of the reservation."
    ),
    Refusal.EXCEEDS_HELD: Meaning(409, "More than is held", "`held` is what there is."),
    Refusal.INSUFFICIENT_STOCK: Meaning(
        409,
        "Not enough available stock",
        "`available` is what there is; `pending` may come back within seconds.",
    ),
    Refusal.BELOW_COMMITTED: Meaning(
        409, "Less than is reserved and held", "Release or unhold first, or count again."
    ),
    Refusal.QUANTITY_LIMIT: Meaning(409, "More than one lot in a bin can hold", "The limit is 2^53-1 units."),
}
"""Every code with what it means: `docs/operations.md` lists the same."""

_DETAILS: dict[str, str] = {
    Refusal.IDEMPOTENCY_KEY_REUSED: "This key came with another body before; that request's answer stands.",
    Refusal.RESERVATION_RESOLVED: "The reservation was {state}.",
    Refusal.SKU_NOT_RESERVED: "The reservation has no line of SKU {sku}.",
    Refusal.STOCK_NOT_FOUND: "SKU {sku} is not known at site {site}.",
    Refusal.BIN_NOT_FOUND: "SKU {sku} was never at location {location} of site {site}.",
    Refusal.LOT_REQUIRED: "Location {location} holds several lots of the SKU.",
    Refusal.LOT_EXPIRED: "Lot {lot} is past its date.",
    Refusal.LOT_EXPIRY_DIFFERS: "Lot {lot} expires on {expires_on}.",
    Refusal.SEQ_NOT_REACHED: "The partition is at {seq}, not yet at {seen_seq}.",
    Refusal.EXCEEDS_RESERVED: "{requested} requested, {reserved} still reserved.",
    Refusal.EXCEEDS_HELD: "{requested} requested, {held} held.",
    Refusal.INSUFFICIENT_STOCK: "{requested} requested, {available} available.",
    Refusal.BELOW_COMMITTED: "{counted} counted, but {reserved} are reserved and {held} held.",
    Refusal.QUANTITY_LIMIT: "{on_hand} on hand and {requested} more exceed {limit}.",
}
_STANDARD = frozenset({"type", "title", "status", "detail", "instance", "code"})
_UNAVAILABLE_RETRY_S = 1
_REFUSED_RETRY_S = 60
"""Where a person must mend the ledger first."""

Headers = tuple[tuple[bytes, bytes], ...]


class Problem(Exception):
    """A request's answer when it is not a success: `body()` is the RFC 9457 document."""

    def __init__(self, code: str, detail: str, *, headers: Headers = (), **fields: Any) -> None:  # noqa: ANN401
        super().__init__(detail)
        self.code = code
        self.status = MEANINGS[code].status
        self.detail = detail
        self.headers = headers
        self.fields = fields
        self.replayed = False
        """Whether the same key was answered with this problem before."""

    def body(self, instance: str | None = None) -> dict[str, Any]:
        """Return the document; `instance` is the path of the request."""
        document: dict[str, Any] = {
            "type": TYPE_PREFIX + self.code,
            "title": MEANINGS[self.code].title,
            "status": self.status,
            "detail": self.detail,
            "code": str(self.code),
        }
        if instance is not None:
            document["instance"] = instance
        for name, value in self.fields.items():
            document[f"{name}_" if name in _STANDARD else name] = value
        return document


def field_problem(code: Code, pointer: str, detail: str) -> Problem:
    """Return a problem with one field of a body, named by its JSON pointer."""
    where = f"{pointer}: " if pointer else ""
    return Problem(code, f"{where}{detail}", errors=[{"pointer": pointer, "detail": detail}])


def parameter_problem(parameter: str, detail: str, code: Code = Code.INVALID_PARAMETER) -> Problem:
    """Return a problem with a path segment or a query parameter."""
    return Problem(code, f"{parameter}: {detail}", errors=[{"parameter": parameter, "detail": detail}])


def problem_of_refusal(refused: Refused) -> Problem:
    """Return the problem of a refusal, with everything that the engine said."""
    fields = {name: value for name, value in refused.fields.items() if value is not None}
    try:
        detail = _DETAILS[refused.code].format_map(fields)
    except KeyError:
        detail = MEANINGS[refused.code].title + "."
    is_soon = refused.code == Refusal.RESERVATION_PENDING
    problem = Problem(refused.code, detail, headers=retry_after(1) if is_soon else ())
    problem.fields = fields
    problem.replayed = refused.replayed
    return problem


def problem_of_fault(fault: Fault) -> Problem:
    """Return the problem of a fault: whether something may have happened, and when to try again."""
    if isinstance(fault, OutcomeUnknown):
        return Problem(Code.OUTCOME_UNKNOWN, "It may have happened. Send the same key again.")
    if isinstance(fault, Overloaded):
        wait_s = max(1, math.ceil(fault.retry_after_ms / 1000))
        return Problem(
            Code.OVERLOADED, f"The queue is full. Nothing happened: try again in {fault.retry_after_ms} ms.",
            headers=retry_after(wait_s), retry_after_ms=fault.retry_after_ms,
        )  # fmt: skip
    if isinstance(fault, LedgerRefused | RowsChanged):
        return Problem(Code.UNAVAILABLE, f"{fault} Nothing happened.", headers=retry_after(_REFUSED_RETRY_S))
    return Problem(
        Code.UNAVAILABLE, "The stock's owner or its database does not answer. Nothing happened: try again.",
        headers=retry_after(_UNAVAILABLE_RETRY_S),
    )  # fmt: skip


def retry_after(seconds: int) -> Headers:
    """Return the header that says when to try again."""
    return ((b"retry-after", b"%d" % seconds),)


def stopping() -> Problem:
    """Return what new requests are told while the server stops."""
    return Problem(
        Code.STOPPING, "Nothing happened: the server is stopping.",
        headers=(*retry_after(1), (b"connection", b"close")),
    )  # fmt: skip

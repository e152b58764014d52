"""The ways by which recorded callers reach Binkeeper: HTTP, and lanes as programs on the cluster use them."""

from typing import Any, NamedTuple, Protocol

import httpx

from actors.bin_handle import BinHandle
from actors.gateway import LaneGateway
from actors.outcomes import Answered, Outcome, OutcomeUnknown, Unavailable
from actors.queries import ReadStock
from actors.reservations import SpanningReservations
from engine.partitioning import partition_of
from tests.faults.history import Call

_NOTHING = frozenset({429, 503})
_UNKNOWN = frozenset({500, 502, 504})
_PATHS = {
    "receive": "/stock/receive",
    "take": "/stock/pick",
    "move": "/stock/move",
    "adjust": "/stock/adjust",
    "count": "/stock/count",
}


class Reply(NamedTuple):
    """What came of one try."""

    outcome: str
    """As `Call.outcome`."""
    answer: Any = None
    code: str = ""


class Channel(Protocol):
    """One way."""

    via: str

    async def send(self, call: Call) -> Reply:
        """Try once."""


class HttpChannel:
    """One connection's worth of HTTP."""

    via = "http"

    def __init__(self, http: httpx.AsyncClient, site: str) -> None:
        self._http = http
        self._site = site

    async def send(self, call: Call) -> Reply:
        method, path, body = self._request(call)
        headers = {"Idempotency-Key": call.key} if method == "POST" else {}
        try:
            answer = await self._http.request(method, path, json=body, headers=headers)
        except httpx.TransportError as error:
            return Reply("unknown", code=type(error).__name__)
        told = answer.json()
        if answer.is_success:
            return Reply("done", told)
        code = told["code"]
        if answer.status_code in _NOTHING:
            return Reply("nothing", code=code)
        if answer.status_code in _UNKNOWN:
            return Reply("unknown", code=code)
        return Reply("refused", told, code)

    def _request(self, call: Call) -> tuple[str, str, dict[str, Any] | None]:
        sku, location, quantity = call.lines[0]
        place: dict[str, Any] = {"site": self._site, "sku": sku, "location": location}
        match call.name:
            case "reserve":
                lines = [
                    {"site": self._site, "sku": sku, "location": location, "quantity": quantity}
                    for sku, location, quantity in call.lines
                ]
                return "POST", "/reservations", {"lines": lines, "reference": call.key}
            case "pick" | "release":
                body = {"quantity": call.quantity, "sku": sku} if call.quantity else {}
                return "POST", f"/reservations/{call.reservation}/{call.name}", body
            case "read_reservation":
                return "GET", f"/reservations/{call.reservation}", None
            case "read_bin":
                return "GET", f"/stock/{self._site}/{sku}/{location}", None
            case "read_stock":
                return "GET", f"/stock/{self._site}/{sku}", None
            case "move":
                body = {"site": self._site, "sku": sku, "from": location, "to": call.to, "quantity": quantity}
            case "adjust":
                body = {**place, "delta": quantity, "reason": "found"}
            case "count":
                body = {**place, "counted": quantity}
            case _:
                body = {**place, "quantity": quantity, "reference": call.key}
        return "POST", _PATHS[call.name], body


class LaneChannel:
    """Bins as actors."""

    via = "lane"

    def __init__(self, gateway: LaneGateway, site: str) -> None:
        self._gateway = gateway
        self._site = site
        self._reservations = SpanningReservations(gateway)

    async def send(self, call: Call) -> Reply:
        try:
            outcome = await self._ask(call)
        except OutcomeUnknown as fault:
            return Reply("unknown", code=str(fault))
        except Unavailable as fault:
            return Reply("nothing", code=str(fault))
        if isinstance(outcome, Answered):
            return Reply("done", outcome.view)
        return Reply("refused", outcome.fields, outcome.code)

    async def _ask(self, call: Call) -> Outcome:
        sku, location, quantity = call.lines[0]
        bin_ = BinHandle(self._gateway, self._site, sku, location)
        match call.name:
            case "reserve":
                return await bin_.reserve(quantity, reference=call.key, key=call.key)
            case "pick":
                return await self._reservations.pick(
                    call.reservation, quantity=call.quantity or None, sku=None, location=None, lot=None,
                    short_reason=None, key=call.key,
                )  # fmt: skip
            case "release":
                return await self._reservations.release(
                    call.reservation, quantity=None, sku=None, key=call.key
                )
            case "receive":
                return await bin_.receive(quantity, reference=call.key, key=call.key)
            case "take":
                return await bin_.take(quantity, key=call.key)
            case "move":
                return await bin_.move(call.to, quantity, key=call.key)
            case "adjust":
                return await bin_.adjust(quantity, "found", key=call.key)
            case "count":
                return await bin_.count(quantity, key=call.key)
            case "read_reservation":
                return await self._reservations.find(call.reservation)
            case "read_bin":
                return await bin_.state()
        partition = partition_of(self._site, sku, self._gateway.partitions)
        return await self._gateway.query(partition, ReadStock(self._site, sku))

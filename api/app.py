"""The application: hot routes by plain ASGI, everything else by FastAPI, the same endpoints behind both."""

from dataclasses import dataclass
from typing import Any

import msgspec
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request

from actors.ports import Gateway, Reservations, Room
from api import bodies as b
from api.changing import BatchEndpoint, ChangeEndpoint, ReservationEndpoint
from api.exchange import Answer, Edge, Endpoint, Exchange, Receive, Scope, Send, raw_path
from api.guard import Guard
from api.health import HealthEndpoint, MetricsEndpoint, ReadyEndpoint, StatusEndpoint
from api.history import History
from api.listing import Listing
from api.meters import Meters
from api.openapi import document
from api.operations import COMMANDS, Operations
from api.pages import PageEndpoint, docs_page
from api.past import Past
from api.problems import Code, Problem
from api.reading import ReadEndpoint, Reads
from api.routes import ROUTES
from persistence.ports import Ledger
from persistence.read_model import ReadModel

_RESERVATIONS = "/v1/reservations/"
_OPEN_PATHS = frozenset(route.path for route in ROUTES if route.is_open)
"""Where no token is asked for, whatever the method."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiOptions:
    """What can be set. `tokens` are the bearer tokens that are let in; without any, nobody is."""

    tokens: tuple[str, ...]
    body_bytes_max: int = 8 * 1024 * 1024
    body_s_max: float = 30.0


def create_app(
    gateway: Gateway,
    reservations: Reservations,
    ledger: Ledger,
    read_model: ReadModel,
    options: ApiOptions,
    *,
    probe: Ledger | None = None,
    room: Room | None = None,
) -> "Front":
    """Return the application. It keeps nothing that its parts do not keep.

    `probe` is the ledger that /readyz asks, when that shall not wait behind reads. `room` says what the
    gateway still takes, so that what it would refuse is refused before it is taken apart.
    """
    edge = Edge(Guard(options.tokens), Meters(), options.body_bytes_max, options.body_s_max)
    operations = Operations(gateway, reservations)
    reads = Reads(gateway, reservations, Past(ledger), History(ledger), Listing(read_model))
    openapi = document()
    endpoints: dict[str, Endpoint] = {
        "reserve": ChangeEndpoint(edge, "reserve", b.ReserveBody, operations.reserve),
        "pick": ReservationEndpoint(edge, "pick", b.PickBody, operations),
        "release": ReservationEndpoint(edge, "release", b.ReleaseBody, operations),
        "extend": ReservationEndpoint(edge, "extend", b.ExtendBody, operations),
        "batch": BatchEndpoint(edge, operations),
        "healthz": HealthEndpoint(edge, "healthz"),
        "readyz": ReadyEndpoint(edge, gateway, probe or ledger),
        "metrics": MetricsEndpoint(edge, gateway),
        "status": StatusEndpoint(edge, gateway),
        "openapi": PageEndpoint(edge, "openapi", msgspec.json.encode(openapi), b"application/json"),
        "docs": PageEndpoint(edge, "docs", docs_page(openapi), b"text/html; charset=utf-8"),
    }
    for route in ROUTES:
        if route.name in COMMANDS:
            assert route.body is not None
            perform = _on_stock(operations, route.name)
            endpoints[route.name] = ChangeEndpoint(edge, route.name, route.body, perform)
    for name in ("reservation", "stock", "bin", "explain", "history", "bins"):
        endpoints[name] = ReadEndpoint(edge, name, getattr(reads, name))
    front = Front(edge, endpoints, _rest(edge, endpoints, openapi))
    front.room, front.partitions = room, gateway.partitions
    return front


def _on_stock(operations: Operations, name: str) -> Any:  # noqa: ANN401 - what ChangeEndpoint performs
    return lambda body, key: operations.on_stock(name, body, key)


class Front:
    """The ASGI application."""

    room: Room | None = None
    partitions = 0

    def __init__(self, edge: Edge, endpoints: dict[str, Endpoint], rest: FastAPI) -> None:
        self.edge = edge
        self._rest = rest
        hot = ("reserve", "pick_stock", "receive", "batch", "healthz")
        self._hot = {(r.method, r.path): endpoints[r.name] for r in ROUTES if r.name in hot}
        self._on_reservation = {name: endpoints[name] for name in ("pick", "release")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, by a hot route if it is one."""
        if scope["type"] != "http":
            await self._other(scope, receive, send)
            return
        path = raw_path(scope)
        endpoint = self._hot.get((scope["method"], path))
        if endpoint is None and path.startswith(_RESERVATIONS) and scope["method"] == "POST":
            public_id, _, verb = path[len(_RESERVATIONS) :].partition("/")
            endpoint = self._on_reservation.get(verb) if public_id else None
            scope["path_params"] = {"id": public_id}
        if endpoint is not None:
            await endpoint(scope, receive, send)
            return
        # FastAPI matches the path as it was sent, so that a code may hold a slash; endpoints decode segments.
        await self._rest({**scope, "path": path, "root_path": ""}, receive, send)

    def stop(self) -> None:
        """Refuse new requests from now on; those that are under way are answered."""
        self.edge.is_stopping = True

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})
            return
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})


class _Documented(FastAPI):
    """FastAPI with the document that holds all routes, hot ones too."""

    def __init__(self, openapi: dict[str, Any]) -> None:
        super().__init__(
            docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False,
            telemetry={"tracing": False, "metrics": False, "logs": False},
        )  # fmt: skip
        self._document = openapi

    def openapi(self) -> dict[str, Any]:
        """Return the document."""
        return self._document


class _Elsewhere(Endpoint):
    """What is answered where no route is: 404 or 405 as a problem."""

    def __init__(self, edge: Edge, problem: Problem, *, is_open: bool = False) -> None:
        super().__init__(edge, "none")
        self._problem = problem
        self.is_open = is_open

    async def answer(self, exchange: Exchange) -> Answer:  # noqa: ARG002 - nothing is there
        """Raise the problem."""
        raise self._problem


def _rest(edge: Edge, endpoints: dict[str, Endpoint], openapi: dict[str, Any]) -> FastAPI:
    """Return FastAPI with every route, so that it answers wrong methods of hot ones too."""
    rest = _Documented(openapi)

    async def elsewhere(request: Request, error: Exception) -> Any:  # noqa: ANN401 - an ASGI application
        assert isinstance(error, HTTPException)
        if error.status_code == 405:
            allowed = (error.headers or {}).get("Allow", "")
            problem = Problem(
                Code.METHOD_NOT_ALLOWED, f"{request.method} is not allowed here: {allowed}.",
                headers=((b"allow", allowed.encode()),), allowed=allowed.split(", "),
            )  # fmt: skip
        else:
            problem = Problem(Code.ROUTE_NOT_FOUND, "There is nothing at this address.")
        return _Elsewhere(edge, problem, is_open=raw_path(request.scope) in _OPEN_PATHS)

    rest.add_exception_handler(HTTPException, elsewhere)
    for route in ROUTES:
        rest.add_route(route.path, endpoints[route.name], methods=[route.method])  # type: ignore[arg-type]
    return rest

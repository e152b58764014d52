"""One request and its answer, the same way for every route, hot or not, without a framework in between.

An `Endpoint` is an ASGI application: it admits the request, has its subclass make the answer, turns whatever
was raised into a problem, sends it and counts it.
"""

import asyncio
import contextlib
import logging
import os
import re
from collections.abc import Awaitable, Callable, MutableMapping
from time import perf_counter
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from actors.outcomes import Fault, OutcomeUnknown
from api.guard import Guard
from api.media import JSON, Media, media_sent, media_wanted
from api.meters import Meters
from api.paths import path_text
from api.problems import Code, Headers, Problem, parameter_problem, problem_of_fault, stopping
from api.time_limit import TimeLimit
from engine.limits import KEY_LENGTH_MAX

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

REQUEST_ID_LENGTH_MAX = 128
_KEY = re.compile(rb"[!-~]+")
_QUOTED_KEY = re.compile(rb'"((?:[!#-\[\]-~]|\\["\\])*)"')
_LOGGER = logging.getLogger("binkeeper.api")


class Answer(NamedTuple):
    """A success: what is told, and how."""

    status: int
    view: Any
    replayed: bool = False
    headers: Headers = ()
    content_type: bytes | None = None
    """Set when `view` is the finished body as bytes."""


class Edge:
    """What all endpoints of a process share."""

    def __init__(self, guard: Guard, meters: Meters, body_bytes_max: int, body_s_max: float = 30.0) -> None:
        self.guard = guard
        self.meters = meters
        self.body_bytes_max = body_bytes_max
        self.body_limit = TimeLimit(body_s_max)
        self.is_stopping = False
        """Once set, new requests are refused; those that are under way are answered."""
        self._prefix = os.urandom(12).hex()
        self._made = 0

    def admit(self, authorization: bytes | None, *, by_browser: bool = False) -> None:
        """Return when a request may go on. Raises Problem (401, 503)."""
        if self.is_stopping:
            raise stopping()
        self.guard.admit(authorization, by_browser=by_browser)

    def fresh_id(self) -> str:
        """Return an id that no other process and no other request has: 96 random bits and a counter."""
        self._made += 1
        return f"{self._prefix}-{self._made:x}"


class Exchange:
    """One request as far as it is understood."""

    __slots__ = ("headers", "key", "receive", "scope", "sent", "wanted")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope = scope
        self.receive = receive
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.sent: Media | None = None
        self.wanted: Media | None = None
        self.key: str | None = None

    @property
    def instance(self) -> str:
        """The request's path as it was sent."""
        return raw_path(self.scope)

    def path_text(self, name: str) -> str:
        """Return a segment of the path, decoded. Raises Problem (422)."""
        return path_text(self.scope["path_params"][name], name)

    def query(self, *names: str) -> dict[str, str]:
        """Return the query's parameters, each of `names` and given at most once. Raises Problem (422)."""
        text = self.scope.get("query_string", b"").decode("latin-1")
        try:
            pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=100)
        except ValueError:
            raise parameter_problem("query", "Expected percent-encoded UTF-8.") from None
        found: dict[str, str] = {}
        for name, value in pairs:
            if name not in names:
                raise parameter_problem(name, f"Not known here: expected {', '.join(names) or 'none'}.")
            if name in found:
                raise parameter_problem(name, "Given more than once.")
            found[name] = value
        return found

    @property
    def media(self) -> Media:
        """What answers and problems are written in: as Accept says, else as the body, else JSON."""
        if self.wanted is None and self.sent is None:  # Something was wrong before they were read.
            headers = self.headers
            with contextlib.suppress(Problem):
                self.wanted = media_wanted(headers.get(b"accept"))
            with contextlib.suppress(Problem):
                self.sent = media_sent(headers.get(b"content-type"))
        return self.wanted or self.sent or JSON

    async def body(self, edge: "Edge") -> bytes:
        """Return the body. Raises Problem (408, 413) and Disconnected."""
        bytes_max = edge.body_bytes_max
        declared = self.headers.get(b"content-length")
        if declared is not None and declared.isdigit() and int(declared[:18]) > bytes_max:
            raise _too_large(bytes_max)
        limit = edge.body_limit
        task = limit.begin()
        try:
            return await self._whole_body(bytes_max)
        except asyncio.CancelledError:
            if not limit.end(task):
                raise
        finally:
            limit.end(task)
        raise Problem(
            Code.BODY_TIMEOUT, f"The body was not here after {limit.seconds:g} s. Nothing happened.",
            headers=((b"connection", b"close"),), limit_s=limit.seconds,
        )  # fmt: skip

    async def _whole_body(self, bytes_max: int) -> bytes:
        message = await self.receive()
        if message["type"] != "http.request":
            raise Disconnected
        data: bytes = message.get("body", b"")
        if message.get("more_body"):
            parts = [data]
            size = len(data)
            while message.get("more_body") and size <= bytes_max:
                message = await self.receive()
                if message["type"] != "http.request":
                    raise Disconnected
                parts.append(message.get("body", b""))
                size += len(parts[-1])
            data = b"".join(parts)
        if len(data) > bytes_max:
            raise _too_large(bytes_max)
        return data


class Disconnected(Exception):
    """The caller went away before its request was whole. Nothing happened, and nobody waits for an answer."""


class Endpoint:
    """One route. A subclass says what the answer is."""

    is_open = False
    """Whether it is answered without a token, and while the server stops."""
    is_for_browsers = False
    """Whether the token may come as the password of a browser's login too."""
    checks_accept = True
    """Whether Accept decides the answer's content type."""

    def __init__(self, edge: Edge, name: str) -> None:
        self.edge = edge
        self.name = name
        self._observe = edge.meters.latency(name).observe

    async def answer(self, exchange: Exchange) -> Answer:
        """Return the answer. Raises Problem, Fault or Disconnected."""
        raise NotImplementedError

    def count(self, outcome: str) -> None:
        """Count how the operation ended, if the route is one."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        begun_s = perf_counter()
        edge = self.edge
        exchange = Exchange(scope, receive)
        try:
            if not self.is_open:
                authorization = exchange.headers.get(b"authorization")
                edge.admit(authorization, by_browser=self.is_for_browsers)
            if self.checks_accept:
                exchange.wanted = media_wanted(exchange.headers.get(b"accept"))
            status, view, replayed, extra, content_type = await self.answer(exchange)
            if content_type is None:
                media = exchange.media
                view = media.encode(view)
                content_type = media.content_type
            self.count("replayed" if replayed else "done")
        except Disconnected:
            return
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and not edge.is_stopping:
                raise
            problem = problem_of(error, exchange)
            media = exchange.media
            status, extra, replayed = problem.status, problem.headers, problem.replayed
            view = media.encode(problem.body(exchange.instance))
            content_type = media.problem_type
            self.count(problem.code)
        request_id = exchange.headers.get(b"x-request-id")
        if request_id is None or len(request_id) > REQUEST_ID_LENGTH_MAX or not request_id.isascii():
            request_id = (exchange.key or edge.fresh_id()).encode()
        headers = [
            (b"content-type", content_type),
            (b"content-length", b"%d" % len(view)),
            (b"x-request-id", request_id),
            *extra,
        ]
        if exchange.key is not None:
            headers.append((b"idempotency-key", exchange.key.encode()))
            if replayed:
                headers.append((b"idempotent-replayed", b"true"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": view})
        edge.meters.count_request(self.name, status)
        self._observe(perf_counter() - begun_s)


def problem_of(error: BaseException, exchange: Exchange | None = None) -> Problem:
    """Return the problem that an exception means; one of ours is logged, and told without detail."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, Fault):
        return problem_of_fault(error)
    if isinstance(error, asyncio.CancelledError):  # The server's grace is over.
        changes = exchange is not None and exchange.key is not None
        return problem_of_fault(OutcomeUnknown()) if changes else stopping()
    _LOGGER.error("%s failed", exchange.instance if exchange else "an operation", exc_info=error)
    return Problem(Code.INTERNAL_ERROR, "It may have happened: send the same key again.")


def raw_path(scope: Scope) -> str:
    """Return the path as it was sent, still percent-encoded."""
    raw: bytes | None = scope.get("raw_path")
    return raw.partition(b"?")[0].decode("latin-1") if raw is not None else str(scope["path"])


def read_sent(exchange: Exchange) -> Media:
    """Return what the body is written in, and remember it. Raises Problem (415)."""
    headers = exchange.headers
    media = exchange.sent = media_sent(headers.get(b"content-type"), headers.get(b"content-encoding"))
    return media


def key_of(header: bytes | None, edge: Edge) -> str:
    """Return the caller's idempotency key, or a fresh one. Raises Problem (400).

    A complete quoted string (RFC 8941) stands for what is in it; anything else is the key as it was sent.
    """
    if header is None:
        return edge.fresh_id()
    if _KEY.fullmatch(header):
        quoted = _QUOTED_KEY.fullmatch(header)
        key = header if quoted is None else re.sub(rb"\\(.)", rb"\1", quoted.group(1))
        if 1 <= len(key) <= KEY_LENGTH_MAX:
            return str(key, "ascii")
    raise Problem(Code.INVALID_IDEMPOTENCY_KEY, "Idempotency-Key: Expected 1 to 64 visible ASCII characters.")


def _too_large(bytes_max: int) -> Problem:
    return Problem(
        Code.BODY_TOO_LARGE, f"The body is larger than {bytes_max} bytes.",
        headers=((b"connection", b"close"),), limit_bytes=bytes_max,
    )  # fmt: skip

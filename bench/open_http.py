"""Load through HTTP/1.1: many connections, each with at most one request under way."""

import asyncio
import json
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from bench.http_load import length_of
from bench.open_load import (
    ACCEPTED,
    REFUSED,
    TTL_S,
    UNKNOWN,
    UNSENT,
    ClosedRun,
    OpenRun,
    Schedule,
    open_key,
    skus_together,
)
from bench.workloads import Workload

CONNECTIONS_MAX = 2_000
"""What the callers have open together. A request for which none is free is not sent, as with any pool."""
_CONNECT_AT_ONCE = 50
_DRAIN_S = 30.0
_HEAD_END = b"\r\n\r\n"
_NOTHING_HAPPENED = frozenset((429, 503))
_DONE = 201


class OpenHttp:
    """Reserves of several lines at a server, at the times at which they are due."""

    def __init__(self, host: str, port: int, token: str, partitions: int) -> None:
        self._address = host, port
        self._token = token
        self._partitions = partitions

    async def close(self) -> None:
        """Do nothing: connections live as long as a load."""

    async def capacity(
        self, workload: Workload, salt: int, *, in_flight: int, seconds: float
    ) -> dict[str, Any]:
        """Keep so many reserves under way; return their rate."""
        run = ClosedRun()
        callers = _Callers(run, *self._address, connections_max=in_flight)
        await callers.open_all()
        told = await run.run(self._sender(callers, workload, salt), in_flight=in_flight, seconds=seconds)
        callers.close()
        return told

    async def open(
        self, workload: Workload, salt: int, *, phases: list[tuple[float, float]]
    ) -> dict[str, Any]:
        """Send reserves by the schedule; return what became of them (see `bench.open_load`)."""
        run = OpenRun(Schedule([(rate, seconds) for rate, seconds in phases]))
        callers = _Callers(run, *self._address, connections_max=CONNECTIONS_MAX)
        await callers.open_all()
        await run.run(self._sender(callers, workload, salt), drain_s=_DRAIN_S)
        callers.close()
        return {
            **run.plain(),
            "connections": CONNECTIONS_MAX,
            "retry_after_missing": callers.unadvised,
            "cut": callers.cut,
        }

    def _sender(self, callers: "_Callers", workload: Workload, salt: int) -> Callable[[int], None]:
        requests = [
            self._template([{"site": workload.name, "sku": sku, "quantity": 1} for sku in skus])
            for _, skus in skus_together(workload, self._partitions)
        ]

        def send(number: int) -> None:
            callers.send(number, requests[number % len(requests)] % open_key(salt, number).encode())

        return send

    def _template(self, lines: list[dict[str, Any]]) -> bytes:
        """Return a request in which the key is missing."""
        body = json.dumps({"lines": lines, "ttl_s": TTL_S}, separators=(",", ":"))
        head = (
            "POST /v1/reservations HTTP/1.1\r\n"
            f"Host: {self._address[0]}:{self._address[1]}\r\n"
            f"Authorization: Bearer {self._token}\r\n"
            "Content-Type: application/json\r\n"
            "Idempotency-Key: %b\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return (head + body).encode()


class _Callers:
    """The connections of a load."""

    def __init__(self, run: ClosedRun | OpenRun, host: str, port: int, *, connections_max: int) -> None:
        self.run = run
        self.unadvised = 0
        """Refusals without `Retry-After`."""
        self._address = host, port
        self._connections_max = connections_max
        self.cut = 0
        """Requests whose connection was lost before their answer."""
        self._resting: deque[_Connection] = deque()
        """The one that has rested longest is next: none rests so long that the server closes it."""
        self._all: set[_Connection] = set()

    async def open_all(self) -> None:
        """Connect, some at a time."""
        loop = asyncio.get_running_loop()
        while len(self._all) < self._connections_max:
            count = min(_CONNECT_AT_ONCE, self._connections_max - len(self._all))
            made = [loop.create_connection(lambda: _Connection(self), *self._address) for _ in range(count)]
            fresh = [protocol for _, protocol in await asyncio.gather(*made)]
            self._all.update(fresh)
            self._resting += fresh

    def send(self, number: int, request: bytes) -> None:
        """Send a request by a connection at rest; without one it is not sent: its caller's pool is empty."""
        if self._resting:
            self._resting.popleft().send(number, request)
        else:
            self.run.ended(number, UNSENT)

    def rested(self, connection: "_Connection") -> None:
        """Take a connection back that has its answer."""
        self._resting.append(connection)

    def lost(self, connection: "_Connection") -> None:
        """Forget a connection."""
        self._all.discard(connection)
        if connection in self._resting:
            self._resting.remove(connection)

    def close(self) -> None:
        """Close all connections."""
        for connection in list(self._all):
            connection.close()


class _Connection(asyncio.Protocol):
    """One connection with at most one request under way."""

    def __init__(self, callers: _Callers) -> None:
        self._callers = callers
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._number: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Whoever waits does not know what became of it."""
        number, self._number = self._number, None
        self._callers.lost(self)
        if number is not None:
            self._callers.cut += 1
            self._callers.run.ended(number, UNKNOWN)

    def send(self, number: int, request: bytes) -> None:
        """Send a request."""
        assert self._transport is not None
        self._number = number
        self._transport.write(request)

    def close(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take the response, when it is whole."""
        buffer = self._buffer + data if self._buffer else data
        head_end = buffer.find(_HEAD_END)
        if head_end < 0 or len(buffer) < head_end + len(_HEAD_END) + length_of(buffer, head_end):
            self._buffer = buffer
            return
        self._buffer = b""
        status = int(buffer[9:12])
        number, self._number = self._number, None
        assert number is not None
        if status in _NOTHING_HAPPENED:
            self._callers.unadvised += b"retry-after:" not in buffer[:head_end].lower()
        self._callers.rested(self)
        outcome = ACCEPTED if status == _DONE else REFUSED if status in _NOTHING_HAPPENED else UNKNOWN
        self._callers.run.ended(number, outcome)

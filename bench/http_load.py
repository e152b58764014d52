"""Load through HTTP/1.1: keep-alive connections, each of which has one request under way.

The client shares the machine with the server, so it does as little as it can: one format operation renders a
request, and of a response it reads the status and the length.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from bench.demand import Demand
from bench.driving import ACCEPTED, REFUSED, UNAVAILABLE, Drive, Driven
from bench.workloads import Workload

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"
_OUTCOMES = {b"201": ACCEPTED, b"409": REFUSED, b"429": UNAVAILABLE, b"503": UNAVAILABLE}


class HttpLoad(Driven):
    """Reserves request by request at a server. `path` may be any: an empty route gets the same requests."""

    def __init__(self, host: str, port: int, token: str, path: str) -> None:
        self._host = host
        self._port = port
        self._token = token
        self._path = path

    async def close(self) -> None:
        """Do nothing: connections live as long as a load."""

    @asynccontextmanager
    async def sending(
        self, workload: Workload, salt: int, drive: Drive, width: int
    ) -> AsyncIterator["Requests"]:
        """See `Driven.sending`: `width` connections; a request for which none is free waits."""
        loop = asyncio.get_running_loop()
        requests = self.requests(workload, salt, drive)
        made = [
            loop.create_connection(lambda: _Connection(requests), self._host, self._port)
            for _ in range(width)
        ]
        requests.free += [protocol for _, protocol in await asyncio.gather(*made)]
        connections = list(requests.free)
        try:
            yield requests
        finally:
            for connection in connections:
                connection.close()

    def requests(self, workload: Workload, salt: int, drive: Drive) -> "Requests":
        """Return what makes the requests of a workload."""
        return Requests(self._templates(workload), workload, salt, drive)

    def _templates(self, workload: Workload) -> dict[int, bytes]:
        """Return for each number of lines a request in which a key and that many SKUs are missing."""
        line = f'{{"site":"{workload.name}","sku":"%b","quantity":1}}'
        if workload.lines_max == 1:
            return {1: self.template(line, len(workload.sku(0)))}
        return {
            lines: self.template('{"lines":[' + ",".join([line] * lines) + "]}", lines * len(workload.sku(0)))
            for lines in range(workload.lines_min, workload.lines_max + 1)
        }

    def template(self, body: str, filled: int) -> bytes:
        """Return a request in which the key and parts of the body are missing: %b, together `filled` long."""
        length = len(body) - body.count("%b") * len("%b") + filled
        head = (
            f"POST {self._path} HTTP/1.1\r\n"
            f"Host: {self._host}:{self._port}\r\n"
            f"Authorization: Bearer {self._token}\r\n"
            "Content-Type: application/json\r\n"
            "Idempotency-Key: %b\r\n"
            f"Content-Length: {length}\r\n\r\n"
        )
        return (head + body).encode()


class Requests:
    """Sends requests over those connections that are free."""

    def __init__(self, templates: dict[int, bytes], workload: Workload, salt: int, drive: Drive) -> None:
        self._templates = templates
        self._demand = Demand(workload, salt)
        self.draws = self._demand.draws
        self.drive = drive
        self.skus = [workload.sku(index).encode() for index in range(workload.bins)]
        self.free: list[_Connection] = []
        self._waiting: deque[tuple[int, bytes]] = deque()

    def send(self, number: int) -> None:
        """Send the next reserve, as soon as a connection is free."""
        request = self.next(number)
        if self.free:
            self.free.pop().send(number, request)
        else:
            self._waiting.append((number, request))

    def next(self, number: int) -> bytes:
        """Return the next request, whose number this is."""
        key, bins = self._demand.of(number)
        return self._templates[len(bins)] % (key.encode(), *map(self.skus.__getitem__, bins))

    def outcome(self, response: bytes) -> int | None:
        """Return what a response says, or None when it is none that a server may give."""
        return _OUTCOMES.get(response[9:12])

    def answered(self, connection: "_Connection", number: int, outcome: int) -> None:
        """A connection is free again."""
        if self._waiting:
            connection.send(*self._waiting.popleft())
        else:
            self.free.append(connection)
        self.drive.ended(number, outcome)


class _Connection(asyncio.Protocol):
    """One connection with at most one request under way."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._number: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by shape, not by class.

    def connection_lost(self, exc: Exception | None) -> None:
        """A server that closes a connection under way leaves its caller in the dark."""
        if self._number is not None:
            self._requests.drive.failed(ConnectionError(str(exc or "the server closed a connection")))

    def close(self) -> None:
        """End the connection."""
        self._number = None
        if self._transport is not None:
            self._transport.close()

    def send(self, number: int, request: bytes) -> None:
        """Send a request."""
        assert self._transport is not None
        self._number = number
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Take the response, when it is whole."""
        buffer = self._buffer + data if self._buffer else data
        head_end = buffer.find(_HEAD_END)
        if head_end < 0 or len(buffer) < head_end + len(_HEAD_END) + length_of(buffer, head_end):
            self._buffer = buffer
            return
        self._buffer = b""
        number, self._number = self._number, None
        assert number is not None, "an answer that nobody asked for"
        outcome = self._requests.outcome(buffer)
        if outcome is None:
            self._requests.drive.failed(ConnectionError(buffer.decode(errors="replace")))
        else:
            self._requests.answered(self, number, outcome)


def length_of(buffer: bytes, head_end: int) -> int:
    """Return the length of a response's body."""
    at = buffer.find(_LENGTH, 0, head_end)
    if at < 0:
        return 0
    end = buffer.find(b"\r\n", at)
    return int(buffer[at + len(_LENGTH) : end])

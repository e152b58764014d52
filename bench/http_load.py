"""Load through HTTP/1.1: keep-alive connections, each of which sends its next reserve when it has its answer.

The client shares the machine with the server, so it does as little as it can: one format operation renders a
request, and of a response it reads the status and the length.
"""

import asyncio
from collections import Counter
from time import perf_counter
from typing import Any, cast

from bench.demand import Demand
from bench.told import Told
from bench.workloads import Workload

_END_S_MAX = 30.0
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"
_DONE = 201
_NOTHING_HAPPENED = frozenset((429, 503))
_UNKNOWN_FROM = 500


class HttpLoad:
    """Reserves request by request at a server. `path` may be any: an empty route gets the same requests."""

    def __init__(self, host: str, port: int, token: str, path: str) -> None:
        self._host = host
        self._port = port
        self._token = token
        self._path = path

    async def close(self) -> None:
        """Do nothing: connections live as long as a round."""

    async def closed(
        self, workload: Workload, salt: int, *, in_flight: int, warm_s: float, seconds: float
    ) -> dict[str, Any]:
        """Keep `in_flight` connections busy: for `warm_s`, which do not count, then for `seconds`."""
        loop = asyncio.get_running_loop()
        shared = _Shared(self._templates(workload), workload, salt, in_flight)
        made = [
            loop.create_connection(lambda: _Connection(shared), self._host, self._port)
            for _ in range(in_flight)
        ]
        callers = [protocol for _, protocol in await asyncio.gather(*made)]
        for caller in callers:
            caller.send()
        await asyncio.sleep(warm_s)
        from_s = perf_counter()
        await asyncio.sleep(seconds)
        until_s = perf_counter()
        shared.is_ending = True
        async with asyncio.timeout(_END_S_MAX):
            await shared.ended
        return shared.told.plain(from_s, until_s)

    def _templates(self, workload: Workload) -> dict[int, bytes]:
        """Return for each number of lines a request in which a key and that many SKUs are missing."""
        line = f'{{"site":"{workload.name}","sku":"%b","quantity":1}}'
        if workload.lines_max == 1:
            return {1: self._template(workload, line, 1)}
        return {
            lines: self._template(workload, '{"lines":[' + ",".join([line] * lines) + "]}", lines)
            for lines in range(workload.lines_min, workload.lines_max + 1)
        }

    def _template(self, workload: Workload, body: str, lines: int) -> bytes:
        """Return a request with a body in which so many SKUs are missing; all have the same length."""
        head = (
            f"POST {self._path} HTTP/1.1\r\n"
            f"Host: {self._host}:{self._port}\r\n"
            f"Authorization: Bearer {self._token}\r\n"
            "Content-Type: application/json\r\n"
            "Idempotency-Key: %b\r\n"
            f"Content-Length: {len(body) + lines * (len(workload.sku(0)) - len('%b'))}\r\n\r\n"
        )
        return (head + body).encode()


class _Shared:
    """What all connections of a load have in common."""

    __slots__ = ("connections", "demand", "ended", "is_ending", "skus", "templates", "told")

    def __init__(self, templates: dict[int, bytes], workload: Workload, salt: int, connections: int) -> None:
        self.templates = templates
        self.connections = connections
        self.demand = Demand(workload, salt)
        self.skus = [workload.sku(index).encode() for index in range(workload.bins)]
        self.told = Told()
        self.is_ending = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def render(self, key: str, bins: tuple[int, ...]) -> bytes:
        """Return a request."""
        return self.templates[len(bins)] % (key.encode(), *map(self.skus.__getitem__, bins))

    def failed(self, fault: BaseException) -> None:
        """End the load: the server did what a server must not do."""
        if not self.ended.done():
            self.ended.set_exception(fault)


class _Connection(asyncio.Protocol):
    """One connection with one request under way."""

    def __init__(self, shared: _Shared) -> None:
        self._shared = shared
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._bins: tuple[int, ...] = ()
        self._began_s = 0.0
        self._is_waiting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by shape, not by class.

    def connection_lost(self, exc: Exception | None) -> None:
        """A server that closes a connection under way leaves its caller in the dark."""
        if self._is_waiting:
            self._count(self._shared.told.unknown)
            self._shared.failed(ConnectionError(str(exc or "the server closed a connection")))

    def send(self) -> None:
        """Send the next reserve."""
        key, self._bins = self._shared.demand.next()
        assert self._transport is not None
        self._is_waiting = True
        self._began_s = perf_counter()
        self._transport.write(self._shared.render(key, self._bins))

    def data_received(self, data: bytes) -> None:
        """Take the response, when it is whole."""
        buffer = self._buffer + data if self._buffer else data
        head_end = buffer.find(_HEAD_END)
        if head_end < 0 or len(buffer) < head_end + len(_HEAD_END) + length_of(buffer, head_end):
            self._buffer = buffer
            return
        self._buffer = b""
        self._answered(int(buffer[9:12]), buffer)

    def _answered(self, status: int, response: bytes) -> None:
        now_s = perf_counter()
        shared = self._shared
        told = shared.told
        self._is_waiting = False
        if status == _DONE:
            self._count(told.acknowledged)
            told.ended_s.append(now_s)
            told.spent_s.append(now_s - self._began_s)
        elif status in _NOTHING_HAPPENED:
            told.unavailable += 1
        elif status == 409:
            told.refused += 1
        else:
            if status >= _UNKNOWN_FROM:
                self._count(told.unknown)
            shared.failed(ConnectionError(response.decode(errors="replace")))
            return
        if not shared.is_ending:
            self.send()
            return
        assert self._transport is not None
        self._transport.close()
        shared.connections -= 1
        if shared.connections == 0 and not shared.ended.done():
            shared.ended.set_result(None)

    def _count(self, units: Counter[int]) -> None:
        for index in self._bins:
            units[index] += 1


def length_of(buffer: bytes, head_end: int) -> int:
    """Return the length of a response's body."""
    at = buffer.find(_LENGTH, 0, head_end)
    if at < 0:
        return 0
    end = buffer.find(b"\r\n", at)
    return int(buffer[at + len(_LENGTH) : end])

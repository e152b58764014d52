"""Open-loop load through HTTP/1.1: as many connections as it takes, within a bound, each with one request."""

import asyncio
from collections import deque
from typing import Any, cast

from bench.http_load import HttpLoad, length_of
from bench.open_load import ACCEPTED, REFUSED, UNKNOWN, OpenRun, Schedule, open_key
from bench.workloads import Workload

CONNECTIONS_MAX = 2_000
"""What one machine's callers may have open; more requests wait for one, and that counts."""
_DRAIN_S = 30.0
_HEAD_END = b"\r\n\r\n"
_NOTHING_HAPPENED = frozenset((429, 503))
_DONE = 201


class OpenHttp(HttpLoad):
    """Reserves at a server at the times at which they are due."""

    async def open(
        self, workload: Workload, salt: int, *, phases: list[tuple[float, float]]
    ) -> dict[str, Any]:
        """Send reserves by the schedule; return what became of them (see `bench.open_load`)."""
        run = OpenRun(Schedule([(rate, seconds) for rate, seconds in phases]))
        callers = _Callers(run, self._host, self._port)
        sequence, template = workload.sequence(salt), self._template(workload)
        skus = [workload.sku(index).encode() for index in range(workload.bins)]

        def send(number: int) -> None:
            sku = skus[sequence[number % len(sequence)]]
            callers.send(number, template % (open_key(salt, number).encode(), sku))

        await run.run(send, drain_s=_DRAIN_S)
        callers.close()
        return {**run.plain(), "connections": callers.opened, "retry_after_missing": callers.unadvised}


class _Callers:
    """The connections of a load: those at rest, and what waits for one."""

    def __init__(self, run: OpenRun, host: str, port: int) -> None:
        self.run = run
        self.opened = 0
        self.unadvised = 0
        """Refusals without `Retry-After`."""
        self._address = host, port
        self._resting: list[_Connection] = []
        self._all: set[_Connection] = set()
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._opening: set[asyncio.Task[None]] = set()

    def send(self, number: int, request: bytes) -> None:
        """Send a request by a connection at rest, or a new one."""
        if self._resting:
            self._resting.pop().send(number, request)
            return
        self._waiting.append((number, request))
        if self.opened < CONNECTIONS_MAX:
            self.opened += 1
            task = asyncio.get_running_loop().create_task(self._open())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open(self) -> None:
        made = await asyncio.get_running_loop().create_connection(lambda: _Connection(self), *self._address)
        self._all.add(made[1])
        self.rested(made[1])

    def rested(self, connection: "_Connection") -> None:
        """Give a connection that has its answer the next request."""
        if self._waiting:
            connection.send(*self._waiting.popleft())
        else:
            self._resting.append(connection)

    def lost(self, connection: "_Connection") -> None:
        """Forget a connection."""
        self._all.discard(connection)
        self.opened -= 1
        if connection in self._resting:
            self._resting.remove(connection)

    def close(self) -> None:
        """Close all connections."""
        for task in self._opening:
            task.cancel()
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
            self._callers.run.ended(number, REFUSED)
        else:
            self._callers.run.ended(number, ACCEPTED if status == _DONE else UNKNOWN)
        self._callers.rested(self)

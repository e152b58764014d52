"""Load on Redis: so many reserves under way, each on a connection of its own, or pipelined over a few.

What is sent in one turn of the loop is written together.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle
from typing import cast

from hiredis import Reader

from bench.driving import ACCEPTED, REFUSED, Drive, Driven, draws_of
from bench.peers.redis_stock import packed, request, request_before_key
from bench.workloads import Workload, keys_of


class RedisLoad(Driven):
    """Reserves by the scripts. `connections` are those that all requests share; None: each has its own."""

    def __init__(self, host: str, port: int, password: str, connections: int | None = None) -> None:
        self._host = host
        self._port = port
        self._password = password
        self._connections = connections

    async def close(self) -> None:
        """Do nothing: connections live as long as a load."""

    @asynccontextmanager
    async def sending(
        self, workload: Workload, salt: int, drive: Drive, width: int
    ) -> AsyncIterator["_Requests"]:
        """See `Driven.sending`."""
        loop = asyncio.get_running_loop()
        made = [
            loop.create_connection(lambda: _Connection(drive), self._host, self._port)
            for _ in range(min(width, self._connections or width))
        ]
        connections = [protocol for _, protocol in await asyncio.gather(*made)]
        try:
            for connection in connections:
                await connection.sign_in(self._password)
            yield _Requests(workload, salt, connections)
        finally:
            for connection in connections:
                connection.close()


class _Requests:
    """Deals requests out over the connections, to each in turn."""

    def __init__(self, workload: Workload, salt: int, connections: "list[_Connection]") -> None:
        self._keys = keys_of(salt)
        self.draws = draws_of(workload, salt)
        self._before_key = [
            request_before_key(workload, (bins,) if isinstance(bins, int) else bins) for bins in self.draws
        ]
        self._connections = cycle(connections)

    def send(self, number: int) -> None:
        """Send the next reserve."""
        before_key = self._before_key[number % len(self._before_key)]
        next(self._connections).send(number, request(before_key, self._keys.getrandbits(128)))


class _Connection(asyncio.Protocol):
    """One connection with some requests under way, which are answered in their order."""

    def __init__(self, drive: Drive) -> None:
        self._drive = drive
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reader = Reader()
        self._waiting: deque[int] = deque()
        self._written: list[bytes] = []
        self._is_in = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by shape, not by class.

    def connection_lost(self, exc: Exception | None) -> None:
        """A server that closes a connection leaves those who wait in the dark."""
        if self._waiting:
            self._drive.failed(ConnectionError(str(exc or "Redis closed a connection")))

    def close(self) -> None:
        """End the connection."""
        self._waiting.clear()
        if self._transport is not None:
            self._transport.close()

    async def sign_in(self, password: str) -> None:
        """Say the password. Raises ConnectionError when it is wrong."""
        assert self._transport is not None
        self._transport.write(packed("AUTH", password))
        if (reply := await self._is_in) != b"OK":
            raise ConnectionError(str(reply))

    def send(self, number: int, request: bytes) -> None:
        """Send a request with the others of this turn."""
        self._waiting.append(number)
        if not self._written:
            self._loop.call_soon(self._flush)
        self._written.append(request)

    def _flush(self) -> None:
        assert self._transport is not None
        self._transport.write(b"".join(self._written))
        self._written.clear()

    def data_received(self, data: bytes) -> None:
        """Take the answers that are whole."""
        gets, waiting, ended = self._reader.gets, self._waiting, self._drive.ended
        self._reader.feed(data)
        while (reply := gets()) is not False:
            if not self._is_in.done():
                self._is_in.set_result(reply)
            elif reply == 1:
                ended(waiting.popleft(), ACCEPTED)
            elif reply == 0:
                ended(waiting.popleft(), REFUSED)
            else:
                self._drive.failed(ConnectionError(str(reply)))
                return

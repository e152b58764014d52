"""Load on Redis: so many reserves under way, each on a connection of its own, or pipelined over a few.

What is sent because of one read is written together.
"""

import asyncio
from collections import deque
from time import perf_counter
from typing import Any, cast

from hiredis import Reader

from bench.peers.redis_stock import packed, request, request_before_key
from bench.told import Told
from bench.workloads import Workload, keys_of

_END_S_MAX = 30.0


class RedisLoad:
    """Reserves by the scripts. `connections` are those that all requests share; None: each has its own."""

    def __init__(self, host: str, port: int, password: str, connections: int | None = None) -> None:
        self._host = host
        self._port = port
        self._password = password
        self._connections = connections

    async def close(self) -> None:
        """Do nothing: connections live as long as a round."""

    async def closed(
        self, workload: Workload, salt: int, *, in_flight: int, warm_s: float, seconds: float
    ) -> dict[str, Any]:
        """Keep `in_flight` reserves under way: for `warm_s`, which do not count, then for `seconds`."""
        loop = asyncio.get_running_loop()
        count = min(in_flight, self._connections or in_flight)
        shared = _Shared(workload, salt, count)
        made = [
            loop.create_connection(lambda: _Connection(shared), self._host, self._port) for _ in range(count)
        ]
        connections = [protocol for _, protocol in await asyncio.gather(*made)]
        welcome = packed("AUTH", self._password)
        for number, connection in enumerate(connections):
            connection.begin(welcome, requests=in_flight // count + (number < in_flight % count))
        await asyncio.sleep(warm_s)
        from_s = perf_counter()
        await asyncio.sleep(seconds)
        until_s = perf_counter()
        shared.is_ending = True
        async with asyncio.timeout(_END_S_MAX):
            await shared.ended
        return shared.told.plain(from_s, until_s)


class _Shared:
    """What all connections of a load have in common."""

    __slots__ = ("connections", "ended", "is_ending", "keys", "next", "requests", "sequence", "told")

    def __init__(self, workload: Workload, salt: int, connections: int) -> None:
        self.connections = connections
        self.keys = keys_of(salt)
        self.sequence: list[tuple[int, ...]] = (
            workload.orders(salt)
            if workload.lines_max > 1
            else [(index,) for index in workload.sequence(salt)]
        )
        self.requests = {bins: request_before_key(workload, bins) for bins in set(self.sequence)}
        self.next = 0
        self.told = Told()
        self.is_ending = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def failed(self, fault: BaseException) -> None:
        """End the load: the server did what a server must not do."""
        if not self.ended.done():
            self.ended.set_exception(fault)


class _Connection(asyncio.Protocol):
    """One connection with some requests under way, which are answered in their order."""

    def __init__(self, shared: _Shared) -> None:
        self._shared = shared
        self._transport: asyncio.Transport | None = None
        self._reader = Reader()
        self._waiting: deque[tuple[tuple[int, ...], float]] = deque()
        self._is_welcome = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by shape, not by class.

    def connection_lost(self, exc: Exception | None) -> None:
        """A server that closes a connection leaves those who wait in the dark."""
        for bins, _ in self._waiting:
            for index in bins:
                self._shared.told.unknown[index] += 1
        if self._waiting:
            self._shared.failed(ConnectionError(str(exc or "Redis closed a connection")))

    def begin(self, welcome: bytes, *, requests: int) -> None:
        """Sign in, and have so many requests under way from now on."""
        assert self._transport is not None
        now_s = perf_counter()
        self._transport.write(b"".join([welcome, *(self._next(now_s) for _ in range(requests))]))

    def _next(self, now_s: float) -> bytes:
        shared = self._shared
        bins = shared.sequence[shared.next]
        shared.next = (shared.next + 1) % len(shared.sequence)
        self._waiting.append((bins, now_s))
        return request(shared.requests[bins], shared.keys.getrandbits(128))

    def data_received(self, data: bytes) -> None:
        """Take the answers that are whole; each makes room for a request."""
        now_s = perf_counter()
        shared, waiting = self._shared, self._waiting
        told = shared.told
        gets = self._reader.gets
        self._reader.feed(data)
        requests = []
        while (reply := gets()) is not False:
            if not self._is_welcome and reply == b"OK":
                self._is_welcome = True
                continue
            bins, began_s = waiting.popleft()
            if reply == 1:
                for index in bins:
                    told.acknowledged[index] += 1
                told.ended_s.append(now_s)
                told.spent_s.append(now_s - began_s)
            elif reply == 0:
                told.refused += 1
            else:
                shared.failed(ConnectionError(str(reply)))
                return
            if not shared.is_ending:
                requests.append(self._next(now_s))
        assert self._transport is not None
        if requests:
            self._transport.write(b"".join(requests))
        elif not waiting and shared.is_ending:
            self._ended()

    def _ended(self) -> None:
        assert self._transport is not None
        self._transport.close()
        self._shared.connections -= 1
        if self._shared.connections == 0 and not self._shared.ended.done():
            self._shared.ended.set_result(None)

"""The API before two hosts, one of them on a Postgres that takes 200 ms: only its own callers wait."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from actors.gateway import LaneGateway
from actors.reservations import SpanningReservations
from api.app import ApiOptions, create_app
from api.server import Server, ServerOptions
from bench.product import free_port
from engine.partitioning import partition_of
from persistence.memory import MemoryDatabase, MemoryReadModel
from persistence.postgres import PostgresDirectory, PostgresLedger, Sessions
from tests.conftest import PARTITIONS
from tests.integration.actors.conftest import TOKEN, Build
from tests.integration.persistence.proxy import Proxy
from tests.waiting import until

_SLOW_S = 0.2
_PENDING_MAX = 40
_SLOW_CALLERS = 60
"""More than all requests that the API lets wait: one that counted them together would turn everybody away."""
_QUICK_CALLERS = 4
_ALONE, _TOGETHER = 200, 200
"""Answers to wait for."""


@dataclass
class Caller:
    """A connection that is kept, and what became of the requests on it."""

    port: int
    sku: str
    spent_s: list[float] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    retries: list[str] = field(default_factory=list)
    is_over: bool = False

    def request(self, sku: str) -> bytes:
        """Return the bytes of a reserve."""
        body = json.dumps({"site": "LON", "sku": sku, "quantity": 1}).encode()
        return (
            "POST /v1/reservations HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    async def run(self) -> None:
        """Reserve again and again."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        while not self.is_over:
            began_s = time.monotonic()
            writer.write(self.request(self.sku))
            status, headers = await answer(reader)
            self.spent_s.append(time.monotonic() - began_s)
            self.statuses.append(status)
            if status == 429:
                self.retries.append(headers.get("retry-after", ""))
                await asyncio.sleep(0.1)  # Sooner than it was told to.
        writer.close()


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Read a response; return its status and headers."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
    await reader.readexactly(int(headers["content-length"]))
    return int(lines[0].split()[1]), headers


@pytest.fixture
async def proxy(postgres_url: str) -> AsyncIterator[Proxy]:
    """The slow way to the run's Postgres; it is there until hosts have stopped."""
    async with Proxy.to(postgres_url) as made:
        yield made


@pytest.fixture
async def port(proxy: Proxy, build: Build, postgres_url: str) -> AsyncIterator[int]:
    """Return the port of an API in front of a host of even partitions, and one of odd ones by the proxy."""
    quick, slow = await build("quick"), await build("slow", proxy.url)
    await quick.take([n for n in range(PARTITIONS) if n % 2 == 0])
    await slow.take([n for n in range(PARTITIONS) if n % 2 == 1])
    sessions = Sessions(postgres_url, "api")
    gateway = LaneGateway(
        PostgresDirectory(sessions), TOKEN, PARTITIONS, pending_max=_PENDING_MAX, heeds_hosts=True
    )
    front = create_app(
        gateway,
        SpanningReservations(gateway, tentative_ttl_s=5.0),
        PostgresLedger(sessions),
        MemoryReadModel(MemoryDatabase(PARTITIONS)),
        ApiOptions(tokens=("t",)),
        room=gateway.room,
    )
    number, ready = free_port(), asyncio.Event()
    server = Server(front, ServerOptions(port=number), ready.set)
    serving = asyncio.create_task(server.listen())
    await ready.wait()
    yield number
    server.should_exit = True
    await serving
    await gateway.close()
    await sessions.close()


def _sku(of: int) -> str:
    """Return a SKU of an even or an odd partition."""
    return next(f"SKU-{n}" for n in range(100) if partition_of("LON", f"SKU-{n}", PARTITIONS) % 2 == of)


async def _received(port: int, *skus: str) -> None:
    """Put stock there."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for sku in skus:
        body = json.dumps({"site": "LON", "sku": sku, "location": "A", "quantity": 1_000_000})
        writer.write(
            "POST /v1/stock/receive HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        assert (await answer(reader))[0] == 201
    writer.close()


async def _until_answered(callers: list[Caller], count: int) -> None:
    await until(lambda: sum(len(caller.spent_s) for caller in callers) >= count, deadline_s=60)


def _of(callers: list[Caller], name: str) -> list[Any]:
    return sorted(value for caller in callers for value in getattr(caller, name))


async def test_callers_of_a_slow_host_wait_or_are_refused_and_the_others_notice_nothing(
    proxy: Proxy, port: int
) -> None:
    await _received(port, _sku(0), _sku(1))
    alone = [Caller(port, _sku(0)) for _ in range(_QUICK_CALLERS)]
    running = [asyncio.create_task(caller.run()) for caller in alone]
    await _until_answered(alone, _ALONE)
    proxy.delay_s = _SLOW_S
    slow = [Caller(port, _sku(1)) for _ in range(_SLOW_CALLERS)]
    running += [asyncio.create_task(caller.run()) for caller in slow]
    await _until_answered(slow, 2 * _SLOW_CALLERS)  # They take all room that they can.
    for caller in alone:
        caller.is_over = True
    together = [Caller(port, _sku(0)) for _ in range(_QUICK_CALLERS)]
    running += [asyncio.create_task(caller.run()) for caller in together]
    await _until_answered(together, _TOGETHER)
    for caller in slow + together:
        caller.is_over = True
    await asyncio.gather(*running)
    proxy.delay_s = 0.0

    before, quick = _of(alone, "spent_s")[:_ALONE], _of(together, "spent_s")
    late = sorted(
        spent_s
        for caller in slow
        for spent_s, status in zip(caller.spent_s, caller.statuses, strict=True)
        if status == 201
    )
    median, p99 = quick[len(quick) // 2], quick[int(len(quick) * 0.99)]
    print(
        f"quick: alone {before[len(before) // 2] * 1000:.1f} ms, together {median * 1000:.1f} ms,"
        f" p99 {p99 * 1000:.0f} ms; slow: {len(late)} at least {late[0] * 1000:.0f} ms"
    )
    assert set(_of(together, "statuses")) == {201}  # There was room for each of them.
    assert median < 5 * before[len(before) // 2] + 0.02
    assert median < _SLOW_S / 2
    assert p99 < late[len(late) // 2]
    assert set(_of(slow, "statuses")) == {201, 429}
    assert late[0] >= _SLOW_S
    assert set(_of(slow, "retries")) == {"1"}


async def test_what_comes_behind_a_slow_request_on_its_connection_waits_and_on_another_does_not(
    proxy: Proxy, port: int
) -> None:
    await _received(port, _sku(0), _sku(1))
    proxy.delay_s = _SLOW_S
    caller = Caller(port, _sku(0))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(caller.request(_sku(1)) + caller.request(_sku(0)) * 3)
    ended: list[str] = []

    async def behind() -> None:
        for _ in range(4):
            assert (await answer(reader))[0] == 201
            ended.append("behind")

    async def beside() -> None:
        other_reader, other = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(3):
            other.write(caller.request(_sku(0)))
            assert (await answer(other_reader))[0] == 201
            ended.append("beside")
        other.close()

    async with asyncio.timeout(30):
        await asyncio.gather(behind(), beside())
    proxy.delay_s = 0.0
    assert ended[0] == "beside"
    assert ended[-1] == "behind"
    writer.close()

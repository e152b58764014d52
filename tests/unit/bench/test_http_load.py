"""The lean client against a server that answers as servers may: in pieces, with errors, or not at all."""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from itertools import cycle, islice

import pytest

from bench.http_load import HttpLoad
from bench.workloads import Workload

WORKLOAD = Workload("spread", 20)
Answer = Callable[[asyncio.StreamWriter, bytes], None]


@contextlib.asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[tuple[HttpLoad, list[bytes]]]:
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                requests.append(head + await reader.readexactly(length))
                answer(writer, requests[-1])
                await writer.drain()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield HttpLoad("127.0.0.1", port, "secret", "/v1/reservations"), requests


def respond(status: str, body: bytes = b"{}") -> Answer:
    def answer(writer: asyncio.StreamWriter, _: bytes) -> None:
        writer.write(
            b"HTTP/1.1 %b\r\nserver: x\r\ncontent-length: %d\r\n\r\n%b" % (status.encode(), len(body), body)
        )

    return answer


async def test_requests_are_whole_and_each_has_a_key_of_its_own() -> None:
    async with server(respond("201 Created")) as (load, requests):
        told = await load.closed(WORKLOAD, 1, in_flight=4, warm_s=0.01, seconds=0.1)
    assert sum(told["acknowledged"].values()) == len(requests)
    keys = {request.partition(b"Idempotency-Key: ")[2].partition(b"\r\n")[0] for request in requests}
    assert len(keys) == len(requests)
    for request in requests:
        assert request.startswith(b"POST /v1/reservations HTTP/1.1\r\n")
        assert b"\r\nAuthorization: Bearer secret\r\n" in request
        body = request.partition(b"\r\n\r\n")[2]
        assert body.startswith(b'{"site":"spread","sku":"SKU-00000')
        assert body.endswith(b'","quantity":1}')


async def test_a_response_may_come_in_pieces() -> None:
    def answer(writer: asyncio.StreamWriter, _: bytes) -> None:
        whole = b"HTTP/1.1 201 Created\r\ncontent-length: 6\r\n\r\nabcdef"
        for index in range(len(whole)):
            asyncio.get_running_loop().call_later(index * 0.0002, writer.write, whole[index : index + 1])

    async with server(answer) as (load, requests):
        told = await load.closed(WORKLOAD, 1, in_flight=2, warm_s=0.01, seconds=0.1)
    assert sum(told["acknowledged"].values()) == len(requests) > 0


async def test_refusals_and_overload_are_counted_and_reserve_nothing() -> None:
    async with server(respond("503 Service Unavailable")) as (load, requests):
        told = await load.closed(WORKLOAD, 1, in_flight=2, warm_s=0.0, seconds=0.05)
    assert told["unavailable"] == len(requests)
    assert not told["acknowledged"]
    async with server(respond("409 Conflict")) as (load, requests):
        told = await load.closed(WORKLOAD, 1, in_flight=2, warm_s=0.0, seconds=0.05)
    assert told["refused"] == len(requests)


async def test_an_error_ends_the_load() -> None:
    async with server(respond("500 Internal Server Error", b"boom")) as (load, _):
        with pytest.raises(ConnectionError, match="boom"):
            await load.closed(WORKLOAD, 1, in_flight=2, warm_s=0.0, seconds=0.05)


async def test_a_connection_that_closes_under_way_ends_the_load() -> None:
    async with server(lambda writer, _: writer.close()) as (load, _):
        with pytest.raises(ConnectionError, match="closed a connection"):
            await load.closed(WORKLOAD, 1, in_flight=2, warm_s=0.0, seconds=0.05)


async def test_an_order_has_its_lines_and_each_bin_is_acknowledged() -> None:
    workload = Workload("orders", 20, lines_min=2, lines_max=4)
    async with server(respond("201 Created")) as (load, requests):
        told = await load.closed(workload, 1, in_flight=3, warm_s=0.01, seconds=0.1)
    bodies = [json.loads(request.partition(b"\r\n\r\n")[2]) for request in requests]
    orders = [tuple(int(line["sku"].removeprefix("SKU-")) for line in body["lines"]) for body in bodies]
    assert sorted(orders) == sorted(islice(cycle(workload.orders(1)), len(orders)))
    assert {len(order) for order in orders} == {2, 3, 4}
    for body in bodies:
        assert body.keys() == {"lines"}
        for line in body["lines"]:
            assert line == {"site": "orders", "sku": line["sku"], "quantity": 1}
    assert told["acknowledged"] == Counter(index for order in orders for index in order)

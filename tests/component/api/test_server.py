"""The server itself: real sockets, and an orderly end."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from api.server import listening_socket
from tests.component.api.served import BODY, HEADERS, served
from tests.component.api.world import TOKEN, World


async def test_it_serves_over_real_sockets(world: World) -> None:
    await world.stocked(5)
    async with served(world) as (_, url, _), httpx.AsyncClient(base_url=url, headers=HEADERS) as client:
        reply = await client.post("/v1/reservations", json=BODY)
        assert reply.status_code == 201
        assert "server" not in reply.headers
        await world.stocked(1, sku="a/b c")
        assert (await client.get("/v1/stock/berlin/a%2Fb%20c")).json()["sku"] == "a/b c"
        head = await client.head("/v1/stock/berlin/apple")
        assert (head.status_code, head.content) == (200, b"")

        async def chunks() -> AsyncIterator[bytes]:
            for part in (b'{"site":"berlin",', b'"sku":"apple",', b'"quantity":1}'):
                yield part

        assert (await client.post("/v1/reservations", content=chunks())).status_code == 201


@pytest.mark.parametrize("begun", [b"", b'{"site":'])
async def test_a_body_that_never_ends_is_not_waited_for(begun: bytes) -> None:
    world = World(body_s_max=0.05)
    async with served(world) as (server, _, _):
        port = server.servers[0].sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST /v1/reservations HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
        writer.write(head.encode() + b"Content-Length: 50\r\n\r\n" + begun)
        answered = await asyncio.wait_for(reader.read(), 5)
        writer.close()
    assert answered.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"body_timeout"' in answered
    assert b'"limit_s":0.05' in answered


async def test_when_told_to_stop_it_answers_what_is_under_way_and_refuses_what_is_new(world: World) -> None:
    await world.stocked(5)
    world.gateway.gate = asyncio.Event()
    world.gateway.arrived.clear()
    async with (
        served(world) as (server, url, serving),
        httpx.AsyncClient(base_url=url, headers=HEADERS) as client,
    ):
        under_way = asyncio.create_task(client.post("/v1/reservations", json=BODY))
        await world.gateway.arrived.wait()
        server.handle_exit(15, None)
        late = await client.post("/v1/reservations", json=BODY)
        assert (late.status_code, late.json()["code"]) == (503, "stopping")
        assert late.headers["retry-after"] == "1"
        assert late.headers["connection"] == "close"
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/healthz")).status_code == 200
        assert not under_way.done()
        world.gateway.gate.set()
        assert (await under_way).status_code == 201
        await asyncio.wait_for(serving, 5)
        with pytest.raises(httpx.TransportError):
            await client.get("/healthz")
    assert world.balance() == [(5, 1, 0)]


async def test_it_does_not_wait_for_ever_and_names_the_unknown(world: World) -> None:
    await world.stocked(5)
    world.gateway.gate = asyncio.Event()
    world.gateway.arrived.clear()
    async with (
        served(world, grace_s=0.2) as (server, url, serving),
        httpx.AsyncClient(base_url=url) as client,
    ):
        under_way = asyncio.create_task(client.post("/v1/reservations", json=BODY, headers=HEADERS))
        await world.gateway.arrived.wait()
        server.handle_exit(15, None)
        await asyncio.wait_for(serving, 8)
        reply = await under_way
        assert (reply.status_code, reply.json()["code"]) == (504, "outcome_unknown")


async def test_a_port_in_use_is_an_error_before_anything_is_served() -> None:
    with listening_socket("127.0.0.1", 0) as taken, pytest.raises(OSError, match="in use"):
        listening_socket("127.0.0.1", taken.getsockname()[1])

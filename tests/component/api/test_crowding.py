"""Too many requests at once: the rest is refused early, cheaply and in the usual form, and had no effect."""

import asyncio
import contextlib
import json
import socket

import httpx
import msgspec
import pytest

from api import crowding, protocol
from api.crowding import Whole, whole_request
from api.server import Server
from engine.partitioning import partition_of
from tests.component.actors.world import until
from tests.component.api.served import BODY, HEADERS, served
from tests.component.api.world import PARTITIONS, World

REQUEST = (
    b"POST /v1/reservations?x=1 HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k-1\r\nContent-Length: 2\r\n\r\n{}"
)


def test_a_usual_request_is_understood_as_far_as_a_refusal_needs() -> None:
    assert whole_request(REQUEST) == Whole(b"/v1/reservations", {b"idempotency-key": b"k-1"}, False, b"{}")


@pytest.mark.parametrize("header", [b"Connection: keep-alive", b"connection:Keep-Alive "])
def test_a_connection_that_is_to_be_kept_is_usual(header: bytes) -> None:
    assert whole_request(REQUEST.replace(b"Host: a", header)) is not None


@pytest.mark.parametrize(
    "data",
    [
        REQUEST[:-1],
        REQUEST + b"x",
        REQUEST + REQUEST,
        REQUEST[10:],
        b"",
        REQUEST.replace(b"Content-Length: 2", b"Transfer-Encoding: chunked"),
        REQUEST.replace(b"Host: a", b"Connection: close"),
        REQUEST.replace(b"Host: a", b"Connection: keep-alive, close"),
        REQUEST.replace(b"Host: a", b"Connection: keep-alive\r\nConnection: close"),
        REQUEST.replace(b"Host: a", b"Expect: 100-continue"),
        REQUEST.replace(b"Host: a", b"Content-Length: 2"),
        REQUEST.replace(b"Host: a", b"Content-Length: 99999999999999999999"),
        REQUEST.replace(b"/v1/reservations", b"/healthz"),
        REQUEST.replace(b"/v1/reservations", b"/v1/status"),
        REQUEST.replace(b"HTTP/1.1", b"HTTP/1.0"),
        b"PUT" + REQUEST[4:],
    ],
)
def test_anything_unusual_is_left_to_the_server(data: bytes) -> None:
    assert whole_request(data) is None


async def test_what_does_not_fit_is_refused_in_the_usual_form_and_had_no_effect(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.stocked(1000)
    monkeypatch.setattr(crowding, "_TAKEN_MAX", 5)
    async with served(world) as (server, url, _):
        limits = httpx.Limits(max_connections=40)
        async with httpx.AsyncClient(base_url=url, headers=HEADERS, limits=limits) as client:
            answers = await _at_once(server, 40)
            refused = [answer for answer in answers if answer[0] == 429]
            accepted = [answer for answer in answers if answer[0] == 201]
            assert refused
            assert len(refused) + len(accepted) == 40
            for _, headers, body in refused:
                assert headers["retry-after"] == "1"
                assert headers["content-type"] == "application/problem+json"
                assert headers["x-request-id"] == headers["idempotency-key"]
                problem = json.loads(body)
                assert (problem["code"], problem["instance"]) == ("overloaded", "/v1/reservations")
            stock = (await client.get("/v1/stock/berlin/apple")).json()
            assert stock["reserved"] == len(accepted)
            text = (await client.get("/metrics")).text
            assert f'route="refused_early",status="429"}} {len(refused)}' in text
            # It is over when it is over.
            assert (await client.post("/v1/reservations", json=BODY)).status_code == 201


async def test_a_msgpack_caller_is_refused_in_msgpack(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.stocked(1000)
    monkeypatch.setattr(crowding, "_TAKEN_MAX", 1)
    async with served(world) as (server, _, _):
        answers = await _at_once(server, 30, "application/msgpack")
        _, headers, body = next(answer for answer in answers if answer[0] == 429)
        assert headers["content-type"] == "application/problem+msgpack"
        assert msgspec.msgpack.decode(body)["code"] == "overloaded"


async def test_a_connection_goes_on_after_a_refusal(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.stocked(1000)
    monkeypatch.setattr(crowding, "_TAKEN_MAX", 0)
    monkeypatch.setattr(crowding, "_TAKEN_MIN", 0)  # However slow a turn of the loop is.
    async with served(world) as (server, _, _):
        port = server.servers[0].sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(_request("one", "*/*"))
        assert (await _answer(reader))[0] == 429
        crowding_ = server.config.http_protocol_class.crowd  # type: ignore[union-attr]
        crowding_.taken_max = 100
        writer.write(_request("one", "*/*"))
        assert (await _answer(reader))[0] == 201
        writer.close()


async def test_a_caller_that_reads_no_refusals_is_cut_off(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crowding, "_TAKEN_MAX", 0)
    monkeypatch.setattr(crowding, "_TAKEN_MIN", 0)  # However slow a turn of the loop is.
    async with served(world) as (server, _, _):
        crowd, refused = server.config.http_protocol_class.crowd, 0  # type: ignore[union-attr]
        refusal = crowd.refusal

        def counted(request: Whole) -> bytes:
            nonlocal refused
            refused += 1
            return bytes(refusal(request))

        monkeypatch.setattr(crowd, "refusal", counted)
        server.servers[0].sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(_address(server))
            deaf.setblocking(False)
            await until(lambda: bool(server.server_state.connections))

            async def send(times: int) -> None:
                """Send requests one after the other: several in one piece are not refused early."""
                for _ in range(times):
                    before = refused
                    deaf.send(_request("one", "*/*"))
                    await until(lambda: refused != before or not server.server_state.connections)  # noqa: B023

            await send(100)
            with pytest.raises(ConnectionError):
                await send(2000)
        assert 100 <= refused < 1000


async def test_a_connection_that_was_only_refused_lives_on_and_what_follows_has_its_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.stocked(1000)
    monkeypatch.setattr(crowding, "_TAKEN_MAX", 0)
    monkeypatch.setattr(crowding, "_TAKEN_MIN", 0)  # However slow a turn of the loop is.
    monkeypatch.setattr(protocol, "HEAD_S_MAX", 0.2)
    async with served(world) as (server, _, _):
        loop = asyncio.get_running_loop()
        reader, writer = await asyncio.open_connection(*_address(server))
        began_s = loop.time()
        while loop.time() - began_s < 0.5:  # Longer than a connection without a request may last.
            writer.write(_request("one", "*/*"))
            assert (await _answer(reader))[0] == 429
        with pytest.raises(TimeoutError):  # Nor does it end at rest.
            async with asyncio.timeout(0.3):
                await reader.read(1)
        writer.write(_request("one", "*/*"))
        assert (await _answer(reader))[0] == 429
        writer.write(_request("one", "*/*")[:30])  # A head that never ends.
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        writer.close()


async def test_a_connection_that_was_refused_ends_at_rest_as_any_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crowding, "_TAKEN_MAX", 0)
    monkeypatch.setattr(crowding, "_TAKEN_MIN", 0)  # However slow a turn of the loop is.
    async with served(world) as (server, _, _):
        server.config.timeout_keep_alive = 0
        reader, writer = await asyncio.open_connection(*_address(server))
        writer.write(_request("one", "*/*"))
        assert (await _answer(reader))[0] == 429
        async with asyncio.timeout(5):  # Less than a connection without a request may last.
            assert await reader.read() == b""
        writer.close()


def test_long_turns_of_the_loop_make_less_room_and_short_ones_more(world: World) -> None:
    crowd = crowding.Crowd(world.app.edge)
    crowd.adjust(taken=5000, spent_s=1.0)
    assert crowd.taken_max == 500
    crowd.adjust(taken=100, spent_s=10.0)
    assert crowd.taken_max == 256
    for _ in range(100):
        crowd.adjust(taken=10, spent_s=0.05)
    assert crowd.taken_max == 8192


class FullFor:
    """Room for all but one partition."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.is_full = True

    def is_short(self, besides: int = 0) -> bool:  # noqa: ARG002 - what is as good as sent
        """See `Room.is_short`."""
        return self.is_full

    def has_room(self, partition: int, besides: int = 0) -> bool:  # noqa: ARG002 - what is as good as sent
        """See `Room.has_room`."""
        return not self.is_full or partition != self.partition


async def test_what_a_full_host_would_refuse_is_refused_early_and_nothing_else(world: World) -> None:
    await world.stocked(1000)
    room = world.app.room = FullFor(partition_of("berlin", "apple", PARTITIONS))
    async with served(world) as (server, url, _):
        asked_before = len(world.gateway.first)
        answers = await _at_once(server, 5)
        assert {status for status, _, _ in answers} == {429}
        assert {headers["retry-after"] for _, headers, _ in answers} == {"1"}
        assert len(world.gateway.first) == asked_before  # Nobody asked the host.
        async with httpx.AsyncClient(base_url=url, headers=HEADERS) as client:
            stock = "/v1/stock/berlin/apple"
            assert (await client.get(stock)).status_code == 429
            assert (await client.get(stock, headers={"Connection": "close"})).status_code == 200  # Unusual.
            sku = next(
                f"SKU-{n}"
                for n in range(99)
                if partition_of("berlin", f"SKU-{n}", PARTITIONS) != room.partition
            )
            received = {"site": "berlin", "sku": sku, "location": "A", "quantity": 5}
            elsewhere = await _posted(server, "/v1/stock/receive", received)
            assert elsewhere[0] == 201
            both = {"lines": [{**BODY, "sku": sku}, BODY]}
            assert (await _posted(server, "/v1/reservations", both))[0] == 429
            assert (await _posted(server, "/v1/reservations", {"site": "berlin"}))[0] == 422
            text = (await client.get("/metrics")).text
            assert 'route="refused_early",status="429"} 7' in text
            room.is_full = False
            assert (await _posted(server, "/v1/reservations", both))[0] == 201


def _address(server: object) -> tuple[str, int]:
    return "127.0.0.1", server.servers[0].sockets[0].getsockname()[1]  # type: ignore[attr-defined]


def _request(key: str, accept: str) -> bytes:
    body = json.dumps(BODY).encode()
    return (
        f"POST /v1/reservations HTTP/1.1\r\nHost: x\r\nAuthorization: {HEADERS['Authorization']}\r\n"
        f"Content-Type: application/json\r\nAccept: {accept}\r\nIdempotency-Key: {key}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


async def _posted(server: Server, path: str, body: object) -> tuple[int, dict[str, str], bytes]:
    """Post by a connection of its own."""
    reader, writer = await asyncio.open_connection(*_address(server))
    data = json.dumps(body).encode()
    writer.write(
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {HEADERS['Authorization']}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n".encode()
        + data
    )
    answer = await _answer(reader)
    writer.close()
    return answer


async def _answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
    return int(lines[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


async def _at_once(
    server: Server, count: int, accept: str = "*/*"
) -> list[tuple[int, dict[str, str], bytes]]:
    """Send requests together, each by a connection of its own; return their answers."""
    opened = [await asyncio.open_connection(*_address(server)) for _ in range(count)]
    await until(lambda: len(server.server_state.connections) >= count)
    for number, (_, writer) in enumerate(opened):
        writer.write(_request(f"key-{number}", accept))
    answers = [await _answer(reader) for reader, _ in opened]
    for _, writer in opened:
        writer.close()
    return answers

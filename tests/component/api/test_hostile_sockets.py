"""What comes before a request, behind it, or instead of one: told by a problem, or cut off."""

import asyncio
import json
import tracemalloc

import pytest

from api.protocol import HEAD_BYTES_MAX
from tests.component.api.served import served
from tests.component.api.world import TOKEN, World

BODY = json.dumps({"site": "berlin", "sku": "apple", "location": "A-1", "quantity": 1}).encode()
RECEIVE = (
    f"POST /v1/stock/receive HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
    f"Content-Length: {len(BODY)}\r\n\r\n"
).encode() + BODY


async def _told(world: World, *sent: bytes) -> bytes:
    """Return everything that the server says until it closes the connection."""
    async with served(world) as (server, _, _), asyncio.timeout(10):
        port = server.servers[0].sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for part in sent:
            writer.write(part)
            await asyncio.sleep(0)
        try:
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.transport.abort()


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01\x02\x00\x01", b"HELLO\r\n\r\n", b"GET / HTTP/1.1\r\nHo st: x\r\n\r\n"]
)
async def test_what_is_not_http_is_told_so_by_a_problem(world: World, sent: bytes) -> None:
    told = await _told(world, sent)
    assert told.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/problem+json\r\n" in told
    assert json.loads(told.partition(b"\r\n\r\n")[2])["code"] == "malformed_request"


@pytest.mark.parametrize("is_whole", [True, False])
@pytest.mark.parametrize("size", [HEAD_BYTES_MAX, 20 * HEAD_BYTES_MAX])
async def test_a_head_that_is_too_large_is_refused(world: World, size: int, *, is_whole: bool) -> None:
    end = b"\r\n\r\n" if is_whole else b"x" * HEAD_BYTES_MAX
    told = await _told(world, b"GET /healthz HTTP/1.1\r\nX: ", b"x" * size, end)
    assert told.startswith(b"HTTP/1.1 431 ") or not told  # What was not read may reset the connection.
    if told:
        assert json.loads(told.partition(b"\r\n\r\n")[2])["code"] == "head_too_large"


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTT", b"GET /healthz HTTP/1.1\r\nX: x\r\n", b"\r\n"])
async def test_a_head_that_does_not_come_is_not_waited_for(
    world: World, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.protocol.HEAD_S_MAX", 0.05)
    assert await _told(world, sent) == b""


async def test_a_body_without_end_behind_an_early_answer_is_cut(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.protocol.HEAD_S_MAX", 0.05)
    async with served(world) as (server, _, _), asyncio.timeout(10):
        port = server.servers[0].sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(RECEIVE.replace(TOKEN.encode(), b"wrong").replace(b"Length: ", b"Length: 9"))
        assert (await reader.readline()).startswith(b"HTTP/1.1 401 ")
        writer.write(b"x")
        assert b"token_invalid" in await reader.read()
        writer.transport.abort()


async def test_garbage_behind_a_request_under_way_is_not_answered_in_its_place(world: World) -> None:
    """A 400 would say that nothing happened, and the request before the garbage does happen."""
    world.gateway.gate = asyncio.Event()
    gate = world.gateway.gate

    async def open_gate() -> None:
        """Let the request happen; it and the garbage came in one piece."""
        await world.gateway.arrived.wait()
        gate.set()

    opening = asyncio.create_task(open_gate())
    assert await _told(world, RECEIVE + b"garbage\r\n\r\n") == b""
    await opening
    assert world.balance() == [(1, 0, 0)]


async def test_a_body_that_breaks_off_its_chunks_is_refused_and_changes_nothing(world: World) -> None:
    head = RECEIVE.partition(b"\r\n\r\n")[0].replace(b"Content-Length", b"Transfer-Encoding: chunked\r\nX")
    told = await _told(world, head + b"\r\n\r\n" + b"zz\r\n" + BODY)
    assert told.startswith(b"HTTP/1.1 400 ")
    assert world.balance() == []


async def test_a_wrong_method_needs_no_token_where_none_is_asked_for(world: World) -> None:
    for path in ("/healthz", "/readyz"):
        assert (await world.ask("TRACE", path, token=None)).status == 405
    assert (await world.ask("TRACE", "/v1/stock", token=None)).status == 401


async def test_a_batch_of_millions_in_messagepack_is_refused_by_its_number(world: World) -> None:
    body = b"\x81\xaaoperations\xdd" + (7_000_000).to_bytes(4, "big") + b"\x00" * 7_000_000
    reply = await world.post("/v1/batch", raw=body, headers={"content-type": "application/msgpack"})
    assert (reply.status, reply.code) == (422, "batch_too_large")


async def test_a_list_of_millions_in_messagepack_takes_no_memory_to_refuse(world: World) -> None:
    body = b"\x81\xa5lines\xdd" + (7_000_000).to_bytes(4, "big") + b"\x80" * 7_000_000
    tracemalloc.start()
    try:
        reply = await world.post(
            "/v1/reservations", raw=body, headers={"content-type": "application/msgpack"}
        )
        assert (reply.status, reply.code) == (422, "invalid_value")
        assert tracemalloc.get_traced_memory()[1] < 30_000_000
    finally:
        tracemalloc.stop()


async def test_requests_behind_one_another_are_all_answered_and_few_of_them_read_ahead(world: World) -> None:
    one = f"GET /v1/status HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
    piece_max = 256 * 1024 // len(one) + 1
    """Requests in one piece of data, the most that the loop hands over."""
    count = 3 * piece_max
    async with served(world) as (server, _, _), asyncio.timeout(60):
        port = server.servers[0].sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(one * count)
        answered = most = 0
        while answered < count:
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
            answered += 1
            (connection,) = server.server_state.connections
            most = max(most, len(connection.pipeline))  # type: ignore[union-attr]
        writer.close()
    assert 0 < most <= piece_max

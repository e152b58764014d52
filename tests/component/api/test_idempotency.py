"""Once per key, over HTTP."""

import pytest

from tests.component.api.world import World

LINE = {"site": "berlin", "sku": "apple", "quantity": 1}


async def test_a_repeat_is_answered_as_the_first_time(world: World) -> None:
    await world.stocked(5)
    first = await world.post("/v1/reservations", LINE, headers={"Idempotency-Key": "k1"})
    assert "idempotent-replayed" not in first.headers
    again = await world.post("/v1/reservations", LINE, headers={"Idempotency-Key": "k1"})
    assert (again.status, again.body) == (first.status, first.body)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["idempotency-key"] == "k1"
    assert world.balance() == [(5, 1, 0)]


async def test_a_repeat_of_a_refusal_is_refused_again_and_says_so(world: World) -> None:
    await world.stocked(1)
    body = {**LINE, "quantity": 2}
    first = await world.post("/v1/reservations", body, headers={"Idempotency-Key": "k1"})
    assert "idempotent-replayed" not in first.headers
    await world.stocked(5)
    again = await world.post("/v1/reservations", body, headers={"Idempotency-Key": "k1"})
    assert (again.status, again.code, again.body) == (409, "insufficient_stock", first.body)
    assert again.headers["idempotent-replayed"] == "true"
    batch = {"operations": [{"op": "reserve", "key": "k1", **body}]}
    result = (await world.post("/v1/batch", batch)).body["results"][0]
    assert (result["code"], result["replayed"]) == ("insufficient_stock", True)


async def test_a_key_is_quoted_or_bare(world: World) -> None:
    await world.stocked(5)
    keys = ["k1", '"k1"', '"k\\"2"', 'k"2']
    replies = [await world.post("/v1/reservations", LINE, headers={"Idempotency-Key": key}) for key in keys]
    assert [reply.headers["idempotency-key"] for reply in replies] == ["k1", "k1", 'k"2', 'k"2']
    assert world.balance() == [(5, 2, 0)]


@pytest.mark.parametrize("key", ['"', '"abc', 'abc"', '"a"b"', "\\", "x" * 64, '"' + "x" * 63])
async def test_what_is_no_whole_quoted_string_is_the_key_itself(world: World, key: str) -> None:
    await world.stocked(5)
    reply = await world.post("/v1/reservations", LINE, headers={"Idempotency-Key": key})
    assert (reply.status, reply.headers["idempotency-key"]) == (201, key)


async def test_a_key_is_made_when_there_is_none_and_can_be_sent_again(world: World) -> None:
    await world.stocked(5)
    first = await world.post("/v1/reservations", LINE)
    other = await world.post("/v1/reservations", LINE)
    key = first.headers["idempotency-key"]
    assert 1 <= len(key) <= 64
    assert key != other.headers["idempotency-key"]
    again = await world.post("/v1/reservations", LINE, headers={"Idempotency-Key": key})
    assert again.body == first.body
    assert world.balance() == [(5, 2, 0)]


async def test_a_key_with_another_body_is_refused(world: World) -> None:
    await world.stocked(5)
    await world.post("/v1/reservations", LINE, headers={"Idempotency-Key": "k1"})
    other = await world.post("/v1/reservations", {**LINE, "quantity": 2}, headers={"Idempotency-Key": "k1"})
    assert (other.status, other.code) == (422, "idempotency_key_reused")
    assert other.headers["idempotency-key"] == "k1"
    assert world.balance() == [(5, 1, 0)]


async def test_the_same_reservation_written_flat_or_as_a_line_is_the_same(world: World) -> None:
    await world.stocked(5)
    await world.post("/v1/reservations", LINE, headers={"Idempotency-Key": "k1"})
    again = await world.post("/v1/reservations", {"lines": [LINE]}, headers={"Idempotency-Key": "k1"})
    assert again.headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize("sent, wanted", [("abc", "abc"), ("x" * 200, None), (None, None)])
async def test_a_request_has_an_id_in_and_out(world: World, sent: str | None, wanted: str | None) -> None:
    for path in ("/healthz", "/v1/stock", "/nowhere"):
        reply = await world.get(path, headers={"X-Request-Id": sent} if sent else {})
        assert reply.headers["x-request-id"] == wanted or (
            wanted is None and reply.headers["x-request-id"] != sent
        )


async def test_each_answer_has_one_request_id(world: World) -> None:
    ids = {(await world.get("/healthz")).headers["x-request-id"] for _ in range(10)}
    assert len(ids) == 10

"""JSON and MessagePack, both ways, on hot and other routes."""

import msgspec
import pytest

from tests.component.api.world import World

LINE = {"site": "berlin", "sku": "apple", "quantity": 1}
MSGPACK = "application/msgpack"


async def test_every_route_speaks_messagepack_both_ways(world: World) -> None:
    both = {"content-type": MSGPACK, "accept": MSGPACK}
    received = await world.post(
        "/v1/stock/receive", {**LINE, "location": "A-1", "expires_on": "2027-05-31"}, headers=both
    )
    assert (received.status, received.headers["content-type"]) == (201, MSGPACK)
    made = await world.post("/v1/reservations", LINE, headers=both)
    assert (made.status, msgspec.msgpack.decode(made.raw)["state"]) == (201, "held")
    read = await world.get(f"/v1/reservations/{made.body['id']}", headers={"accept": MSGPACK})
    assert (read.headers["content-type"], read.body["id"]) == (MSGPACK, made.body["id"])
    picked = await world.post(f"/v1/reservations/{made.body['id']}/pick", {}, headers=both)
    assert (picked.status, picked.body["state"]) == (200, "picked")


@pytest.mark.parametrize(
    "sent, accept, wanted",
    [
        ("application/json", None, "application/json"),
        ("application/json", "*/*", "application/json"),
        ("application/json", MSGPACK, MSGPACK),
        ("application/json; charset=utf-8", "application/json;q=0.2, application/msgpack", MSGPACK),
        (MSGPACK, None, MSGPACK),
        (MSGPACK, "*/*", MSGPACK),
        (MSGPACK, "application/json", "application/json"),
        ("application/x-msgpack", "application/json, application/msgpack;q=0.9", "application/json"),
        ("APPLICATION/JSON", "application/*", "application/json"),
    ],
)
async def test_the_answer_is_what_accept_asks_for_else_like_the_body(
    world: World, sent: str, accept: str | None, wanted: str
) -> None:
    await world.stocked(5)
    headers = {"content-type": sent} | ({"accept": accept} if accept else {})
    reply = await world.post("/v1/reservations", LINE, headers=headers)
    assert (reply.status, reply.headers["content-type"]) == (201, wanted)


@pytest.mark.parametrize(
    "headers, wanted",
    [
        ({}, "application/problem+json"),
        ({"content-type": MSGPACK}, "application/problem+msgpack"),
        ({"accept": MSGPACK}, "application/problem+msgpack"),
        ({"content-type": MSGPACK, "accept": "application/json"}, "application/problem+json"),
        ({"content-type": MSGPACK, "accept": "image/*"}, "application/problem+msgpack"),
        ({"content-type": "text/plain"}, "application/problem+json"),
        ({"content-type": "text/plain", "accept": MSGPACK}, "application/problem+msgpack"),
    ],
)
async def test_a_problem_is_written_by_the_same_rule_as_an_answer(
    world: World, headers: dict[str, str], wanted: str
) -> None:
    for token in ("secret", "wrong"):
        reply = await world.post("/v1/reservations", LINE, headers=headers, token=token)
        assert (reply.status >= 400, reply.headers["content-type"]) == (True, wanted)
        assert reply.body["status"] == reply.status


async def test_a_body_without_a_content_type_is_json(world: World) -> None:
    await world.stocked(5)
    reply = await world.post("/v1/reservations", raw=msgspec.json.encode(LINE))
    assert (reply.status, reply.headers["content-type"]) == (201, "application/json")
    assert int(reply.headers["content-length"]) == len(reply.raw)

"""Reservations over HTTP, from reserve to pick."""

import asyncio

import pytest

from tests.component.api.world import World, skus_apart, unknown_id

LINE = {"site": "berlin", "sku": "apple", "quantity": 3}


async def test_a_reservation_is_made_read_picked_and_then_resolved(world: World) -> None:
    await world.stocked(10)
    made = await world.post("/v1/reservations", {**LINE, "ttl_s": 60, "reference": "order 1"})
    assert made.status == 201
    assert made.body["state"] == "held"
    assert made.body["reference"] == "order 1"
    assert made.body["expires_at"] == "2025-06-15T15:07:40.000Z"
    assert made.body["lines"][0]["allocations"] == [
        {"location": "A-1", "lot": None, "quantity": 3, "open": 3}
    ]
    id_ = made.body["id"]
    assert (await world.get(f"/v1/reservations/{id_}")).body == made.body

    part = await world.post(f"/v1/reservations/{id_}/pick", {"quantity": 1})
    assert (part.status, part.body["state"], part.body["lines"][0]["picked"]) == (200, "part_picked", 1)
    rest = await world.post(f"/v1/reservations/{id_}/pick")
    assert (rest.status, rest.body["state"], rest.body["lines"][0]["picked"]) == (200, "picked", 3)

    again = await world.post(f"/v1/reservations/{id_}/release", {})
    assert (again.status, again.code, again.body["state"]) == (409, "reservation_resolved", "picked")
    assert again.body["detail"] == "The reservation was picked."
    assert world.balance() == [(7, 0, 0)]


async def test_a_short_reservation_is_refused_with_what_there_is(world: World) -> None:
    await world.stocked(2)
    reply = await world.post("/v1/reservations", LINE)
    assert (reply.status, reply.code) == (409, "insufficient_stock")
    assert (reply.body["requested"], reply.body["available"], reply.body["line"]) == (3, 2, 0)
    assert reply.body["type"] == "urn:binkeeper:problem:insufficient_stock"
    assert reply.body["instance"] == "/v1/reservations"
    assert reply.headers["content-type"] == "application/problem+json"

    partial = await world.post("/v1/reservations", {**LINE, "partial": True})
    assert (partial.status, partial.body["lines"][0]["quantity"]) == (201, 2)


async def test_lines_in_several_partitions_are_reserved_all_or_none(world: World) -> None:
    pear, plum = skus_apart()
    await world.stocked(5, sku=pear)
    await world.stocked(1, sku=plum)
    lines = [{**LINE, "sku": pear, "quantity": 2}, {**LINE, "sku": plum, "quantity": 2}]
    short = await world.post("/v1/reservations", {"lines": lines})
    assert (short.status, short.code, short.body["line"]) == (409, "insufficient_stock", 1)
    assert world.balance() == [(5, 0, 0), (1, 0, 0)] or world.balance() == [(1, 0, 0), (5, 0, 0)]

    lines[1]["quantity"] = 1
    made = await world.post(
        "/v1/reservations", {"lines": lines, "ttl_s": 60}, headers={"Idempotency-Key": "k"}
    )
    assert made.status == 201
    assert [line["sku"] for line in made.body["lines"]] == [pear, plum]
    assert made.body.keys() == {"id", "state", "reference", "expires_at", "lines"}
    repeat = await world.post(
        "/v1/reservations", {"lines": lines, "ttl_s": 60}, headers={"Idempotency-Key": "k"}
    )
    assert (repeat.status, repeat.body["id"]) == (201, made.body["id"])
    assert repeat.headers["idempotent-replayed"] == "true"

    picked = await world.post(f"/v1/reservations/{made.body['id']}/pick", {})
    assert (picked.status, picked.body["state"]) == (200, "picked")


async def test_a_soft_reservation_is_extended_and_a_hard_one_is_not(world: World) -> None:
    await world.stocked(10)
    soft = await world.post("/v1/reservations", {**LINE, "ttl_s": 60})
    longer = await world.post(f"/v1/reservations/{soft.body['id']}/extend", {"ttl_s": 120})
    assert (longer.status, longer.body["expires_at"]) == (200, "2025-06-15T15:08:40.000Z")
    hard = await world.post("/v1/reservations", LINE)
    refused = await world.post(f"/v1/reservations/{hard.body['id']}/extend", {"ttl_s": 120})
    assert (refused.status, refused.code) == (409, "reservation_hard")


async def test_more_than_is_reserved_is_neither_picked_nor_released(world: World) -> None:
    await world.stocked(10)
    made = await world.post("/v1/reservations", LINE)
    path = f"/v1/reservations/{made.body['id']}"
    for verb in ("pick", "release"):
        reply = await world.post(f"{path}/{verb}", {"quantity": 4})
        assert (reply.status, reply.code, reply.body["reserved"]) == (409, "exceeds_reserved", 3)
    assert (await world.post(f"{path}/pick", {"quantity": 2})).status == 200
    reply = await world.post(f"{path}/release", {"quantity": 2})
    assert (reply.status, reply.code) == (409, "exceeds_reserved")
    other = await world.post(f"{path}/release", {"sku": "pear"})
    assert (other.status, other.code) == (409, "sku_not_reserved")


async def test_a_short_pick_holds_what_is_not_there(world: World) -> None:
    await world.stocked(10)
    made = await world.post("/v1/reservations", LINE)
    path = f"/v1/reservations/{made.body['id']}/pick"
    without = await world.post(path, {"short_reason": "gone"})
    assert (without.status, without.code) == (422, "missing_field")
    none = await world.post(path, {"quantity": 0})
    assert (none.status, none.body["errors"][0]["pointer"]) == (422, "/quantity")
    short = await world.post(path, {"quantity": 1, "short_reason": "gone"})
    assert (short.status, short.body["lines"][0]["short"]) == (200, 2)
    assert world.balance() == [(9, 0, 2)]


@pytest.mark.parametrize("id_", ["nonsense", "00000000-0000-0000-0000-000000000000", unknown_id(), "%20"])
async def test_an_unknown_reservation_is_not_found(world: World, id_: str) -> None:
    replies = [await world.get(f"/v1/reservations/{id_}")]
    for verb, body in (("pick", {}), ("release", {}), ("extend", {"ttl_s": 5})):
        replies.append(await world.post(f"/v1/reservations/{id_}/{verb}", body))
    assert {(reply.status, reply.code) for reply in replies} == {(404, "reservation_not_found")}


async def test_two_thousand_at_once_sell_five_hundred_units_once(world: World) -> None:
    await world.stocked(500)
    one = {**LINE, "quantity": 1}
    replies = await asyncio.gather(*(world.post("/v1/reservations", one) for _ in range(2000)))
    assert sorted({reply.status for reply in replies}) == [201, 409]
    assert sum(reply.status == 201 for reply in replies) == 500
    assert len({reply.body["id"] for reply in replies if reply.status == 201}) == 500
    assert world.balance() == [(500, 500, 0)]

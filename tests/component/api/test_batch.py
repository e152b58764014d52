"""Many operations in one request."""

from typing import Any

import msgspec
import pytest

from tests.component.api.world import World, skus_apart, unknown_id

BIN: dict[str, Any] = {"site": "berlin", "sku": "apple", "location": "A-1"}
LINE: dict[str, Any] = {"site": "berlin", "sku": "apple", "quantity": 1}


async def _run(world: World, operations: list[Any], **more: Any) -> list[dict[str, Any]]:
    reply = await world.post("/v1/batch", {"operations": operations}, **more)
    assert reply.status == 200, reply.body
    results: list[dict[str, Any]] = reply.body["results"]
    return results


async def test_every_operation_is_carried_out_in_order_with_its_own_outcome(world: World) -> None:
    results = await _run(
        world,
        [
            {"op": "reserve", **LINE},
            {"op": "receive", **BIN, "quantity": 5},
            {"op": "reserve", **LINE, "ttl_s": 60},
            {"op": "pick_stock", **LINE},
            {"op": "move", "site": "berlin", "sku": "apple", "from": "A-1", "to": "B-1", "quantity": 1},
            {"op": "adjust", **BIN, "delta": 2, "reason": "found"},
            {"op": "count", **BIN, "counted": 4},
            {"op": "hold", **BIN, "quantity": 1, "reason": "x"},
            {"op": "unhold", **BIN, "quantity": 2, "reason": "x"},
            {"op": "pick", "id": unknown_id()},
        ],
    )
    assert [(result["status"], result.get("code")) for result in results] == [
        (409, "insufficient_stock"), (201, None), (201, None), (200, None), (200, None), (200, None), (200,
        None),
        (200, None), (409, "exceeds_held"), (404, "reservation_not_found"),
    ]  # fmt: skip
    assert results[1]["on_hand"] == 5
    assert results[2]["state"] == "held"
    assert results[4]["to"]["location"] == "B-1"
    assert results[6]["variance"] == -1

    id_ = results[2]["id"]
    results = await _run(
        world,
        [
            {"op": "extend", "id": id_, "ttl_s": 90},
            {"op": "pick", "id": id_},
            {"op": "release", "id": id_.upper()},
        ],
    )
    assert [result.get("state") for result in results] == ["held", "picked", "picked"]
    assert results[2]["code"] == "reservation_resolved"


async def test_a_batch_comes_to_the_same_as_its_operations_one_by_one(world: World) -> None:
    pear, plum = skus_apart()
    operations: list[dict[str, Any]] = []
    for sku in (pear, plum):
        operations += [
            {"op": "receive", **BIN, "sku": sku, "quantity": 3},
            {"op": "reserve", **LINE, "sku": sku},
        ]
    spanning = [{**LINE, "sku": pear}, {**LINE, "sku": plum}]
    operations += [{"op": "reserve", "lines": spanning}] * 2
    operations += [{"op": "receive", **BIN, "sku": pear, "quantity": 1}, {"op": "reserve", "lines": spanning}]
    together = await _run(world, operations)
    alone = World()
    one_by_one = [(await _run(alone, [operation]))[0] for operation in operations]
    assert [result["status"] for result in together] == [result["status"] for result in one_by_one]
    assert [result["status"] for result in together] == [201, 201, 201, 201, 201, 201, 201, 409]
    assert world.balance() == alone.balance()


async def test_a_wrong_operation_touches_no_other(world: World) -> None:
    results = await _run(
        world,
        [
            {"op": "receive", **BIN, "quantity": 0},
            {"op": "receive", **BIN, "quantity": 2},
            {"op": "steal", **BIN},
            {"quantity": 3},
            7,
            {"op": "reserve", **LINE, "quantitty": 1},
            {"op": "reserve", **LINE, "key": "a b"},
            {"op": "pick"},
        ],
    )
    assert [(result["status"], result.get("code")) for result in results] == [
        (422, "invalid_value"), (201, None), (422, "invalid_value"), (422, "missing_field"), (422,
        "wrong_type"),
        (422, "unknown_field"), (422, "invalid_value"), (422, "missing_field"),
    ]  # fmt: skip
    pointers = [result["errors"][0]["pointer"] for result in results if "errors" in result]
    assert pointers == [
        "/operations/0/quantity", "/operations/2/op", "/operations/3/op", "/operations/4",
        "/operations/5/quantitty", "/operations/6/key", "/operations/7/id",
    ]  # fmt: skip
    assert world.balance() == [(2, 0, 0)]


@pytest.mark.parametrize("body", [{}, {"operations": 3}, {"operation": []}, []])
async def test_a_batch_that_is_none_is_refused_whole(world: World, body: Any) -> None:
    reply = await world.post("/v1/batch", body)
    assert reply.status == 422


async def test_a_batch_has_at_most_ten_thousand_operations(world: World) -> None:
    operation = {"op": "receive", **BIN, "quantity": 1}
    over = await world.post("/v1/batch", {"operations": [operation] * 10_001})
    assert (over.status, over.code, over.body["limit"]) == (422, "batch_too_large", 10_000)
    assert world.balance() == []
    most = await _run(world, [operation] * 10_000)
    assert [result["status"] for result in most] == [201] * 10_000
    assert world.balance() == [(10_000, 0, 0)]
    assert await _run(world, []) == []


async def test_a_batch_sent_again_changes_nothing(world: World) -> None:
    operations = [{"op": "receive", **BIN, "quantity": 5}, {"op": "reserve", **LINE, "key": "own"}]
    headers = {"Idempotency-Key": "k1"}
    first = await world.post("/v1/batch", {"operations": operations}, headers=headers)
    assert "idempotent-replayed" not in first.headers
    again = await world.post("/v1/batch", {"operations": operations}, headers=headers)
    assert again.headers["idempotent-replayed"] == "true"
    assert [result.pop("replayed") for result in again.body["results"]] == [True, True]
    assert [result["replayed"] for result in again.body["results"]] == [True, True]
    assert world.balance() == [(5, 1, 0)]
    alone = await world.post("/v1/reservations", LINE, headers={"Idempotency-Key": "own"})
    assert alone.headers["idempotent-replayed"] == "true"


async def test_a_batch_speaks_messagepack(world: World) -> None:
    headers = {"content-type": "application/msgpack", "accept": "application/msgpack"}
    body = {
        "operations": [{"op": "receive", **BIN, "quantity": 5}, {"op": "reserve", **LINE, "quantity": True}]
    }
    reply = await world.post("/v1/batch", body, headers=headers)
    assert reply.headers["content-type"] == "application/msgpack"
    assert [result["status"] for result in msgspec.msgpack.decode(reply.raw)["results"]] == [201, 422]


async def test_operations_on_different_reservations_run_together_and_on_the_same_in_order(
    world: World,
) -> None:
    await world.stocked(20)
    made = await _run(world, [{"op": "reserve", **LINE, "quantity": 2}] * 5)
    operations: list[dict[str, Any]] = []
    for result in made:
        operations += [{"op": "pick", "id": result["id"], "quantity": 1}]
    operations += [{"op": "release", "id": result["id"]} for result in made]
    operations += [{"op": "reserve", **LINE, "quantity": 15}, {"op": "reserve", **LINE}]
    results = await _run(world, operations)
    assert [result["status"] for result in results] == [200] * 10 + [201, 409]
    assert {result["state"] for result in results[5:10]} == {"picked"}
    assert world.balance() == [(15, 15, 0)]

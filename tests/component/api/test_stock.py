"""Stock over HTTP: what comes in, moves, is counted and read."""

from typing import Any
from urllib.parse import quote

import pytest

from engine.dates import rfc3339
from engine.partitioning import partition_of
from tests.component.api.world import NOW_MS, PARTITIONS, World, skus_apart

BIN = {"site": "berlin", "sku": "apple", "location": "A-1"}


async def test_received_units_are_in_their_bin(world: World) -> None:
    body = {
        **BIN,
        "quantity": 5,
        "lot": "L1",
        "expires_on": "2027-05-31",
        "reference": "delivery",
        "reason": "new",
    }
    reply = await world.post("/v1/stock/receive", body)
    assert reply.status == 201
    assert reply.body["lots"] == [
        {"lot": "L1", "on_hand": 5, "reserved": 0, "held": 0, "available": 5, "expires_on": "2027-05-31"}
    ]
    assert (await world.get("/v1/stock/berlin/apple/A-1")).body == reply.body
    stock = (await world.get("/v1/stock/berlin/apple")).body
    assert (stock["on_hand"], stock["available"], stock["bins"]) == (5, 5, [reply.body])
    differs = await world.post("/v1/stock/receive", {**body, "expires_on": "2028-01-01"})
    assert (differs.status, differs.code, differs.body["expires_on"]) == (
        409,
        "lot_expiry_differs",
        "2027-05-31",
    )


async def test_units_are_picked_without_a_reservation(world: World) -> None:
    await world.stocked(5)
    reply = await world.post("/v1/stock/pick", {"site": "berlin", "sku": "apple", "quantity": 2})
    assert (reply.status, reply.body["quantity"], reply.body["bins"][0]["on_hand"]) == (200, 2, 3)
    short = await world.post("/v1/stock/pick", {**BIN, "quantity": 4})
    assert (short.status, short.code, short.body["available"]) == (409, "insufficient_stock", 3)


async def test_units_move_between_bins(world: World) -> None:
    await world.stocked(5)
    move = {"site": "berlin", "sku": "apple", "from": "A-1", "to": "B-1", "quantity": 2}
    reply = await world.post("/v1/stock/move", move)
    assert (reply.status, reply.body["from"]["on_hand"], reply.body["to"]["on_hand"]) == (200, 3, 2)
    same = await world.post("/v1/stock/move", {**move, "to": "A-1"})
    assert (same.status, same.body["errors"][0]["pointer"]) == (422, "/to")
    missing = {name: value for name, value in move.items() if name != "from"}
    reply = await world.post("/v1/stock/move", missing)
    assert (reply.status, reply.code, reply.body["errors"][0]["pointer"]) == (422, "missing_field", "/from")


async def test_units_are_adjusted_counted_held_and_put_back(world: World) -> None:
    bin_ = await world.stocked(5)
    adjusted = await world.post("/v1/stock/adjust", {**BIN, "delta": -1, "reason": "broken"})
    assert (adjusted.status, adjusted.body["on_hand"]) == (200, 4)
    counted = await world.post("/v1/stock/count", {**BIN, "counted": 6, "seen_seq": adjusted.body["seq"]})
    assert (counted.status, counted.body["variance"], counted.body["bin"]["on_hand"]) == (200, 2, 6)
    held = await world.post("/v1/stock/hold", {**BIN, "quantity": 4, "reason": "quality"})
    assert (held.status, held.body["held"], held.body["lots"][0]["holds"]) == (200, 4, {"quality": 4})
    free = await world.post("/v1/stock/unhold", {**BIN, "quantity": 1, "reason": "quality"})
    assert (free.status, free.body["held"]) == (200, 3)
    more = await world.post("/v1/stock/unhold", {**BIN, "quantity": 4, "reason": "quality"})
    assert (more.status, more.code, more.body["held"]) == (409, "exceeds_held", 3)
    below = await world.post("/v1/stock/count", {**BIN, "counted": 0})
    assert (below.status, below.code) == (409, "below_committed")
    early = await world.post("/v1/stock/count", {**BIN, "counted": 6, "seen_seq": 999})
    assert (early.status, early.code) == (409, "seq_not_reached")
    assert bin_["on_hand"] == 5


async def test_what_is_not_known_is_not_found(world: World) -> None:
    for target in ("/v1/stock/berlin/apple", "/v1/stock/berlin/apple/A-1", "/v1/explain/berlin/apple"):
        reply = await world.get(target)
        assert (reply.status, reply.code) == (404, "stock_not_found"), target
    history = await world.get("/v1/history/berlin/apple")
    assert (history.status, history.code) == (404, "stock_not_found")
    await world.stocked(1)
    reply = await world.get("/v1/stock/berlin/apple/B-9")
    assert (reply.status, reply.code, reply.body["location"]) == (404, "bin_not_found", "B-9")


ODD = [
    "a b",
    "a/b",
    "a.b",
    ".",
    "..",
    "100%",
    "%2F",
    "*",
    ">",
    "#1",
    "ä-ö",
    "倉庫",
    "a?b=c&d",
    "a+b",
    "=41",
    "😀",
    "a" * 64,
]


@pytest.mark.parametrize("code", ODD)
async def test_odd_codes_work_in_bodies_and_in_paths(world: World, code: str) -> None:
    body = {"site": code, "sku": code, "location": code, "quantity": 2, "lot": code}
    assert (await world.post("/v1/stock/receive", body)).status == 201
    one = quote(code, safe="")
    bin_ = await world.get(f"/v1/stock/{one}/{one}/{one}")
    assert (bin_.status, bin_.body["location"], bin_.body["lots"][0]["lot"]) == (200, code, code)
    assert (await world.get(f"/v1/stock/{one}/{one}")).body["sku"] == code
    assert (await world.get(f"/v1/history/{one}/{one}")).body["items"][0]["site"] == code
    assert (await world.get(f"/v1/explain/{one}/{one}")).body["available"] == 2
    listed = await world.get(f"/v1/stock?site={one}&sku={one}&location={one}")
    assert [item["location"] for item in listed.body["items"]] == [code]
    past = await world.get(f"/v1/stock/{one}/{one}/{one}?as_of=1")
    assert (past.status, past.body["on_hand"]) == (200, 2)
    made = await world.post(
        "/v1/reservations", {"site": code, "sku": code, "quantity": 1, "location": code, "lot": code}
    )
    assert made.status == 201


@pytest.mark.parametrize("segment", ["%FF", "a%00b", "%0A", "x" * 65, "%C2%85"])
async def test_what_is_no_code_in_a_path_is_refused(world: World, segment: str) -> None:
    reply = await world.get(f"/v1/stock/berlin/{segment}")
    assert (reply.status, reply.code) == (422, "invalid_parameter")
    assert reply.body["errors"][0]["parameter"] == "sku"


async def test_history_shows_every_entry_with_its_reservation(world: World) -> None:
    await world.stocked(5, lot="L", expires_on="2027-05-31")
    made = await world.post("/v1/reservations", {"site": "berlin", "sku": "apple", "quantity": 2, "ttl_s": 9})
    await world.post(
        f"/v1/reservations/{made.body['id']}/pick", {"quantity": 1}, headers={"Idempotency-Key": "p1"}
    )
    first = await world.get("/v1/history/berlin/apple?limit=1")
    assert first.body["items"][0]["kind"] == "stock_received"
    assert first.body["items"][0]["expires_on"] == "2027-05-31"
    cursor = first.body["next_cursor"]
    assert cursor == first.body["items"][0]["seq"]
    assert first.headers["link"] == f'</v1/history/berlin/apple?after={cursor}&limit=1>; rel="next"'
    rest = await world.get(f"/v1/history/berlin/apple?after={cursor}")
    kinds = [(item["kind"], item["quantity"], item["reservation"]) for item in rest.body["items"]]
    id_ = made.body["id"]
    assert kinds == [("stock_reserved", 2, id_), ("stock_picked", 1, id_)]
    assert rest.body["items"][1]["key"] == "p1"
    assert rest.body["items"][0]["expires_at"] == made.body["expires_at"]
    assert rest.body["next_cursor"] is None
    empty = await world.get("/v1/history/berlin/apple?after=1000")
    assert (empty.status, empty.body["items"]) == (200, [])


async def test_history_names_a_reservation_that_spans_partitions_by_its_one_id(world: World) -> None:
    skus = skus_apart()
    for sku in skus:
        await world.stocked(5, sku=sku)
    lines = [{"site": "berlin", "sku": sku, "quantity": 2} for sku in skus]
    made = await world.post("/v1/reservations", {"lines": lines})
    for sku in skus:
        items = (await world.get(f"/v1/history/berlin/{sku}")).body["items"]
        assert items[1]["reservation"] == made.body["id"]


async def test_explain_says_what_each_number_consists_of(world: World) -> None:
    await world.stocked(5)
    made = await world.post("/v1/reservations", {"site": "berlin", "sku": "apple", "quantity": 2})
    await world.post("/v1/stock/hold", {**BIN, "quantity": 1, "reason": "quality"})
    reply = await world.get("/v1/explain/berlin/apple")
    assert reply.body["explanation"] == "5 on hand - 2 reserved - 1 held = 2 available"
    assert reply.body["reservations"][0]["id"] == made.body["id"]
    assert reply.body["holds"] == [{"location": "A-1", "lot": None, "reason": "quality", "quantity": 1}]


def _instant(at_ms: int) -> str:
    return rfc3339(at_ms)


async def test_the_past_is_read_by_sequence_number_and_by_instant(world: World) -> None:
    first = await world.stocked(5)
    world.gateway.now_ms += 60_000
    await world.stocked(3, location="A-2")
    world.gateway.now_ms += 60_000
    await world.post("/v1/reservations", {"site": "berlin", "sku": "apple", "quantity": 2})

    async def as_of(value: Any) -> Any:
        reply = await world.get(f"/v1/stock/berlin/apple?as_of={quote(str(value))}")
        return reply.body if reply.status == 200 else (reply.status, reply.code)

    by_seq = await as_of(first["seq"])
    assert (by_seq["on_hand"], by_seq["reserved"], len(by_seq["bins"])) == (5, 0, 1)
    assert by_seq["as_of"] == {"seq": first["seq"], "at": _instant(NOW_MS)}
    assert (await as_of(_instant(NOW_MS + 59_999)))["on_hand"] == 5
    assert (await as_of(_instant(NOW_MS + 60_000)))["on_hand"] == 8
    assert (await as_of("2025-06-15T17:08:00+02:00"))["reserved"] == 0
    assert (await as_of("2025-06-15t15:08:00.123456789z"))["reserved"] == 0
    now = await as_of(_instant(NOW_MS + 120_000))
    live = (await world.get("/v1/stock/berlin/apple")).body
    assert {name: now[name] for name in ("on_hand", "reserved", "available", "seq")} == {
        name: live[name] for name in ("on_hand", "reserved", "available", "seq")
    }
    assert await as_of(live["seq"] + 1) == (422, "as_of_in_future")
    assert await as_of("2199-01-01T00:00:00Z") == (422, "as_of_in_future")
    assert await as_of(_instant(NOW_MS - 1)) == (422, "as_of_too_early")
    assert await as_of("2000-01-01T00:00:00Z") == (422, "as_of_too_early")
    assert await as_of(0) == (422, "as_of_too_early")

    bin_ = await world.get(f"/v1/stock/berlin/apple/A-1?as_of={first['seq']}")
    assert (bin_.body["on_hand"], bin_.body["as_of"]["seq"]) == (5, first["seq"])
    absent = await world.get(f"/v1/stock/berlin/apple/A-2?as_of={first['seq']}")
    assert (absent.status, absent.code) == (404, "bin_not_found")
    unknown = await world.get("/v1/stock/berlin/pear?as_of=1")
    assert (unknown.status, unknown.code) == (404, "stock_not_found")


async def test_the_last_date_of_all_is_shown_everywhere(world: World) -> None:
    place = {"site": "berlin", "sku": "apple", "location": "A-1", "lot": "L"}
    await world.stocked(5, lot="L", expires_on="9999-12-31")
    assert (await world.post("/v1/stock/adjust", {**place, "delta": 1, "reason": "x"})).status == 200
    assert (await world.post("/v1/stock/count", {**place, "counted": 6})).status == 200
    assert (await world.get("/v1/stock/berlin/apple")).body["bins"][0]["lots"][0][
        "expires_on"
    ] == "9999-12-31"
    reply = await world.get("/v1/history/berlin/apple")
    assert reply.status == 200
    assert {(item["expires_on"], item["expires_at"]) for item in reply.body["items"]} == {
        ("9999-12-31", None)
    }


@pytest.mark.parametrize("target", ["/v1/history/berlin/apple", "/v1/stock/berlin/apple?as_of={seq}"])
async def test_the_past_is_not_told_from_a_row_that_was_changed(world: World, target: str) -> None:
    received = await world.stocked(5)
    number = partition_of("berlin", "apple", PARTITIONS)
    ledger = world.database.partitions[number].ledger
    ledger[-1] = ledger[-1]._replace(reason="theft")
    reply = await world.get(target.format(seq=received["seq"]))
    assert (reply.status, reply.code, reply.headers["retry-after"]) == (503, "unavailable", "60")
    assert f"partition {number}, entry {received['seq']}." in reply.body["detail"]

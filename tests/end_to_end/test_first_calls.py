"""What a person tries first, by `curl` or by the command line."""

import json

from tests.end_to_end.running import Running


async def test_stock_is_received_reserved_picked_and_remembered(binkeeper: Running) -> None:
    async with binkeeper.http() as http:
        received = await http.post(
            "/stock/receive", json={"site": "first", "sku": "MUG", "location": "A-01", "quantity": 10}
        )
        assert received.status_code == 201
        assert received.json()["on_hand"] == 10

        reserved = await http.post(
            "/reservations", json={"site": "first", "sku": "MUG", "quantity": 4, "reference": "order 7"}
        )
        assert reserved.status_code == 201
        reservation = reserved.json()
        assert reservation["state"] == "held"
        assert reservation["lines"][0]["allocations"][0]["location"] == "A-01"

        short = await http.post("/reservations", json={"site": "first", "sku": "MUG", "quantity": 7})
        assert short.status_code == 409
        assert short.json()["code"] == "insufficient_stock"
        assert (short.json()["requested"], short.json()["available"]) == (7, 6)

        picked = await http.post(f"/reservations/{reservation['id']}/pick", json={"quantity": 3})
        assert picked.json()["state"] == "part_picked"
        released = await http.post(f"/reservations/{reservation['id']}/release", json={})
        assert released.status_code == 200

        stock = (await http.get("/stock/first/MUG")).json()
        assert (stock["on_hand"], stock["reserved"], stock["available"]) == (7, 0, 7)
        then = (await http.get("/stock/first/MUG", params={"as_of": received.json()["seq"]})).json()
        assert then["on_hand"] == 10
        history = (await http.get("/history/first/MUG")).json()["items"]
        assert [entry["kind"] for entry in history] == [
            "stock_received", "stock_reserved", "stock_picked", "stock_released",
        ]  # fmt: skip
        assert {entry["reservation"] for entry in history[1:]} == {reservation["id"]}


async def test_lines_of_several_skus_are_reserved_together_or_not_at_all(binkeeper: Running) -> None:
    async with binkeeper.http() as http:
        for sku in ("CUP", "SAUCER", "SPOON"):
            body = {"site": "together", "sku": sku, "location": "A-01", "quantity": 5}
            assert (await http.post("/stock/receive", json=body)).status_code == 201

        def order(spoons: int) -> dict[str, object]:
            wanted = {"CUP": 2, "SAUCER": 2, "SPOON": spoons}
            return {"lines": [{"site": "together", "sku": sku, "quantity": n} for sku, n in wanted.items()]}

        refused = await http.post("/reservations", json=order(6))
        assert refused.status_code == 409
        assert refused.json()["line"] == 2
        accepted = await http.post("/reservations", json=order(5))
        assert accepted.status_code == 201
        bins = (await http.get("/stock", params={"site": "together"})).json()["items"]
        assert {bin_["sku"]: bin_["available"] for bin_ in bins} == {"CUP": 3, "SAUCER": 3, "SPOON": 0}


async def test_a_repeat_under_the_same_key_has_one_effect(binkeeper: Running) -> None:
    async with binkeeper.http() as http:
        body = {"site": "first", "sku": "TEA", "location": "A-01", "quantity": 3}
        answers = [
            await http.post("/stock/receive", json=body, headers={"Idempotency-Key": "delivery-1"})
            for _ in range(2)
        ]
        assert answers[0].json() == answers[1].json()
        assert answers[1].headers["Idempotent-Replayed"] == "true"
        assert (await http.get("/stock/first/TEA")).json()["on_hand"] == 3


async def test_codes_may_hold_anything_printable(binkeeper: Running) -> None:
    site, sku, location = "Zürich 1", "a/b.c*d>e#%41", "# 9 / ü"
    async with binkeeper.http() as http:
        body = {"site": site, "sku": sku, "location": location, "quantity": 1}
        assert (await http.post("/stock/receive", json=body)).status_code == 201
        path = "/stock/Z%C3%BCrich%201/a%2Fb.c%2Ad%3Ee%23%2541/%23%209%20%2F%20%C3%BC"
        bin_ = (await http.get(path)).json()
        assert (bin_["site"], bin_["sku"], bin_["location"]) == (site, sku, location)


def test_status_tells_the_processes_by_role(binkeeper: Running) -> None:
    told = json.loads(binkeeper.ask("status", "--json").stdout)
    roles = {entry["role"] for entry in told["processes"]}
    assert {"api", "host", "postgres", "nats", "raylet", "gcs"} <= roles
    assert all(isinstance(entry["pid"], int) for entry in told["processes"])
    assert told["partitions_owned"] == told["partitions"] == 256
    assert told["drift"] == 0


def test_the_token_that_is_printed_is_the_one_that_is_served(binkeeper: Running) -> None:
    assert binkeeper.ask("token", "--role", "administrator").stdout.strip() == binkeeper.run["token"]

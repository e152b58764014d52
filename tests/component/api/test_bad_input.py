"""Bad input: each has its own problem, and changes nothing."""

from typing import Any

import msgspec
import pytest

from tests.component.api.world import World

LINE: dict[str, Any] = {"site": "berlin", "sku": "apple", "quantity": 1}
BIN: dict[str, Any] = {**LINE, "location": "A-1"}
MSGPACK = {"content-type": "application/msgpack", "accept": "application/msgpack"}

BODIES: dict[str, dict[str, Any]] = {
    "/v1/reservations": LINE,
    "/v1/stock/receive": BIN,
    "/v1/stock/pick": LINE,
    "/v1/stock/move": {**LINE, "from": "A-1", "to": "B-1"},
    "/v1/stock/hold": {**BIN, "reason": "x"},
    "/v1/stock/unhold": {**BIN, "reason": "x"},
}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"not json",
        b"\xff\xfe",
        b'{"site": "\xff"}',
        b'{"site": "\\ud800"}',
        b"{}}",
        b'{"quantity": NaN}',
    ],
)
async def test_an_undecodable_body_is_malformed(world: World, raw: bytes) -> None:
    for path in ("/v1/reservations", "/v1/stock/receive", "/v1/stock/count", "/v1/batch"):
        reply = await world.post(path, raw=raw, headers={"content-type": "application/json"})
        assert (reply.status, reply.code) == (400, "malformed_body"), path


@pytest.mark.parametrize("raw", [b"", b"\x81", b"\xc1", b"\x81\xa4site\xa1\xff", b"\x80\x00", b"\xff" * 100])
async def test_undecodable_messagepack_is_malformed_too(world: World, raw: bytes) -> None:
    for path in ("/v1/reservations", "/v1/batch"):
        reply = await world.post(path, raw=raw, headers=MSGPACK)
        assert (reply.status, reply.code) == (400, "malformed_body"), path
        assert reply.headers["content-type"] == "application/problem+msgpack"


async def test_a_body_nested_without_end_is_malformed(world: World) -> None:
    raw = b'{"operations":' + b"[" * 100_000
    reply = await world.post("/v1/batch", raw=raw, headers={"content-type": "application/json"})
    assert (reply.status, reply.code) == (400, "malformed_body")


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    "quantity, code",
    [
        (0, "invalid_value"), (-1, "invalid_value"), (2**63, "invalid_value"), (2**53, "invalid_value"),
        (1.5, "wrong_type"), (True, "wrong_type"), ("3", "wrong_type"), ([1], "wrong_type"), ({},
        "wrong_type"),
    ],
)  # fmt: skip
async def test_a_quantity_is_a_whole_number_of_units(
    world: World, path: str, quantity: Any, code: str
) -> None:
    await world.stocked(5)
    for headers in ({}, MSGPACK):
        reply = await world.post(path, {**BODIES[path], "quantity": quantity}, headers=headers)
        assert (reply.status, reply.code, reply.body["errors"][0]["pointer"]) == (422, code, "/quantity")
    assert world.balance() == [(5, 0, 0)]


@pytest.mark.parametrize("path", BODIES)
async def test_each_field_is_named_when_it_is_missing_misspelt_or_of_the_wrong_type(
    world: World, path: str
) -> None:
    body = BODIES[path]
    for name in body:
        without = {field: value for field, value in body.items() if field != name}
        missing = await world.post(path, without)
        assert (missing.status, missing.code) == (422, "missing_field")
        assert missing.body["errors"][0]["pointer"] == f"/{name}"
        misspelt = await world.post(path, {**body, f"{name}x": 1})
        assert (misspelt.status, misspelt.code) == (422, "unknown_field")
        assert misspelt.body["errors"][0]["pointer"] == f"/{name}x"
        wrong = await world.post(path, {**body, name: [1]})
        assert (wrong.status, wrong.code) == (422, "wrong_type")
        assert wrong.body["errors"][0]["pointer"] == f"/{name}"
    assert world.balance() == []


@pytest.mark.parametrize("code", ["", "x" * 65, "a\x00", "a\nb", "\x7f", "a\u2028b", "\u200b"])
@pytest.mark.parametrize("name", ["site", "sku", "location", "lot"])
async def test_a_code_that_is_none_is_refused_by_name(world: World, name: str, code: str) -> None:
    for path in ("/v1/reservations", "/v1/stock/receive"):
        reply = await world.post(path, {**BIN, name: code})
        assert (reply.status, reply.code, reply.body["errors"][0]["pointer"]) == (
            422,
            "invalid_value",
            f"/{name}",
        )
    assert world.balance() == []


@pytest.mark.parametrize(
    "path, change, pointer",
    [
        ("/v1/reservations", {"ttl_s": 0}, "/ttl_s"),
        ("/v1/reservations", {"ttl_s": 366 * 24 * 3600 + 1}, "/ttl_s"),
        ("/v1/reservations", {"strategy": "best"}, "/strategy"),
        ("/v1/reservations", {"reference": ""}, "/reference"),
        ("/v1/reservations", {"reference": "x" * 201}, "/reference"),
        ("/v1/reservations", {"reference": "a\x00"}, "/reference"),
        ("/v1/reservations", {"lines": [LINE]}, "/site"),
        ("/v1/stock/receive", {"expires_on": "2026-13-01"}, "/expires_on"),
        ("/v1/stock/receive", {"expires_on": "2026-01-01T00:00:00Z"}, "/expires_on"),
        ("/v1/stock/receive", {"expires_on": "1969-12-31"}, "/expires_on"),
        ("/v1/stock/receive", {"expires_on": "0001-01-01"}, "/expires_on"),
        ("/v1/stock/hold", {"reason": ""}, "/reason"),
        ("/v1/stock/hold", {"reason": "x" * 201}, "/reason"),
    ],
)
async def test_a_value_out_of_its_limits_is_refused_by_name(
    world: World, path: str, change: dict[str, Any], pointer: str
) -> None:
    reply = await world.post(path, {**BODIES[path], **change})
    assert (reply.status, reply.code, reply.body["errors"][0]["pointer"]) == (422, "invalid_value", pointer)


async def test_adjustments_and_counts_have_limits_of_their_own(world: World) -> None:
    place = {"site": "berlin", "sku": "apple", "location": "A-1"}
    for delta in (0, 2**53, -(2**53)):
        reply = await world.post("/v1/stock/adjust", {**place, "delta": delta, "reason": "x"})
        assert (reply.status, reply.body["errors"][0]["pointer"]) == (422, "/delta")
    for counted in (-1, 2**53):
        reply = await world.post("/v1/stock/count", {**place, "counted": counted})
        assert (reply.status, reply.body["errors"][0]["pointer"]) == (422, "/counted")
    assert (await world.post("/v1/stock/count", {**place, "counted": 2**53 - 1})).status == 200
    over = await world.post("/v1/stock/receive", BIN)
    assert (over.status, over.code) == (409, "quantity_limit")


@pytest.mark.parametrize(
    "line, pointer, code",
    [
        ({"quantity": 0}, "/lines/1/quantity", "invalid_value"),
        ({"quantitty": 1}, "/lines/1/quantitty", "unknown_field"),
        ({"a/b~c": 1}, "/lines/1/a~1b~0c", "unknown_field"),
        ({"sku": "\x01"}, "/lines/1/sku", "invalid_value"),
        ({"sku": None}, "/lines/1/sku", "wrong_type"),
        ({"ttl_s": 5}, "/lines/1/ttl_s", "unknown_field"),
    ],
)
async def test_a_wrong_line_is_named_by_its_position(
    world: World, line: dict[str, Any], pointer: str, code: str
) -> None:
    reply = await world.post("/v1/reservations", {"lines": [LINE, {**LINE, **line}]})
    assert (reply.status, reply.code, reply.body["errors"][0]["pointer"]) == (422, code, pointer)


async def test_lines_are_some_and_not_too_many(world: World) -> None:
    for lines in ([], [LINE] * 10_001):
        reply = await world.post("/v1/reservations", {"lines": lines})
        assert (reply.status, reply.code, reply.body["errors"][0]["pointer"]) == (
            422,
            "invalid_value",
            "/lines",
        )


@pytest.mark.parametrize("body", [[], 3, None, "x"])
async def test_a_body_that_is_no_object_is_of_the_wrong_type(world: World, body: Any) -> None:
    raw = msgspec.json.encode(body)
    reply = await world.post("/v1/reservations", raw=raw, headers={"content-type": "application/json"})
    assert (reply.status, reply.code, reply.body["errors"][0]["pointer"]) == (422, "wrong_type", "")


async def test_a_body_over_the_limit_is_too_large_however_it_comes(world: World) -> None:
    world = World(body_bytes_max=1000)
    big = b"{" + b" " * 1000 + b"}"
    declared = await world.post("/v1/reservations", raw=big)
    chunked = await world.post("/v1/reservations", chunks=[b"{", b" " * 600, b" " * 600, b"}"])
    lying = await world.post("/v1/batch", chunks=[big], headers={"content-length": "5"})
    for reply in (declared, chunked, lying):
        assert (reply.status, reply.code, reply.body["limit_bytes"]) == (413, "body_too_large", 1000)
        assert reply.headers["connection"] == "close"
    small = await world.post("/v1/reservations", chunks=[b"{", b'"site": 3', b"}"])
    assert (small.status, small.code) == (422, "wrong_type")


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/xml",
        "application/json; charset=latin-1",
        "json",
    ],
)
async def test_a_content_type_that_is_not_spoken_is_refused(world: World, content_type: str) -> None:
    for path in ("/v1/reservations", "/v1/stock/receive", "/v1/reservations/x/pick", "/v1/batch"):
        reply = await world.post(path, raw=b"{}", headers={"content-type": content_type})
        assert (reply.status, reply.code) == (415, "unsupported_media_type")
        assert reply.body["supported"] == ["application/json", "application/msgpack"]
    packed = await world.post("/v1/batch", raw=b"{}", headers={"content-encoding": "gzip"})
    assert (packed.status, packed.code) == (415, "unsupported_media_type")


async def test_an_answer_that_nobody_wants_is_not_given(world: World) -> None:
    await world.stocked(5)
    for accept in ("text/html", "application/json;q=0", "image/*"):
        reply = await world.post("/v1/reservations", LINE, headers={"accept": accept})
        assert (reply.status, reply.code) == (406, "not_acceptable")
    assert world.balance() == [(5, 0, 0)]
    for accept in ("*/*", "application/*", "text/html, */*;q=0.1", "application/json, text/plain, */*"):
        assert (await world.post("/v1/reservations", LINE, headers={"accept": accept})).status == 201


@pytest.mark.parametrize("token", [None, "wrong", "", "secret2", "secre"])
async def test_without_the_token_nothing_is_done_or_told(world: World, token: str | None) -> None:
    for method, path in (
        ("POST", "/v1/reservations"), ("POST", "/v1/batch"), ("GET", "/v1/stock"), ("GET", "/v1/stock/a/b"),
        ("GET", "/metrics"), ("GET", "/openapi.json"), ("GET", "/docs"), ("GET", "/nowhere"), ("DELETE",
        "/v1/stock"),
        ("GET", "/v1/status"),
    ):  # fmt: skip
        reply = await world.ask(method, path, BIN if method == "POST" else None, token=token)
        assert (reply.status, reply.code) == (401, "token_missing" if token is None else "token_invalid"), (
            path
        )
        assert reply.headers["www-authenticate"]
        assert any(value.startswith(b"Bearer") for name, value in reply.multi if name == b"www-authenticate")
    for path in ("/healthz", "/readyz"):
        assert (await world.get(path, token=token)).status == 200


@pytest.mark.parametrize(
    "authorization",
    ["secret", "Basic c2VjcmV0", "Basic !", "Bearer", "Bearer secret secret", "Digest secret"],
)
async def test_other_ways_to_send_a_token_do_not_pass(world: World, authorization: str) -> None:
    reply = await world.get("/v1/stock", headers={"authorization": authorization})
    assert (reply.status, reply.code) == (401, "token_invalid")


async def test_a_browser_may_send_the_token_as_a_password_for_the_pages_alone(world: World) -> None:
    for path in ("/docs", "/openapi.json", "/v1/stock", "/metrics", "/docs"):
        is_page = path in ("/docs", "/openapi.json")
        reply = await world.get(path, headers={"authorization": "Basic YWRtaW46c2VjcmV0"})
        assert reply.status == (200 if is_page else 401), path
        asked = await world.get(path, token=None)
        challenges = [value for name, value in asked.multi if name == b"www-authenticate"]
        assert any(value.startswith(b"Basic") for value in challenges) == is_page, path
    assert (await world.get("/v1/stock", headers={"authorization": "bearer  secret"})).status == 200


@pytest.mark.parametrize(
    "method, path, allowed",
    [
        ("GET", "/v1/reservations", "POST"), ("DELETE", "/v1/reservations/x", "GET, HEAD"),
        ("PUT", "/v1/reservations/x/pick", "POST"), ("GET", "/v1/stock/receive", "POST"),
        ("POST", "/v1/stock/a/b", "GET, HEAD"), ("PATCH", "/v1/batch", "POST"),
        ("POST", "/healthz", "GET, HEAD"),
    ],
)  # fmt: skip
async def test_a_wrong_method_is_told_the_right_one(
    world: World, method: str, path: str, allowed: str
) -> None:
    reply = await world.ask(method, path)
    assert (reply.status, reply.code) == (405, "method_not_allowed")
    assert sorted(reply.headers["allow"].split(", ")) == allowed.split(", ")


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v2/stock", "/v1/stock/a/b/c/d", "/v1/reservations/", "/v1/stock/", "//"]
)
async def test_an_unknown_address_is_not_found(world: World, path: str) -> None:
    reply = await world.get(path)
    assert (reply.status, reply.code, reply.body["instance"]) == (404, "route_not_found", path)


@pytest.mark.parametrize("key", ["", "x" * 65, "a b", "ä", '""', "a\tb", '"a b"', '"' + "x" * 65 + '"'])
async def test_a_key_that_is_none_is_refused(world: World, key: str) -> None:
    for path in ("/v1/reservations", "/v1/batch"):
        reply = await world.post(path, LINE, headers={"Idempotency-Key": key})
        assert (reply.status, reply.code) == (400, "invalid_idempotency_key")

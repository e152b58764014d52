"""The OpenAPI document: whole, valid, and true to what the routes do."""

import json
from typing import Any, get_args

import jsonschema
import msgspec
import pytest

from api import answers, bodies, examples
from api.openapi import document
from api.routes import ROUTES
from engine.choosing import STRATEGIES
from tests.component.api.world import World

CONTRACT = {
    "POST /v1/reservations", "GET /v1/reservations/{id}", "POST /v1/reservations/{id}/pick",
    "POST /v1/reservations/{id}/release", "POST /v1/reservations/{id}/extend", "POST /v1/stock/receive",
    "POST /v1/stock/pick", "POST /v1/stock/move", "POST /v1/stock/adjust", "POST /v1/stock/count",
    "POST /v1/stock/hold", "POST /v1/stock/unhold", "GET /v1/stock/{site}/{sku}",
    "GET /v1/stock/{site}/{sku}/{location}",
    "GET /v1/history/{site}/{sku}", "GET /v1/explain/{site}/{sku}", "GET /v1/stock", "POST /v1/batch",
    "GET /healthz",
    "GET /readyz", "GET /metrics", "GET /openapi.json", "GET /docs",
}  # fmt: skip
DOCUMENT = document()


def _validate(value: Any, schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(value)


def _operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, path, operation)
        for path, methods in DOCUMENT["paths"].items()
        for method, operation in methods.items()
    ]


async def test_every_route_of_the_contract_is_in_the_document(world: World) -> None:
    told = {f"{method.upper()} {path}" for method, path, _ in _operations()}
    assert told >= CONTRACT
    reply = await world.get("/openapi.json")
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert reply.body == json.loads(json.dumps(DOCUMENT))
    assert reply.body == json.loads(json.dumps(world.app._rest.openapi()))


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
async def test_every_example_fits_its_schema_and_its_struct(route: Any) -> None:
    operation = DOCUMENT["paths"][route.path][route.method.lower()]
    contents = [response["content"] for response in operation["responses"].values()]
    if route.body is not None:
        contents.append(operation["requestBody"]["content"])
        assert operation["requestBody"]["content"]["application/json"]["examples"]
        for value in examples.REQUESTS[route.name].values():
            msgspec.json.decode(msgspec.json.encode(value), type=route.body)
    if route.name in examples.ANSWERS:
        msgspec.convert(examples.ANSWERS[route.name], type=route.answer, strict=False)
    for content in contents:
        for media in content.values():
            for example in media.get("examples", {}).values():
                _validate(example["value"], media["schema"])


@pytest.mark.parametrize("path", ["/v1/reservations", "/v1/stock/receive", "/v1/reservations/{id}/pick"])
async def test_every_possible_status_is_documented(path: str) -> None:
    responses = DOCUMENT["paths"][path]["post"]["responses"]
    documented = {"400", "401", "405", "406", "409", "413", "415", "422", "429", "500", "503", "504"}
    assert responses.keys() >= documented
    assert ("404" in responses) == ("{id}" in path)


async def test_what_the_routes_answer_is_what_the_document_says(world: World) -> None:
    place = {"site": "berlin", "sku": "apple", "location": "A-1"}
    line = {"site": "berlin", "sku": "apple", "quantity": 1}
    seen: set[str] = set()

    async def check(name: str, target: str, body: Any = None) -> Any:
        route = next(route for route in ROUTES if route.name == name)
        reply = await world.ask(route.method, target, body)
        operation = DOCUMENT["paths"][route.path][route.method.lower()]
        assert str(reply.status) in operation["responses"], (name, reply.status)
        if reply.status < 400:
            seen.add(name)
            _validate(
                reply.body, operation["responses"][str(reply.status)]["content"]["application/json"]["schema"]
            )
            msgspec.json.decode(reply.raw, type=route.answer)
        else:
            shown = operation["responses"][str(reply.status)]["content"]["application/problem+json"][
                "examples"
            ]
            assert reply.code in shown, (name, reply.code)
            _validate(reply.body, {"$ref": "#/components/schemas/ProblemDocument"})
        return reply.body

    await check("stock", "/v1/stock/berlin/apple")
    await check(
        "receive", "/v1/stock/receive", {**place, "quantity": 9, "lot": "L", "expires_on": "2027-01-01"}
    )
    made = await check("reserve", "/v1/reservations", {**line, "ttl_s": 60})
    path = f"/v1/reservations/{made['id']}"
    await check("reservation", path)
    await check("extend", f"{path}/extend", {"ttl_s": 90})
    await check("explain", "/v1/explain/berlin/apple")
    await check("pick", f"{path}/pick", {})
    await check("release", f"{path}/release", {})
    other = await check("reserve", "/v1/reservations", line)
    await check("release", f"/v1/reservations/{other['id']}/release", {})
    await check("reserve", "/v1/reservations", {**line, "quantity": 100})
    await check("pick_stock", "/v1/stock/pick", line)
    await check("move", "/v1/stock/move", {**line, "from": "A-1", "to": "B-1"})
    await check("adjust", "/v1/stock/adjust", {**place, "delta": -1, "reason": "x"})
    await check("count", "/v1/stock/count", {**place, "counted": 5})
    await check("hold", "/v1/stock/hold", {**place, "quantity": 1, "reason": "x"})
    await check("unhold", "/v1/stock/unhold", {**place, "quantity": 1, "reason": "x"})
    await check("unhold", "/v1/stock/unhold", {**place, "quantity": 1, "reason": "x"})
    for target in (
        "/v1/stock/berlin/apple",
        "/v1/stock/berlin/apple?as_of=1",
        "/v1/stock/berlin/apple?as_of=0",
    ):
        await check("stock", target)
    await check("bin", "/v1/stock/berlin/apple/A-1")
    await check("bin", "/v1/stock/berlin/apple/A-1?as_of=1")
    await check("bin", "/v1/stock/berlin/apple/Z")
    await check("history", "/v1/history/berlin/apple?limit=3")
    await check("bins", "/v1/stock?limit=1")
    await check("bins", "/v1/stock?limit=0")
    await check(
        "batch", "/v1/batch", {"operations": [{"op": "receive", **place, "quantity": 1}, {"op": "x"}]}
    )
    await check("batch", "/v1/batch", {"operations": [{"op": "receive"}] * 10_001})
    for name, target in (("status", "/v1/status"), ("healthz", "/healthz"), ("readyz", "/readyz")):
        await check(name, target)
    assert seen == {route.name for route in ROUTES if not isinstance(route.answer, str)}


@pytest.mark.parametrize(
    "body, is_valid",
    [
        ({"site": "a", "sku": "b", "quantity": 1}, True),
        ({"lines": [{"site": "a", "sku": "b", "quantity": 1}]}, True),
        ({"site": "a", "sku": "b"}, False),
        ({}, False),
        ({"lines": []}, False),
        (
            {"site": "a", "sku": "b", "quantity": 1, "lines": [{"site": "a", "sku": "b", "quantity": 1}]},
            False,
        ),
        ({"site": "a", "sku": "b", "quantity": 1, "x": 1}, False),
        ({"site": "", "sku": "b", "quantity": 1}, False),
        ({"site": "a", "sku": "b", "quantity": 2**53}, False),
        ({"site": "a", "sku": "b", "quantity": 1, "strategy": "best"}, False),
    ],
)
async def test_the_document_and_the_decoder_agree_on_a_reservation(
    body: dict[str, Any], is_valid: bool
) -> None:
    validator = jsonschema.Draft202012Validator(
        {"$ref": "#/components/schemas/ReserveBody", "components": DOCUMENT["components"]}
    )
    assert validator.is_valid(body) == is_valid
    try:
        msgspec.json.decode(msgspec.json.encode(body), type=bodies.ReserveBody)
        decoded = True
    except msgspec.ValidationError:
        decoded = False
    assert decoded == is_valid


async def test_the_strategies_are_the_engines() -> None:
    assert set(get_args(get_args(bodies.Strategy)[0])) == set(STRATEGIES)


async def test_the_page_shows_every_route_and_needs_nothing_from_elsewhere(world: World) -> None:
    reply = await world.get("/docs")
    page = reply.raw.decode()
    assert (reply.status, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
    for route in ROUTES:
        assert route.path in page
    assert "http://" not in page
    assert "https://" not in page
    assert "<script" not in page


async def test_answers_name_every_state_of_the_contract() -> None:
    assert set(get_args(answers.State)) == {"held", "part_picked", "picked", "released", "expired"}

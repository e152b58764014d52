"""The OpenAPI document: one for all routes, made from `api.routes` and the structs that validate."""

import re
from typing import Any

import msgspec

from api import answers, examples
from api import batch_bodies as bb
from api import bodies as b
from api.problems import MEANINGS, TYPE_PREFIX, Code
from api.routes import CODE, ROUTES, Route
from engine.limits import BATCH_OPERATIONS_MAX, KEY_LENGTH_MAX
from engine.refusals import Refusal

_ANY = (
    Code.UNAVAILABLE,
    Code.INTERNAL_ERROR,
    Code.METHOD_NOT_ALLOWED,
    Code.MALFORMED_REQUEST,
    Code.HEAD_TOO_LARGE,
)
_GUARDED = (Code.TOKEN_MISSING, Code.TOKEN_INVALID, Code.STOPPING)
_ANSWERING = (Code.NOT_ACCEPTABLE, Code.OVERLOADED)
_CHANGING = (
    Code.MALFORMED_BODY,
    Code.INVALID_IDEMPOTENCY_KEY,
    Code.MISSING_FIELD,
    Code.UNKNOWN_FIELD,
    Code.WRONG_TYPE,
    Code.INVALID_VALUE,
    Code.BODY_TIMEOUT,
    Code.BODY_TOO_LARGE,
    Code.UNSUPPORTED_MEDIA_TYPE,
    Code.OUTCOME_UNKNOWN,
    Refusal.IDEMPOTENCY_KEY_REUSED,
)
_TITLES = {
    400: "The request, its body or a header cannot be read",
    401: "A valid token is required",
    404: "Not found",
    405: "The method is not allowed",
    406: "No acceptable content type",
    408: "The body came too slowly",
    409: "Refused by the state of the stock",
    413: "The body is too large",
    415: "The content type is not spoken",
    422: "Understood, and not valid",
    429: "Too much at once",
    431: "The address and headers are too large",
    500: "An error on our side",
    503: "Not available now",
    504: "The outcome is not known",
}
_WAITS = frozenset({429, 503})
_NULL = {"type": "null"}


def codes_of(route: Route) -> list[str]:
    """Return every code that a route may answer with."""
    codes: list[str] = [*route.refusals, *_ANY]
    if not route.is_open:
        codes += _GUARDED
    if not isinstance(route.answer, str) and not route.is_open:
        codes += _ANSWERING
    if route.is_open:
        codes.append(Code.STOPPING)
    if route.body is not None:
        codes += _CHANGING
    if "{" in route.path:
        codes.append(Code.INVALID_PARAMETER)
    return list(dict.fromkeys(str(code) for code in codes))


def document() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document."""
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Binkeeper",
            "version": "1",
            "summary": "A real-time stock engine",
            "description": (
                "Bodies are JSON, or MessagePack by `Content-Type` and `Accept: application/msgpack`. "
                "Codes travel percent-encoded in paths. Quantities are whole units. An answer leaves "
                "when its effect is durable."
            ),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "tags": [{"name": name} for name in ("reservations", "stock", "server")],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "tags": [route.group],
        "summary": route.summary,
        "parameters": _parameters(route),
        "responses": _responses(route),
    }
    if route.is_open:
        operation["security"] = []
    if route.body is not None:
        operation["requestBody"] = {
            "required": route.name not in ("pick", "release"),
            "content": _content(route.body, examples.REQUESTS[route.name]),
        }
    return operation


def _parameters(route: Route) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "minLength": 1, "maxLength": 64} if name == "id" else CODE,
            "example": {"id": examples.ID, "site": "berlin", "sku": "85123A", "location": "A-01-2"}[name],
        }
        for name in re.findall(r"{(\w+)}", route.path)
    ]
    parameters += [
        {"name": parameter.name, "in": "query", "description": parameter.text, "schema": parameter.schema}
        for parameter in route.query
    ]
    if route.body is not None:
        parameters.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "a repeat is answered as the first time; made and returned when absent",
                "schema": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": KEY_LENGTH_MAX,
                    "pattern": "^[!-~]+$",
                },
            }
        )
    return parameters


def _responses(route: Route) -> dict[str, Any]:
    headers: dict[str, Any] = {"X-Request-Id": _header("the caller's, or one made here")}
    if route.body is not None:
        headers["Idempotency-Key"] = _header("the key under which the request was carried out")
        headers["Idempotent-Replayed"] = _header(
            "`true` when this is the first answer to the key, given again"
        )
    if route.name in ("bins", "history"):
        headers["Link"] = _header('the next page, rel="next"')
    content: dict[str, Any]
    if isinstance(route.answer, str):
        content = {route.answer: {"schema": {} if route.name == "openapi" else {"type": "string"}}}
    else:
        content = _content(route.answer, {"usual": examples.ANSWERS[route.name]})
    responses: dict[str, Any] = {
        str(route.status): {"description": route.summary, "headers": headers, "content": content}
    }
    by_status: dict[int, list[str]] = {}
    for code in codes_of(route):
        by_status.setdefault(MEANINGS[code].status, []).append(code)
    for status, codes in sorted(by_status.items()):
        responses[str(status)] = _problem_response(status, codes)
    return responses


def _problem_response(status: int, codes: list[str]) -> dict[str, Any]:
    shown = {
        code: {
            "summary": MEANINGS[code].advice,
            "value": {
                "type": TYPE_PREFIX + code,
                "title": MEANINGS[code].title,
                "status": status,
                "detail": MEANINGS[code].title + ".",
                "code": code,
            },
        }
        for code in codes
    }
    schema = {"$ref": "#/components/schemas/ProblemDocument"}
    response: dict[str, Any] = {
        "description": f"{_TITLES[status]}: {', '.join(codes)}",
        "content": {
            "application/problem+json": {"schema": schema, "examples": shown},
            "application/problem+msgpack": {"schema": schema},
        },
    }
    if status in _WAITS:
        response["headers"] = {"Retry-After": _header("seconds to wait", "integer")}
    if status == 401:
        response["headers"] = {"WWW-Authenticate": _header("Bearer")}
    if status == 405:
        response["headers"] = {"Allow": _header("the methods that are allowed")}
    return response


def _header(text: str, kind: str = "string") -> dict[str, Any]:
    return {"description": text, "schema": {"type": kind}}


def _content(struct: type, shown: dict[str, Any]) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{struct.__name__}"}
    return {
        "application/json": {
            "schema": schema,
            "examples": {name: {"value": value} for name, value in shown.items()},
        },
        "application/msgpack": {"schema": schema},
    }


def _schemas() -> dict[str, Any]:
    """Return the schemas of all structs, with the rules that a type cannot say."""
    structs = [route.body for route in ROUTES if route.body is not None]
    structs += [route.answer for route in ROUTES if not isinstance(route.answer, str)]
    _, schemas = msgspec.json.schema_components(
        [*structs, answers.ProblemDocument, bb.Operation], ref_template="#/components/schemas/{name}"
    )
    for name in ("ReserveBody", "ReserveOperation"):
        schemas[name]["oneOf"] = _reserve_forms(schemas[name]["properties"])
    for name in ("PickBody", "PickOperation"):
        schemas[name]["oneOf"] = _pick_forms(schemas[name]["properties"])
    for name in ("AdjustBody", "AdjustOperation"):
        schemas[name]["properties"]["delta"]["not"] = {"const": 0}
    tags = [tag for tag in schemas if tag.endswith("Operation")]
    schemas[b.BatchBody.__name__]["properties"]["operations"] = {
        "type": "array",
        "maxItems": BATCH_OPERATIONS_MAX,
        "items": {
            "oneOf": [{"$ref": f"#/components/schemas/{tag}"} for tag in tags],
            "discriminator": {
                "propertyName": "op",
                "mapping": {
                    schemas[tag]["properties"]["op"]["enum"][0]: f"#/components/schemas/{tag}" for tag in tags
                },
            },
        },
    }
    schemas["ProblemDocument"]["additionalProperties"] = True
    return schemas


def _reserve_forms(properties: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the two ways to write a reservation: one line flat, or `lines` and none of its fields beside."""
    needed = ("site", "sku", "quantity")
    return [
        {
            "required": list(needed),
            "properties": {name: _not_null(properties[name]) for name in needed} | {"lines": _NULL},
        },
        {
            "required": ["lines"],
            "properties": {"lines": _not_null(properties["lines"])}
            | dict.fromkeys((*needed, "location", "lot", "strategy"), _NULL),
        },
    ]


def _pick_forms(properties: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the two ways to write a pick: as reserved, or short with what was picked and the reason."""
    quantity = _not_null(properties["quantity"])
    return [
        {"properties": {"short_reason": _NULL, "quantity": {"anyOf": [{**quantity, "minimum": 1}, _NULL]}}},
        {
            "required": ["quantity", "short_reason"],
            "properties": {"quantity": quantity, "short_reason": _not_null(properties["short_reason"])},
        },
    ]


def _not_null(schema: dict[str, Any]) -> dict[str, Any]:
    return next(part for part in schema["anyOf"] if part.get("type") != "null")

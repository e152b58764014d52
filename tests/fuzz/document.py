"""Walks the whole OpenAPI document with schemathesis, in JSON and MessagePack.

schemathesis makes requests that fit the document and requests that do not, and holds each answer to it: the
status, the content type, headers and body must be documented, nothing may fail on our side, what fits must be
taken and what does not must be refused. Beside its checks, a problem's code must be one that its route names.
"""

import logging
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import msgspec
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from schemathesis.engine.recorder import ScenarioRecorder

from tests.fuzz.tally import Tally

PHASES = ("examples", "coverage", "fuzzing", "stateful")
_SHOWN_MAX = 600


@schemathesis.serializer("application/msgpack")
def _packed(_: Any, value: Any) -> bytes:
    return msgspec.msgpack.encode(_fitting(value))


def _fitting(value: Any) -> Any:
    """Return a value whose integers MessagePack can carry: those beyond are floats, as wrong as they were."""
    match value:
        case dict():
            return {name: _fitting(item) for name, item in value.items()}
        case list():
            return [_fitting(item) for item in value]
        case int() if not -(2**63) <= value < 2**64:
            return float(value) if abs(value) < 2**1023 else float("inf")
        case _:
            return value


@schemathesis.deserializer("application/msgpack", "application/problem+msgpack")
def _unpacked(_: Any, response: Any) -> Any:
    return msgspec.msgpack.decode(response.content)


class UndocumentedCode(AssertionError):
    """A problem's code that the document does not name for this status of this route."""


@schemathesis.check
def documented_code(_: Any, response: Any, case: Any) -> None:
    """Hold a problem's code to the examples of its status."""
    if response.status_code < 400 or case.method.upper() != case.operation.method.upper():
        return
    told = case.operation.definition.raw["responses"].get(str(response.status_code), {}).get("content", {})
    codes = told.get("application/problem+json", {}).get("examples", {})
    is_packed = "msgpack" in response.headers["content-type"][0]
    code = (msgspec.msgpack if is_packed else msgspec.json).decode(response.content)["code"]
    if code not in codes:
        raise UndocumentedCode(f"{response.status_code} {code} is not documented: {', '.join(codes)}")


def walk(tally: Tally, token: str, *, app: Any = None, url: str = "", phases: tuple[str, ...]) -> None:
    """Walk the document of an application in this process, or of a server; count its answers.

    `tally.cases` is how many requests of each route are made up, beside those that follow from the document
    alone. Raises AssertionError with every way in which an answer did not fit.
    """
    logging.getLogger("binkeeper.api").setLevel(logging.CRITICAL)
    headers = {"Authorization": f"Bearer {token}"}
    config = SchemathesisConfig.from_dict(
        {
            "seed": tally.seed,
            "headers": headers,
            "continue-on-failure": True,
            "generation": {"max-examples": tally.cases, "no-shrink": True},
            "phases": {name: {"enabled": name in phases} for name in PHASES},
        }
    )
    if app is not None:
        schema = schemathesis.openapi.from_asgi("/openapi.json", app, config=config, headers=headers)
    else:
        schema = schemathesis.openapi.from_url(f"{url}/openapi.json", config=config, headers=headers)
    failures: dict[str, list[str]] = defaultdict(list)
    for event in from_schema(schema).execute():
        if isinstance(event, events.FatalError):
            raise event.exception
        if isinstance(event, events.NonFatalError):
            failures[f"{event.label}: not tested"].append(str(event.info))
        if isinstance(event, events.ScenarioFinished):
            _count(tally, event.recorder)
            for what, shown in _failures(event.recorder):
                failures[what].append(shown)
    told = "\n".join(f"{len(shown)} x {what}\n{shown[0]}\n" for what, shown in failures.items())
    again = f"FUZZ_SEED={tally.seed} FUZZ_CASES={tally.cases}"
    assert not failures, f"{told}\nrepeat by: {again}, or by --seed and --cases"


def _count(tally: Tally, recorder: ScenarioRecorder) -> None:
    for interaction in recorder.interactions.values():
        if interaction.response is None:
            tally.count("no answer", "cut")
            continue
        sent = interaction.request.headers.get("Content-Type", ["no body"])[0]
        tally.count(f"{interaction.request.method} {sent}", f"{interaction.response.status_code // 100}xx")


def _is_beyond_the_document(check: str, interaction: Any) -> bool:
    """Whether an answer is right by a rule that JSON Schema cannot say, seen from what was sent.

    Everything that is excused here has its own test in tests/component/api.
    """
    if interaction.response is None or check not in ("positive_data_acceptance", "negative_data_rejection"):
        return False
    answer = _read(interaction.response.content, interaction.response.headers)
    if check == "negative_data_rejection":  # A batch is taken, and what is wrong in it refused one by one.
        results = answer.get("results", ())
        return interaction.request.uri.endswith("/v1/batch") and any(one["status"] == 422 for one in results)
    if answer.get("code") in _ONLY_KNOWN_HERE:
        return True
    for error in answer.get("errors", ()):
        detail = error.get("detail", "")
        if error.get("parameter") == "as_of" and "Expected a sequence number" in detail:
            return True  # Such as the 30th of February.
        if "printable" in detail:
            return _has_unprintable(_sent_texts(interaction.request))
        if "got `float`" in detail:  # JSON Schema takes 1.0 for a whole number, and we do not.
            return b".0" in interaction.request.body or b"\xcb" in interaction.request.body
        if "another location than `from`" in detail:
            body = _read(interaction.request.body, interaction.request.headers)
            return bool(body["from"] == body["to"])
    return False


_ONLY_KNOWN_HERE = ("idempotency_key_reused", "invalid_cursor", "as_of_in_future", "as_of_too_early")


def _read(content: bytes, headers: dict[str, list[str]]) -> Any:
    said = {name.lower(): values[0] for name, values in headers.items()}.get("content-type", "")
    return (msgspec.msgpack if "msgpack" in said else msgspec.json).decode(content)


def _sent_texts(request: Any) -> list[str]:
    """Return the texts of a request: its address, and all that its body holds."""
    texts = [unquote(request.uri)]
    left = [_read(request.body, request.headers)] if request.body else []
    while left:
        value = left.pop()
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, dict | list):
            left += value.values() if isinstance(value, dict) else value
    return texts


def _has_unprintable(texts: list[str]) -> bool:
    return any(
        unicodedata.category(character)[0] in "CZ" and character != " "
        for text in texts
        for character in text
    )


def _failures(recorder: ScenarioRecorder) -> Iterator[tuple[str, str]]:
    for case_id, checks in recorder.checks.items():
        for check in checks:
            if check.failure_info is None:
                continue
            failure = check.failure_info.failure
            interaction = recorder.interactions.get(case_id)
            if interaction is not None and _is_beyond_the_document(check.name, interaction):
                continue
            shown = [f"{failure.title}: {failure.message}"[:_SHOWN_MAX]]
            if interaction is not None:
                request, response = interaction.request, interaction.response
                shown.append(f"{request.method} {request.uri} {request.body!r}"[:_SHOWN_MAX])
                if response is not None:
                    shown.append(f"{response.status_code} {response.content!r}"[:_SHOWN_MAX])
            yield f"{recorder.label}: {check.name}", "\n".join(shown)

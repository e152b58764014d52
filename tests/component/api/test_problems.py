"""Faults and errors of ours, as problems."""

import pytest

from actors.outcomes import LedgerRefused, OutcomeUnknown, Overloaded, Unavailable
from api.problems import MEANINGS, Code, Problem, problem_of_refusal
from engine.refusals import Refusal, refused
from persistence.ports import Fault
from tests.component.api.world import World

LINE = {"site": "berlin", "sku": "apple", "quantity": 1}


@pytest.mark.parametrize(
    "fault, status, code, wait",
    [
        (Overloaded(1500), 429, "overloaded", "2"),
        (Overloaded(10), 429, "overloaded", "1"),
        (Unavailable("x"), 503, "unavailable", "1"),
        (LedgerRefused("x"), 503, "unavailable", "60"),
        (OutcomeUnknown("x"), 504, "outcome_unknown", None),
    ],
)
async def test_a_fault_says_whether_something_happened_and_when_to_try_again(
    world: World, fault: Fault, status: int, code: str, wait: str | None
) -> None:
    world.gateway.fault = fault
    replies = [
        await world.post("/v1/reservations", LINE, headers={"Idempotency-Key": "k"}),
        await world.post("/v1/stock/receive", {**LINE, "location": "A"}),
        await world.get("/v1/stock/berlin/apple"),
    ]
    for reply in replies:
        assert (reply.status, reply.code, reply.headers.get("retry-after")) == (status, code, wait)
    assert replies[0].headers["idempotency-key"] == "k"
    batch = await world.post("/v1/batch", {"operations": [{"op": "reserve", **LINE}, {"op": "receive"}]})
    assert [(result["status"], result["code"]) for result in batch.body["results"]] == [
        (status, code), (422, "missing_field"),
    ]  # fmt: skip


async def test_a_ledger_that_is_refused_is_named_to_callers(world: World) -> None:
    where = "Partition 7 is not served: its ledger does not hold at entry 12: it is missing."
    world.gateway.fault = LedgerRefused(where)
    reply = await world.get("/v1/stock/berlin/apple")
    assert reply.body["detail"] == f"{where} Nothing happened."
    world.gateway.fault = Unavailable("password is swordfish")
    assert "swordfish" not in (await world.get("/v1/stock/berlin/apple")).body["detail"]


async def test_an_error_of_ours_is_told_without_its_details(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def explode(*_: object) -> None:
        message = "password is swordfish"
        raise RuntimeError(message)

    monkeypatch.setattr(world.gateway, "query", explode)
    reply = await world.get("/v1/stock/berlin/apple")
    assert (reply.status, reply.code) == (500, "internal_error")
    assert b"swordfish" not in reply.raw
    assert "swordfish" in caplog.text


async def test_every_refusal_and_code_has_a_meaning_of_its_own() -> None:
    assert set(MEANINGS) == set(Code) | set(Refusal)
    assert len({meaning.title for meaning in MEANINGS.values()}) == len(MEANINGS)
    assert all(400 <= meaning.status < 600 for meaning in MEANINGS.values())


@pytest.mark.parametrize("code", list(Refusal))
async def test_every_refusal_makes_a_problem_with_or_without_its_fields(code: Refusal) -> None:
    bare = problem_of_refusal(refused(code)).body("/x")
    assert (bare["code"], bare["type"]) == (code, f"urn:binkeeper:problem:{code}")
    assert bare["detail"]
    full = problem_of_refusal(refused(code, requested=5, available=3, state="picked", lot=None)).body()
    assert (full["requested"], full["state"]) == (5, "picked")
    assert "lot" not in full


async def test_a_field_never_hides_a_standard_member() -> None:
    problem = Problem(Code.INVALID_VALUE, "x")
    problem.fields["status"] = 5
    assert problem.body()["status"] == 422

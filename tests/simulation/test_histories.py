"""Histories with faults: clean, and each fault does harm. Long: `make simulate`."""

from dataclasses import replace

import pytest

from simulation.coverage import counted, never_happened
from simulation.mutants import MUTANTS
from simulation.plan import FAULTS, KINDS, Fault, last_round, plan
from simulation.run import run

FOUND = (20, 25, 46, 62, 70, 1060, 1177, 1505)
"""Seeds that once found a bug. The code has changed since, and what they lead to as well."""


@pytest.mark.parametrize("seed", FOUND)
def test_a_history_with_faults_keeps_every_promise(seed: int) -> None:
    result = run(plan(seed, 500))
    assert result.violation is None
    assert result.answers > 300
    assert result.faults > 0


def test_a_history_without_faults_is_answered_at_once() -> None:
    result = run(plan(3, 300, faults=False))
    assert result.violation is None
    assert result.virtual_s < 15


def test_after_the_last_fault_everything_is_answered_soon_under_load() -> None:
    result = run(plan(11, 600, calm_after=300))
    assert result.violation is None
    assert result.faults > 0
    assert all(fault.after < 300 for fault in result.plan.faults)


def test_a_request_that_is_not_answered_after_the_last_fault_is_blamed_in_seconds() -> None:
    (mutant,) = [mutant for mutant in MUTANTS if "no move" in mutant.name]
    calm = replace(plan(1, 300), faults=(Fault(0, "gateway_clock_steps"),), calm_after=1)
    with mutant.patch():
        found = run(calm)
    assert str(found.violation).startswith("liveness: not answered for")
    assert found.virtual_s < 45


def test_every_kind_of_request_is_sent_to_every_sku_and_through_every_gateway() -> None:
    steps = last_round(7, 4)
    asked = [operation for step in steps for operation in step]
    kinds = {operation.kind for operation in asked}
    assert kinds == set(KINDS)
    for kind in kinds:
        of_kind = [operation for operation in asked if operation.kind == kind]
        assert {operation.skus[0] for operation in of_kind} == set(range(7))
        assert {operation.gateway for operation in of_kind} == set(range(4))


COME = (
    "answer of the database lost",
    "commit cancelled, its outcome unknown",
    "commit late",
    "commit refused",
    "commit without an answer",
    "cut after a frame",
    "cut before a frame",
    "cut within a frame",
    "host restarted after its ledger was mended",
    "request of a host that is cut off",
    "request refused, the ledger does not hold",
    "row harmed as its owner died",
    "snapshot rebuilt after a row was harmed",
    "stream message forgotten",
)
"""What comes of each fault once, in most orders; the rest needs many histories."""


def test_each_fault_that_is_claimed_does_harm_and_each_kind_of_entry_is_made() -> None:
    results = []
    for seed in range(1, 6):
        troubles = tuple(
            Fault(20 + 24 * place, kind, place + seed, 1.0 + seed, 0.9, 10 * place)
            for place, kind in enumerate(sorted(FAULTS, key=lambda kind: (kind == "harm_snapshot", kind)))
        )
        result = run(replace(plan(seed, 700), faults=troubles))
        assert result.violation is None
        results.append(result)
    counts = counted(results)
    assert all(counts["faults_by_kind"].values())
    assert all(counts["entries_by_kind"].values())
    assert {what for what in COME if not counts["effects"][what]} == set()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_request_fails_because_partitions_move_on_purpose(seed: int) -> None:
    wishes = tuple(Fault(after, "wish", seed, size=0.1) for after in (20, 700))
    result = run(replace(plan(seed, 900), faults=wishes))
    assert result.violation is None
    assert result.unknown == 0
    assert result.effects["partition moved as it was wished"] == 2


def test_a_request_that_fails_because_partitions_move_is_blamed() -> None:
    (mutant,) = [mutant for mutant in MUTANTS if "sent away" in mutant.name]
    moves = tuple(Fault(60 * place, "hand_over", place, size=0.9) for place in range(1, 10))
    with mutant.patch():
        found = {str(run(replace(plan(seed, 600), faults=moves)).violation) for seed in range(1, 6)}
    assert any("fails while nothing goes wrong" in violation for violation in found)


HARM = (Fault(400, "harm_ledger", 3, 1.0),)


def test_an_entry_that_is_harmed_is_named_until_it_is_put_right() -> None:
    result = run(replace(plan(2, 600), faults=HARM))
    assert result.violation is None
    assert result.effects["request refused, the ledger does not hold"] > 0
    assert result.effects["host restarted after its ledger was mended"] == 1


def test_a_ledger_that_does_not_hold_and_is_served_is_blamed() -> None:
    (mutant,) = [mutant for mutant in MUTANTS if "does not hold is served" in mutant.name]
    with mutant.patch():
        assert mutant.is_named_by(run(replace(plan(2, 600), faults=HARM)).violation)


@pytest.mark.parametrize("chance", range(0, 24, 2))
def test_a_row_that_is_harmed_is_noticed_and_the_partition_rebuilt(chance: int) -> None:
    harm = Fault(500, "harm_snapshot", chance, size=chance / 10_000)
    result = run(replace(plan(2, 550), faults=(harm,)))
    assert result.violation is None
    assert result.effects["snapshot rebuilt after a row was harmed"] > 0


def test_what_never_happened_is_told() -> None:
    counts = counted([run(plan(3, 50, faults=False))])
    assert {"kill_host", "frame late, its sender has sent it again"} <= set(never_happened(counts))
    assert "stock_received" not in never_happened(counts)

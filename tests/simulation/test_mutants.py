"""The judge is awake: it finds bugs that are seeded on purpose. All of them: `make simulate-mutants`."""

import pytest

from simulation.mutants import MUTANTS
from simulation.plan import plan
from simulation.run import run
from simulation.shrink import shrink


@pytest.mark.parametrize(
    "name",
    [
        "answers leave before",
        "keys are not recovered",
        "picked units",
        "cursor",
        "one unit more",
        "stocks are not found",
        "holds are refused",
        "forgets a stock",
        "without its last bin",
        "left alone",
        "old states",
        "check the claim",
        "client's clock",
        "another machine's clock",
        "held units",
        "expire early",
        "tail is not applied",
        "no move",
        "changes of shares do nothing",
        "again without a key",
        "never reserved together",
        "a part is a unit less",
        "for all but receives",
        "variance",
        "lots are not broadcast",
        "never looks",
        "have another state",
        "takes the smallest ones",
        "an expired lot is reserved",
        "latest date first",
        "lacks a reservation",
        "snapshot are not compared",
    ],
)
def test_a_seeded_bug_is_found(name: str) -> None:
    (mutant,) = [mutant for mutant in MUTANTS if name in mutant.name]
    with mutant.patch():
        assert any(mutant.is_named_by(run(plan(seed)).violation) for seed in range(1, 25))
    assert run(plan(1, 200)).violation is None


def test_a_failing_history_is_cut_down() -> None:
    (mutant,) = [mutant for mutant in MUTANTS if "answers leave before" in mutant.name]
    with mutant.patch():
        found = shrink(run(plan(1, 200)), 40)
    assert found.violation is not None
    assert len(found.plan.operations) < 20


def test_there_are_more_seeded_bugs_than_a_dozen_each_with_a_name_of_its_own() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 12

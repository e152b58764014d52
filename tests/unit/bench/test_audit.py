import pytest

from bench.audit import AuditFailed, Tally, compare, confirm


@pytest.fixture
def tally() -> Tally:
    found = Tally(3)
    found.add({"0": 2, "2": 5}, {})
    found.add({"0": 1}, {"2": 1})
    return found


def test_a_tally_adds_up_what_callers_were_told(tally: Tally) -> None:
    assert tally.acknowledged == [3, 0, 5]
    assert tally.unknown == [0, 0, 1]


@pytest.mark.parametrize("last", [5, 6])
def test_an_unknown_outcome_may_have_happened_or_not(tally: Tally, last: int) -> None:
    assert compare(tally, [3, 0, last], [3, 0, last]) == []


@pytest.mark.parametrize(
    "engine, ledger, complaint",
    [
        ([2, 0, 5], [2, 0, 5], "bin 0: 3 acknowledged, only 2 reserved"),
        ([3, 1, 5], [3, 1, 5], "bin 1: 0 asked for at most, 1 reserved"),
        ([3, 0, 7], [3, 0, 7], "bin 2: 6 asked for at most, 7 reserved"),
        ([3, 0, 5], [3, 0, 6], "bin 2: 5 reserved in memory, 6 in the ledger"),
    ],
)
def test_what_differs_is_named_by_bin(
    tally: Tally, engine: list[int], ledger: list[int], complaint: str
) -> None:
    assert compare(tally, engine, ledger) == [complaint]


def test_equal_sums_do_not_hide_bins_that_differ(tally: Tally) -> None:
    assert len(compare(tally, [2, 1, 5], [2, 1, 5])) == 2


def test_an_audit_without_problems_says_nothing() -> None:
    confirm("spread", [])


def test_a_failed_audit_shows_the_first_problems_and_how_many_more() -> None:
    with pytest.raises(AuditFailed, match="spread: p0; p1; p2; p3; p4; and 3 more"):
        confirm("spread", [f"p{number}" for number in range(8)])

import pytest

from bench.samples import Rounds, Spread, percentile, rounded


@pytest.mark.parametrize("share, expected", [(0.5, 50), (0.99, 99), (0.991, 100), (1.0, 100), (0.001, 1)])
def test_a_percentile_is_the_sample_that_so_many_do_not_exceed(share: float, expected: int) -> None:
    assert percentile(range(1, 101), share) == expected


def test_every_percentile_of_one_sample_is_that_sample() -> None:
    assert percentile([7.0], 0.01) == percentile([7.0], 0.99) == 7.0


def test_a_percentile_of_nothing_is_a_mistake() -> None:
    with pytest.raises(AssertionError, match="nothing"):
        percentile([], 0.5)


def test_a_spread_is_the_median_with_its_ends() -> None:
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)


def test_ratios_compare_rounds_not_medians() -> None:
    # The machine was twice as slow in the second round: nothing of that is in the ratio.
    assert Spread.of_ratios([100.0, 50.0], [10.0, 5.0]) == Spread(10.0, 10.0, 10.0)


def test_ratios_of_rounds_that_do_not_match_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="shorter"):
        Spread.of_ratios([1.0, 2.0], [1.0])


def test_rounds_give_medians_and_the_ends_of_rates() -> None:
    rounds = Rounds()
    for rate, latency in ((10.0, 1.0), (30.0, 2.0), (20.0, 3.0)):
        rounds.add("lanes_ops_s", rate)
        rounds.add("lanes_p50_ms", latency)
    assert rounds.medians() == {
        "lanes_ops_s": 20.0,
        "lanes_ops_s_min": 10.0,
        "lanes_ops_s_max": 30.0,
        "lanes_p50_ms": 2.0,
    }


def test_rounds_give_ratios_with_their_ends() -> None:
    rounds = Rounds()
    for ours, theirs in ((10.0, 5.0), (30.0, 10.0), (20.0, 20.0)):
        rounds.add("ours_s", ours)
        rounds.add("theirs_s", theirs)
    found = rounds.ratios({"ours_vs_theirs": ("ours_s", "theirs_s")})
    assert found == {"ours_vs_theirs": 2.0, "ours_vs_theirs_min": 1.0, "ours_vs_theirs_max": 3.0}


def test_figures_are_rounded_to_significant_digits() -> None:
    assert rounded(12345.678) == 12350.0
    assert rounded(0.000123456) == 0.0001235

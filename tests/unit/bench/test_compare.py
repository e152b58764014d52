import json
import random
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from bench.compare import (
    Change,
    Comparison,
    as_json,
    chance,
    compare,
    compare_files,
    show_comparison,
    smaller_is_better,
    verdict,
)
from bench.result import NotAResult, Result, write
from tests.unit.bench.made_up import made_up, quick

_TRIALS = 1_000


def changes(comparison: Comparison) -> dict[str, Change]:
    return {change.name: change for change in comparison.changes}


def share_called(rounds: tuple[int, int], noise: float, factor: float, seed: int = 7) -> float:
    """How often a change is called, of runs whose values differ by a factor and noise."""
    source = random.Random(seed)
    called = 0
    for _ in range(_TRIALS):
        before, after = (
            [scale * source.lognormvariate(0, noise) for _ in range(count)]
            for scale, count in zip((100.0, 100.0 * factor), rounds, strict=True)
        )
        called += verdict(before, after, is_smaller_better=False) != "no difference shown"
    return called / _TRIALS


@pytest.mark.parametrize(
    "rounds, noise",
    [
        *(((least, most), 0.1) for least, most in ((2, 2), (2, 3), (2, 5), (3, 3), (3, 5), (4, 4), (4, 6))),
        *(((3, 3), noise) for noise in (0.03, 0.4)),
        *(((5, 5), noise) for noise in (0.03, 0.1, 0.4)),
    ],
)
def test_noise_alone_is_hardly_ever_called_a_change(rounds: tuple[int, int], noise: float) -> None:
    # 5 % of 1,000 trials, and three standard deviations of such a count.
    assert share_called(rounds, noise, 1.0) <= 0.05 + 0.021


@pytest.mark.parametrize("rounds", [3, 4, 5])
def test_a_fifth_more_is_found_where_there_is_little_noise(rounds: int) -> None:
    assert share_called((rounds, rounds), 0.02, 1.2) > 0.99


@pytest.mark.parametrize("rounds", [2, 3, 4, 5])
def test_three_per_cent_more_are_not_found_in_ten_per_cent_of_noise(rounds: int) -> None:
    assert share_called((rounds, rounds), 0.1, 1.03) < 0.1


def test_one_round_says_nothing_and_a_tiny_change_is_not_called() -> None:
    assert verdict([1.0], [100.0], is_smaller_better=False) == "no difference shown"
    assert verdict([1.0], [100.0, 101.0, 102.0], is_smaller_better=False) == "no difference shown"
    steady = [100.0, 100.1, 99.9, 100.05, 99.95]
    assert (
        verdict(steady, [value * 1.015 for value in steady], is_smaller_better=False) == "no difference shown"
    )
    assert verdict(steady, [value * 1.025 for value in steady], is_smaller_better=False) == "better"
    assert verdict([0.0, 0.0], [1.0, 1.0], is_smaller_better=False) == "no difference shown"


def test_less_is_better_for_costs() -> None:
    few, many = [10.0, 10.1, 9.9], [20.0, 20.2, 19.8]
    assert verdict(few, many, is_smaller_better=True) == "worse"
    assert verdict(many, few, is_smaller_better=True) == "better"
    assert verdict(many, few, is_smaller_better=False) == "worse"


@pytest.mark.parametrize(
    "name, expected",
    [
        ("lanes_spread_ops_s", False),
        ("copy_rows_s", False),
        ("alone_p50_ms", True),
        ("lanes_spread_rest_s", True),
        ("lanes_spread_cpu_us_host", True),
        ("bytes_per_bin_1m", True),
        ("commit_entries", None),
    ],
)
def test_the_unit_says_which_direction_is_good(name: str, expected: bool | None) -> None:
    assert smaller_is_better(name) is expected


def test_chance_counts_the_deals_that_part_the_means_as_far() -> None:
    assert chance([1, 2, 3, 4], [5, 6, 7, 8]) == pytest.approx(2 / 70)
    assert chance([1, 2, 3, 4], [1, 2, 3, 4]) == 1
    assert chance([0.1] * 4, [0.1] * 5) == 1
    many = [*range(12)], [*range(100, 112)]
    assert chance(*many) == pytest.approx(1 / 20_001)
    assert chance(*many) == chance(*many)


def test_ratios_come_first_then_rates_then_what_is_measured_once() -> None:
    found = compare(made_up(noise=0.01), made_up(noise=0.01, ours=1.2))
    kinds = [change.kind for change in found.changes]
    assert kinds == sorted(kinds, key=["ratio", "rate", "once"].index)
    by_name = changes(found)
    assert by_name["lanes_spread_vs_procedure"].verdict == "better"
    assert by_name["lanes_spread_vs_procedure"].change_pct == pytest.approx(20, abs=2)
    assert by_name["alone_vs_commit"].verdict == by_name["alone_p50_ms"].verdict == "better"
    assert by_name["lanes_spread_ops_s"].verdict == "better"
    assert by_name["copy_rows_s"].verdict == "no difference shown"
    assert by_name["bytes_per_bin_1m"].kind == "once"
    assert by_name["bytes_per_bin_1m"].verdict == "no difference shown"
    assert len(by_name) == len(kinds)
    assert found.differs == []


def test_throughput_that_is_not_among_the_rounds_is_compared_as_well() -> None:
    before, after = made_up(noise=0.01), made_up(noise=0.01, ours=0.8)
    for result in (before, after):
        result.ratios = {}
        result.rounds = {}
    assert (
        changes(compare(before, after))["Binkeeper, lanes, spread, 256 in flight, ops_s"].verdict == "worse"
    )


def test_a_ratio_made_of_other_measures_is_not_compared() -> None:
    after = made_up()
    after.ratios = {**after.ratios, "lanes_vs_copy": ("lanes_hot_ops_s", "copy_rows_s")}
    assert "lanes_vs_copy" not in {
        change.name for change in compare(made_up(), after).changes if change.kind == "ratio"
    }


def other_python(result: Result) -> None:
    result.machine = {**result.machine, "python": "3.14.0", "load_before": 3.0, "commit": "def5678"}


def other_plan(result: Result) -> None:
    result.plan = {**result.plan, "bins": 2_000}


def other_kind(result: Result) -> None:
    result.quick = True


@pytest.mark.parametrize(
    "change, said",
    [
        (other_python, "machine: python: 3.11.2 before, 3.14.0 after"),
        (other_plan, "plan: bins: 10000 before, 2000 after"),
        (other_kind, "plan: quick: False before, True after"),
    ],
)
def test_what_was_not_the_same_is_said_first(change: Callable[[Result], None], said: str) -> None:
    after = made_up()
    change(after)
    found = compare(made_up(), after)
    assert found.differs == [said]
    output = StringIO()
    show_comparison(found, Console(file=output, width=100))
    lines = output.getvalue().splitlines()
    assert next(place for place, line in enumerate(lines) if said in line) < lines.index(
        next(line for line in lines if "Ratios" in line)
    )


@pytest.mark.parametrize("width", [80, 140])
def test_the_tables_fit(width: int) -> None:
    output = StringIO()
    show_comparison(compare(made_up(), made_up(seed=2, ours=1.3)), Console(file=output, width=width))
    text = output.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for expected in ("better", "no difference shown", "figures are called changed", "plan: seed: 1"):
        assert expected in text


def test_files_and_folders_are_compared_and_told_as_json(tmp_path: Path) -> None:
    first = write(made_up(), tmp_path / "a")
    second = write(quick(), tmp_path / "b")
    found = compare_files(first.parent, second)
    plain = json.loads(as_json(found))
    assert plain["changes"][0]["name"] == "lanes_spread_vs_procedure"
    assert plain["changes"][0]["rounds"] == [5, 2]
    assert "plan: quick: False before, True after" in plain["differs"]
    assert msgspec.convert(plain, Comparison) == found


def test_a_file_that_is_no_result_is_an_error(tmp_path: Path) -> None:
    write(made_up(), tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "result.json").write_text('{"format": 9}')
    with pytest.raises(NotAResult, match="format 9"):
        compare_files(tmp_path / "a", tmp_path / "b")
    with pytest.raises(NotAResult, match="no such file"):
        compare_files(tmp_path / "a", tmp_path / "c")


def test_results_that_share_nothing_have_no_changes() -> None:
    bare = Result(date="2026-11-23T04:00:00Z", seconds=1.0, quick=True, seed=1, commit="abc1234", audits=0)
    found = compare(bare, made_up())
    assert found.changes == []
    output = StringIO()
    show_comparison(found, Console(file=output, width=100))
    assert "0 of 0 figures" in output.getvalue()

from typing import Any

import msgspec
import pytest

from bench.peers_at_load import peers_at_75
from bench.result import Latency, Result, Throughput
from bench.targets import TARGETS, Target, Verdict, judge
from tests.unit.bench.made_up import made_up


def verdict(key: str, result: Result) -> Verdict:
    return next(found for found in judge(result) if found.target.key == key)


def changed(**figures: Any) -> Result:
    result = made_up()
    result.figures = {**result.figures, **figures}
    return result


def test_keys_are_told_apart() -> None:
    assert len({target.key for target in TARGETS}) == len(TARGETS)


@pytest.mark.parametrize(
    "key, value, expected",
    [
        ("throughput_1m_vs_1k", 0.9, "holds"),
        ("throughput_1m_vs_1k", 0.899, "falls short"),
        ("bytes_per_bin_1m", 1_024, "holds"),
        ("bytes_per_bin_1m", 1_025, "falls short"),
        ("broadcast_p99_ms_at_50", 25.0, "holds"),
        ("broadcast_p99_ms_at_50", 25.1, "falls short"),
        ("cpu_s_per_million", 1e9, "shown"),
        ("cpu_s_per_million", None, "not measured"),
        ("bytes_per_bin_1m", None, "not measured"),
    ],
)
def test_a_bound_is_the_least_or_the_most(key: str, value: float | None, expected: str) -> None:
    assert verdict(key, changed(**{key: value})).state == expected


def test_a_ratio_is_judged_by_its_median_over_the_rounds() -> None:
    result = made_up()
    result.rounds = {
        **result.rounds,
        "lanes_spread_ops_s": [90.0, 80.0, 10.0, 79.0, 100.0],
        "procedure_spread_ops_s": [10.0] * 5,
    }
    found = verdict("lanes_spread_vs_procedure", result)
    assert found.spread is not None
    assert (found.spread.least, found.spread.median, found.spread.most) == (1.0, 8.0, 10.0)
    assert found.state == "holds"


def test_a_figure_without_rounds_has_the_ends_that_it_came_with() -> None:
    found = verdict("actor_per_bin", changed(actor_per_bin_min=900.0, actor_per_bin_max=960.0))
    assert found.spread is not None
    assert (found.spread.least, found.spread.median, found.spread.most) == (900.0, 940.0, 960.0)


def test_a_bound_is_told_in_words() -> None:
    assert [
        target.must_be
        for target in (Target("a", "", 1_024), Target("a", "", 0.5, is_most=True), Target("a", ""))
    ] == ["at least 1,024", "at most 0.5", "shown"]


def with_peer(*loaded: tuple[float, float], capacity_s: float) -> Result:
    """Lanes have a p99 of 10 ms at 20,000 a second; the peer's rows are (offered, p99)."""
    result = made_up()
    result.figures = {**result.figures, "lanes_p99_ms_at_75": 10.0}
    result.throughput = [
        Throughput(contender="Peer", workload="spread", in_flight=256, rounds=[capacity_s]),
        Throughput(contender="Other", workload="retail", in_flight=256, rounds=[capacity_s]),
    ]
    result.latency_by_load = [
        Latency(
            contender=name, workload="spread", load=0.75, offered_s=offered, accepted_s=offered, p99_ms=p99_ms
        )
        for name, offered, p99_ms in (
            ("Binkeeper, lanes", 20_000.0, 10.0),
            ("Binkeeper, HTTP", 20_000.0, 1.0),
            *(("Peer", offered, p99_ms) for offered, p99_ms in loaded),
        )
    ]
    return result


@pytest.mark.parametrize(
    "loaded, capacity_s, expected, state",
    [
        ([(19_000.0, 11.0)], 30_000.0, "lanes are lower", "holds"),
        ([(19_000.0, 9.0)], 30_000.0, "the peer is lower", "falls short"),
        ([(19_000.0, 10.0)], 30_000.0, "the peer is lower", "falls short"),
        ([(10_000.0, 2.0), (19_500.0, 12.0), (30_000.0, 40.0)], 33_000.0, "lanes are lower", "holds"),
        ([(30_000.0, 8.0)], 33_000.0, "the peer is lower", "falls short"),
        ([(30_000.0, 80.0)], 33_000.0, "not measured there", "holds"),
        ([(10_000.0, 11.0)], 33_000.0, "lanes are lower", "holds"),
        ([(10_000.0, 2.0)], 12_000.0, "cannot carry it", "holds"),
        ([], 33_000.0, "not measured there", "holds"),
    ],
)
def test_a_peer_is_compared_at_the_load_of_lanes(
    loaded: list[tuple[float, float]], capacity_s: float, expected: str, state: str
) -> None:
    result = with_peer(*loaded, capacity_s=capacity_s)
    (peer,) = peers_at_75(result)
    assert (peer.contender, peer.state) == ("Peer", expected)
    found = verdict("lanes_p99_ms_at_75", result)
    assert found.state == state
    assert ("Peer" in found.remark) == (state == "falls short")


def test_without_lanes_at_that_load_no_peer_is_compared() -> None:
    result = with_peer((19_000.0, 9.0), capacity_s=30_000.0)
    result.latency_by_load = [msgspec.structs.replace(row, load=0.5) for row in result.latency_by_load]
    assert peers_at_75(result) == []
    assert verdict("lanes_p99_ms_at_75", result).state == "holds"

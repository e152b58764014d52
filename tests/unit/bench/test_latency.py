import random

import pytest

from bench.latency import Latencies
from bench.samples import percentile


def test_percentiles_are_right_to_three_digits() -> None:
    spent_s = [random.Random(1).lognormvariate(-6, 1) for _ in range(10_000)]
    spent_s += [random.Random(2).uniform(0.5, 3) for _ in range(50)]
    figures = Latencies.of(spent_s).figures()
    ordered = sorted(spent_s)
    for name, share in (("p50_ms", 0.5), ("p90_ms", 0.9), ("p99_ms", 0.99), ("p999_ms", 0.999)):
        assert figures[name] == pytest.approx(percentile(ordered, share) * 1000, rel=2e-3)
    assert figures["max_ms"] == pytest.approx(ordered[-1] * 1000, rel=2e-3)


def test_latencies_cross_processes_and_add_up() -> None:
    first, second = Latencies.of([0.001, 0.002]), Latencies.of([1.0])
    both = Latencies.read(first.text())
    both.add(Latencies.read(second.text()))
    assert both.count == 3
    assert both.figures()["max_ms"] == pytest.approx(1000, rel=1e-3)


def test_none_are_no_figures_and_the_longest_count_as_a_minute() -> None:
    assert Latencies().figures() == {}
    assert Latencies.of([3600.0, 0.0]).figures()["max_ms"] == pytest.approx(60_000, rel=1e-3)

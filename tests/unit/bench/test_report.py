from io import StringIO

import pytest
from rich.console import Console

from bench.figures import RATIOS
from bench.report import TARGETS, meets, show

FIGURES = {
    "lanes_vs_copy": 0.3112,
    "lanes_vs_copy_min": 0.09738,
    "lanes_vs_copy_max": 0.3301,
    "lanes_spread_ops_s": 30_123.0,
    "copy_rows_s": 198_000.0,
    "hot_vs_spread": 0.5,
    "http_vs_empty": 0.45,
    "lanes_spread_vs_procedure": 6.0,
    "lanes_hot_vs_procedure": 40.0,
    "alone_vs_commit": 1.6,
    "alone_p50_ms": 1.671,
    "commit_p50_ms": 0.4594,
    "bytes_per_bin": 1_854,
    "recovery_200k_s": 0.6229,
    "cpu": "a processor",
    "audits": 12,
}


def test_every_ratio_has_a_target_made_of_the_same_measures() -> None:
    assert {target.key: (target.ours, target.theirs) for target in TARGETS if target.ours} == RATIOS


@pytest.mark.parametrize(
    "key, value, expected",
    [
        ("lanes_vs_copy", 0.30, True),
        ("lanes_vs_copy", 0.29, False),
        ("alone_vs_commit", 2.0, True),
        ("alone_vs_commit", 2.1, False),
        ("bytes_per_bin", 1_537, False),
    ],
)
def test_a_bound_is_the_least_or_the_most(key: str, value: float, *, expected: bool) -> None:
    target = next(target for target in TARGETS if target.key == key)
    assert meets(target, {key: value}) is expected


@pytest.mark.parametrize("width", [80, 140])
def test_the_table_shows_every_figure_whole(width: int) -> None:
    output = StringIO()
    show(FIGURES, Console(file=output, width=width))
    text = output.getvalue()
    for expected in (
        *(target.key for target in TARGETS),
        "0.0974 0.33",
        "30,123",
        "198,000",
        "1,854",
        "0.623",
        "1.67",
        "a processor",
    ):
        assert expected in text
    assert "…" not in text
    assert "12 audits passed" in text
    assert max(map(len, text.splitlines())) <= width

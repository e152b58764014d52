"""The figures as a table for people."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table


class Target(NamedTuple):
    """A figure that must hold, and the two measures it is made of."""

    key: str
    says: str
    bound: float
    ours: str = ""
    theirs: str = ""
    is_most: bool = False
    """Whether the bound is the most that the figure may be; otherwise it is the least."""


TARGETS = (
    Target(
        "lanes_vs_copy", "reserves by lane / rows of bare COPYs", 0.30, "lanes_spread_ops_s", "copy_rows_s"
    ),
    Target("hot_vs_spread", "one hot bin / spread", 0.85, "lanes_hot_ops_s", "lanes_spread_ops_s"),
    Target("http_vs_empty", "reserves by HTTP / an empty route", 0.40, "http_ops_s", "empty_ops_s"),
    Target(
        "lanes_spread_vs_procedure",
        "lanes / stored procedure, spread",
        5.0,
        "lanes_spread_ops_s",
        "procedure_spread_ops_s",
    ),
    Target(
        "lanes_hot_vs_procedure",
        "lanes / stored procedure, one hot row",
        30.0,
        "lanes_hot_ops_s",
        "procedure_hot_ops_s",
    ),
    Target(
        "alone_vs_commit",
        "one in flight / bare commit, p50 in ms",
        2.0,
        "alone_p50_ms",
        "commit_p50_ms",
        is_most=True,
    ),
    Target("bytes_per_bin", "memory of a resting bin", 1_536, is_most=True),
    Target("recovery_200k_s", "a killed host answers again", 10.0, is_most=True),
)
_WIDE = 120
"""Columns of a terminal that has room for what a figure says."""


def meets(target: Target, figures: Mapping[str, Any]) -> bool:
    """Whether a figure is as good as it must be."""
    value = float(figures[target.key])
    return value <= target.bound if target.is_most else value >= target.bound


def show(figures: Mapping[str, Any], console: Console) -> None:
    """Print the figures with their targets, then everything else that was measured."""
    is_wide = console.width >= _WIDE
    table = Table(title="Binkeeper, measured", title_justify="left", box=SIMPLE, pad_edge=False)
    table.add_column("figure", no_wrap=True)
    if is_wide:
        table.add_column("", no_wrap=True)
    for heading in ("median", "least, most", "must be", "ours", "theirs"):
        table.add_column(heading, justify="right", no_wrap=True)
    for target in TARGETS:
        low, high = figures.get(f"{target.key}_min"), figures.get(f"{target.key}_max")
        colour = "green" if meets(target, figures) else "red"
        table.add_row(
            target.key,
            *([target.says] if is_wide else []),
            f"[{colour}]{_short(figures[target.key])}[/]",
            "" if low is None else f"{_short(low)} {_short(high)}",
            f"{'<=' if target.is_most else '>='}{_short(target.bound)}",
            _short(figures.get(target.ours)),
            _short(figures.get(target.theirs)),
        )
    console.print(table)
    shown = {target.key for target in TARGETS}
    rest = Table(title="Medians of rounds, machine, versions", title_justify="left", box=SIMPLE)
    rest.add_column("measure", no_wrap=True)
    rest.add_column("", no_wrap=True)
    for key, value in figures.items():
        if key not in shown and not key.endswith(("_min", "_max")):
            rest.add_row(key, _short(value))
    console.print(rest)
    console.print(f"{figures['audits']} audits passed: callers, memory and ledger agree, bin by bin.")


def _short(value: Any) -> str:  # noqa: ANN401 - a figure is a number, a text or nothing
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"

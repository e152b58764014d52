"""The figures as a table for people."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table


class Target(NamedTuple):
    """A figure that must hold, and the two measures it is made of."""

    key: str
    says: str
    bound: float
    is_most: bool
    ours: str
    theirs: str


TARGETS = (
    Target("lanes_vs_copy", "reserves through a lane, over rows of bare COPYs", 0.30, False,
           "lanes_spread_ops_s", "copy_rows_s"),
    Target("hot_vs_spread", "the same on one hot bin, over spread", 0.85, False,
           "lanes_hot_ops_s", "lanes_spread_ops_s"),
    Target("http_vs_empty", "reserves over HTTP, over an empty route", 0.40, False, "http_ops_s", "empty_ops_s"),
    Target("lanes_spread_vs_procedure", "lanes over a stored procedure, spread", 5.0, False,
           "lanes_spread_ops_s", "procedure_spread_ops_s"),
    Target("lanes_hot_vs_procedure", "lanes over a stored procedure, one hot row", 30.0, False,
           "lanes_hot_ops_s", "procedure_hot_ops_s"),
    Target("alone_vs_commit", "one in flight: p50 in ms, over a bare commit", 2.0, True,
           "alone_p50_ms", "commit_p50_ms"),
    Target("bytes_per_bin", "memory of a resting bin", 1_536, True, "host_bytes_after", "host_bytes_before"),
    Target("recovery_200k_s", "a killed host: seconds until it answers again", 10.0, True, "", ""),
)  # fmt: skip


def meets(target: Target, figures: Mapping[str, Any]) -> bool:
    """Whether a figure is as good as it must be."""
    value = float(figures[target.key])
    return value <= target.bound if target.is_most else value >= target.bound


def show(figures: Mapping[str, Any], console: Console) -> None:
    """Print the figures with their targets, then everything else that was measured."""
    table = Table(title="Binkeeper, measured", title_justify="left")
    table.add_column("figure")
    table.add_column("", overflow="fold")
    for heading in ("measured", "rounds", "must be", "ours", "theirs"):
        table.add_column(heading, justify="right")
    for target in TARGETS:
        low, high = figures.get(f"{target.key}_min"), figures.get(f"{target.key}_max")
        colour = "green" if meets(target, figures) else "red"
        table.add_row(
            target.key,
            target.says,
            f"[{colour}]{_short(figures[target.key])}[/]",
            "" if low is None else f"{_short(low)} to {_short(high)}",
            f"{'<=' if target.is_most else '>='} {_short(target.bound)}",
            _short(figures.get(target.ours)),
            _short(figures.get(target.theirs)),
        )
    console.print(table)
    shown = {target.key for target in TARGETS}
    rest = Table(
        title="Medians of the rounds, the machine and the versions", title_justify="left", show_header=False
    )
    for key, value in figures.items():
        if key not in shown and not key.endswith(("_min", "_max")):
            rest.add_row(key, _short(value))
    console.print(rest)
    console.print(
        f"{figures['audits']} audits, all passed: what callers were told, memory and ledger agree, bin by bin."
    )


def _short(value: Any) -> str:  # noqa: ANN401 - a figure is a number, a text or nothing
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"

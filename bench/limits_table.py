"""The ceilings of `bench.limits` as a table for people."""

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from bench.limits import RATIOS
from bench.samples import short
from bench.targets import TARGETS


def show_limits(figures: Mapping[str, Any], console: Console) -> None:
    """Print what the figures would be at best, beside what they must be."""
    title = "With a host that decides nothing"
    table = Table(title=title, title_justify="left", box=SIMPLE, pad_edge=False)
    for heading in ("figure", "median", "least, most", "must be"):
        table.add_column(heading, justify="left" if heading == "figure" else "right", no_wrap=True)
    must_be = {target.key: target.must_be for target in TARGETS}
    for key in RATIOS:
        table.add_row(
            key.removeprefix("bare_"),
            short(figures[key]),
            f"{short(figures[f'{key}_min'])} {short(figures[f'{key}_max'])}",
            must_be.get(key.removeprefix("bare_"), ""),
        )
    console.print(table)
    rest = Table(title="Medians of rounds, machine, versions", title_justify="left", box=SIMPLE)
    rest.add_column("measure", no_wrap=True)
    rest.add_column("", no_wrap=True)
    for key, value in figures.items():
        if key not in RATIOS and not key.endswith(("_min", "_max")):
            rest.add_row(key, short(value))
    console.print(rest)

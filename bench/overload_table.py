"""What became of overloads, as a table for people."""

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

_LINES = (
    ("capacity_s", "capacity, requests/s"),
    ("offered_s", "offered/s"),
    ("accepted_s", "accepted/s"),
    ("goodput", "accepted, of capacity"),
    ("capacity_cpu_ms", "CPU ms a request at capacity"),
    ("accepted_cpu_ms", "CPU ms an accepted request"),
    ("load_cores", "cores of the generator"),
    ("offered", "requests of the overload"),
    ("refused", "refused"),
    ("unsent", "no connection free"),
    ("unknown", "outcome unknown"),
    ("before_p99_ms", "p99 before, ms"),
    ("accepted_p99_ms", "p99 of accepted, ms"),
    ("refused_p99_ms", "p99 of refused, ms"),
    ("after_first_s_p99_ms", "p99 in the first second after, ms"),
    ("after_first_s_refused", "refused in that second"),
    ("after_second_s_missed", "not accepted in the next"),
    ("host_peak_mib", "host's peak, MiB more"),
    ("api_peak_mib", "API's peak, MiB more"),
    ("host_grown_mib", "host grew at last, MiB"),
    ("api_grown_mib", "API grew at last, MiB"),
    ("before_missed", "not accepted before it"),
    ("machine_load", "load average of the machine"),
    ("generator_late_ms", "generator late, ms at worst"),
)


def show(rows: Sequence[dict[str, Any]], console: Console) -> None:
    """Print a column for each overload."""
    table = Table(box=SIMPLE, pad_edge=False)
    table.add_column("")
    for row in rows:
        table.add_column(f"{row['door']} x {row['factor']:g}", justify="right")
    for key, title in _LINES:
        table.add_row(title, *(_cell(row[key]) for row in rows))
    console.print(table)


def _cell(value: object) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}"

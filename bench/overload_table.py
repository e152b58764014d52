"""What became of overloads, as a table for people."""

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

_COLUMNS = (
    ("door", "by"),
    ("factor", "times"),
    ("capacity_s", "capacity /s"),
    ("offered_s", "offered /s"),
    ("accepted_s", "accepted /s"),
    ("refused", "refused"),
    ("unsent", "no connection"),
    ("unknown", "unknown"),
    ("accepted_p99_ms", "accepted p99 ms"),
    ("refused_p99_ms", "refused p99 ms"),
    ("after_first_s_p99_ms", "first second after, p99 ms"),
    ("host_grown_mib", "host grew MiB"),
    ("api_grown_mib", "API grew MiB"),
)


def show(rows: Sequence[dict[str, Any]], console: Console) -> None:
    """Print a row for each overload."""
    table = Table(box=SIMPLE, pad_edge=False)
    for _, title in _COLUMNS:
        table.add_column(title, justify="right")
    for row in rows:
        table.add_row(*(_cell(row[key]) for key, _ in _COLUMNS))
    console.print(table)


def _cell(value: object) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value)

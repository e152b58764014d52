"""What runs in a home: its processes, and what the API says about hosts, lag and drift."""

import contextlib
from collections.abc import Sequence
from typing import Any

import httpx
import psutil
from rich.console import Console
from rich.table import Table

from binkeeper.errors import StartError
from binkeeper.home import Home
from binkeeper.orphans import listed_process
from binkeeper.settings import Settings

_TIMEOUT_S = 5.0
_PROCESS_COLUMNS = ("role", "pid", "name", "address")
# The rest that a host tells is for /metrics and --json.
_HOST_COLUMNS = ("host", "address", "partitions", "in_flight", "recovery_ms")


def status(settings: Settings, *, transport: httpx.BaseTransport | None = None) -> dict[str, Any]:
    """`{"processes": [{"role", "pid", ...}], ...}` with what `GET /v1/status` answers beside it.

    `api_error` says why the API's part is missing. Raises StartError when nothing runs.
    """
    home = Home(settings.home)
    processes = [entry for entry in home.read_processes() if _runs(entry)]
    if not processes:
        raise StartError(f"nothing runs in {home.folder}: start it by `binkeeper up`")
    run = home.read_run()
    if not run:
        return {"processes": processes, "api_error": "it is still starting"}
    try:
        with httpx.Client(
            base_url=run["url"], timeout=_TIMEOUT_S, transport=transport, trust_env=False
        ) as client:
            answer = client.get("/v1/status", headers={"Authorization": f"Bearer {run['token']}"})
        answer.raise_for_status()
        told = answer.json()
    except (httpx.HTTPError, KeyError, ValueError) as error:
        return {"url": run.get("url"), "processes": processes, "api_error": str(error)}
    return {"url": run["url"], **told, "processes": processes}


def show(report: dict[str, Any], console: Console) -> None:
    """Prints `report` for a person."""
    console.print(_table("processes", report["processes"], _PROCESS_COLUMNS))
    if "api_error" in report:
        console.print(f"[red]the API does not answer: {report['api_error']}[/]", highlight=False)
    if hosts := report.get("hosts"):
        console.print(_table("hosts", hosts, _HOST_COLUMNS))
    for name, value in report.items():
        if name == "audit_age_s":
            told = "everything was never compared yet" if value is None else f"{value:.0f} s ago"
            console.print(f"{'last audit':<18} {told}", highlight=False)
        elif name not in {"processes", "hosts", "api_error", "partitions_refused"}:
            console.print(f"{name.replace('_', ' '):<18} {value}", highlight=False)
    for refused in report.get("partitions_refused", ()):
        where = f"partition {refused['partition']} is not served: its ledger does not hold at entry"
        console.print(f"[red]{where} {refused['seq']}[/]", highlight=False, soft_wrap=True)
        console.print(f"  {refused['why']}", highlight=False, markup=False, soft_wrap=True)


def _table(title: str, rows: list[dict[str, Any]], columns: Sequence[str]) -> Table:
    """The columns of `columns` that any row has."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    present = [name for name in columns if any(name in row for row in rows)]
    for name in present:
        table.add_column(name.replace("_", " "), no_wrap=True)
    for row in rows:
        table.add_row(*(_cell(row.get(name, "")) for name in present))
    return table


def _cell(value: object) -> str:
    """A list is told by its length, a number without its fractions."""
    if isinstance(value, list):
        return str(len(value))
    return f"{value:.0f}" if isinstance(value, float) else str(value)


def _runs(entry: dict[str, Any]) -> bool:
    with contextlib.suppress(psutil.Error):
        process = listed_process(entry)
        return process is not None and bool(process.status() != psutil.STATUS_ZOMBIE)
    return False

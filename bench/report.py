"""The result for people: a table in the terminal, a page with pictures, and the README's figures."""

from importlib.util import find_spec
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from bench.report_page import ends, figures_row, page, table
from bench.result import Result
from bench.samples import short
from bench.targets import State, judge, told

PAGE_NAME = "report.md"
_BEGIN, _END = "<!-- figures:begin -->", "<!-- figures:end -->"
_WIDE = 120
"""Columns of a terminal that has room for what a figure says."""
_COLOURS: dict[State, str] = {
    "holds": "green",
    "falls short": "red",
    "shown": "default",
    "not measured": "yellow",
}


def show(result: Result, console: Console) -> None:
    """Print the figures with their verdicts, then rates, latencies, and everything else that was measured."""
    _show_verdicts(result, console)
    _show_throughput(result, console)
    _show_latency(result, console)
    _show_rest(result, console)
    for row in result.not_run:
        console.print(f"Not run: {row.contender}: {row.why}", markup=False, highlight=False)
    console.print(f"{result.audits} audits passed: callers and storage agree, bin by bin.", highlight=False)


def write_report(result: Result, folder: Path) -> Path:
    """Write the page and its pictures into a folder, which is made if it is not there; return the page.

    Without matplotlib, which is a development tool, the page has no pictures and says so.
    """
    folder.mkdir(parents=True, exist_ok=True)
    has_plots = find_spec("matplotlib") is not None and find_spec("hdrh") is not None
    if has_plots:
        from bench.plots import draw  # noqa: PLC0415 - matplotlib is slow to import, and a development tool

        text = page(result, draw(result, folder))
    else:
        text = page(result, ()) + "\nThere are no pictures: matplotlib is not installed.\n"
    path = folder / PAGE_NAME
    path.write_text(text, encoding="utf-8")
    return path


def readme_figures(result: Result, report: str) -> str:
    """Return the README's table of figures with its markers; `report` is where the page is, from there."""
    rows = [figures_row(verdict) for verdict in judge(result)]
    spreads = [result.rounds[sides[0]] for sides in result.ratios.values()]
    rounds = f"medians of {min(map(len, spreads))} rounds, " if spreads else ""
    lines = table(("Figure", "Is", "Measured", "Least to most", "Must be"), rows, words=2)
    caption = (
        f"{result.machine.get('cpu', 'A machine')}, {result.machine.get('cores', '?')} cores,"
        f" {result.date[:10]}, commit {result.commit}; {rounds}{result.audits} audits passed."
        f" **Bold figures fall short.** The [report]({report}) has the rest."
    )
    return "\n".join([_BEGIN, *lines, caption, _END])


def with_figures(readme: str, result: Result, report: str) -> str:
    """Return a README with its figures replaced. Raises ValueError where it has no markers."""
    before, begin, rest = readme.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"no place for figures, between {_BEGIN} and {_END}")
    return before + readme_figures(result, report) + after


def _show_verdicts(result: Result, console: Console) -> None:
    is_wide = console.width >= _WIDE
    title = f"Binkeeper, measured {result.date[:10]} at {result.commit}{', quickly' if result.quick else ''}"
    found = Table(title=title, title_justify="left", box=SIMPLE, pad_edge=False)
    found.add_column("figure", no_wrap=True)
    if is_wide:
        found.add_column("", no_wrap=True)
    for heading in ("median", "least, most", "must be"):
        found.add_column(heading, justify="right", no_wrap=True)
    found.add_column("", no_wrap=True)
    verdicts = judge(result)
    for verdict in verdicts:
        target, spread = verdict.target, verdict.spread
        bound = "" if target.bound is None else f"{'<=' if target.is_most else '>='}{short(target.bound)}"
        found.add_row(
            target.key,
            *([target.says] if is_wide else []),
            "" if spread is None else short(spread.median),
            ends(spread).replace(" to ", " "),
            bound,
            f"[{_COLOURS[verdict.state]}]{verdict.state}[/]",
        )
    console.print(found)
    for verdict in verdicts:
        if verdict.remark:
            console.print(f"{verdict.target.key}: {verdict.remark}", markup=False, highlight=False)
    console.print(told(verdicts), highlight=False)


def _show_throughput(result: Result, console: Console) -> None:
    if not result.throughput:
        return
    found = _table("Closed loop: operations a second, latencies in ms", "contender", "workload")
    for heading in ("in flight", "ops/s", "least, most", "p50", "p99"):
        found.add_column(heading, justify="right", no_wrap=True)
    for row in result.throughput:
        found.add_row(
            row.contender,
            row.workload,
            short(row.in_flight),
            short(row.spread.median),
            ends(row.spread).replace(" to ", " "),
            short(row.latencies.p50_ms),
            short(row.latencies.p99_ms),
        )
    console.print(found)


def _show_latency(result: Result, console: Console) -> None:
    if not result.latency_by_load:
        return
    found = _table("Open loop: latencies in ms from when a request was due", "contender", "workload")
    for heading in ("load", "offered/s", "p50", "p99", "p99.9", "max"):
        found.add_column(heading, justify="right", no_wrap=True)
    for row in result.latency_by_load:
        values = (row.offered_s, row.p50_ms, row.p99_ms, row.p999_ms, row.max_ms)
        found.add_row(row.contender, row.workload, f"{row.load:.0%}", *map(short, values))
    console.print(found)


def _show_rest(result: Result, console: Console) -> None:
    shown = {verdict.target.key for verdict in judge(result)}
    rest = _table("Other figures, machine, versions", "measure", "")
    for name, value in {**result.figures, **result.machine}.items():
        if name not in shown and not name.endswith(("_min", "_max")):
            rest.add_row(name, short(value))
    console.print(rest)


def _table(title: str, *words: str) -> Table:
    found = Table(title=title, title_justify="left", box=SIMPLE, pad_edge=False)
    for heading in words:
        found.add_column(heading, overflow="fold")
    return found

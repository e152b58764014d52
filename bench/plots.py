"""The pictures of a result, as SVG: the same bytes for the same result.

matplotlib is among the development tools, so whoever imports this does it where the pictures are made.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from math import floor, log10
from pathlib import Path
from typing import Any, TypeVar

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from bench.latency import Latencies
from bench.plot_style import (
    COLOURS,
    LOG_FROM,
    OUR_COLOUR,
    STYLE,
    THEIR_COLOUR,
    WIDTH,
    columns,
    flat,
    looks,
    with_commas,
)
from bench.plots_of_size import growth, memory, recovery
from bench.result import OURS, Latency, Result, Throughput
from bench.samples import Spread, short

_Row = TypeVar("_Row", Throughput, Latency)
_Looks = Mapping[str, Mapping[str, Any]]
_SHOWN_LOAD = 0.75
_TAILS = (50.0, 90.0, 99.0, 99.9, 99.99)


def draw(result: Result, folder: Path) -> list[str]:
    """Write the pictures that a result has values for; return their names without `.svg`."""
    made: dict[str, Figure] = {}
    look_of = looks(list(dict.fromkeys(row.contender for row in result.latency_by_load)))
    with mpl.rc_context(STYLE):
        if result.throughput:
            made["throughput"] = _throughput(result.throughput)
        if cpu := [row for row in result.throughput if row.cpu_s_per_million]:
            made["cpu"] = _cpu(cpu)
        for workload, rows in _by_workload(result.latency_by_load):
            made[f"latency-{workload}"] = _latency(rows, look_of)
            if any(row.histogram for row in rows):
                made[f"percentiles-{workload}"] = _percentiles(rows, look_of)
        if result.growth.bins or result.growth.in_flight or result.growth.lines or result.growth.hosts:
            made["growth"] = growth(result.growth)
        if result.memory:
            made["memory"] = memory(result.memory)
        if result.recovery:
            made["recovery"] = recovery(result.recovery)
        if result.broadcast is not None and result.broadcast.histogram:
            made["broadcast"] = _broadcast(result.broadcast.histogram)
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in made.items():
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None})
    return list(made)


def _throughput(rows: Sequence[Throughput]) -> Figure:
    """A panel for each workload, a bar for each contender, whiskers from the least round to the most."""
    panels = [sorted(found, key=lambda row: row.spread.median) for _, found in _by_workload(rows)]
    figure = Figure(figsize=(WIDTH, sum(0.24 * len(found) + 0.75 for found in panels)), layout="constrained")
    grid = figure.subplots(
        len(panels), sharex=True, squeeze=False, height_ratios=[len(found) + 0.5 for found in panels]
    )
    for axes, found in zip(grid[:, 0], panels, strict=True):
        _bars(axes, found)
        axes.set_title(found[0].workload)
    last = grid[-1, 0]
    _scale(last, [value for row in rows for value in row.rounds])
    last.set_xlabel(f"operations per second{_logarithmic(last)}; whiskers: least and most round")
    return figure


def _bars(axes: Axes, rows: Sequence[Throughput]) -> None:
    spreads = [row.spread for row in rows]
    axes.barh(
        range(len(rows)),
        [spread.median for spread in spreads],
        xerr=_whiskers(spreads),
        color=[_colour(row) for row in rows],
        height=0.7,
        error_kw={"elinewidth": 0.9, "capsize": 2.0, "ecolor": "#222222"},
    )
    for place, spread in enumerate(spreads):
        _beside(axes, place, spread.most, f"{spread.median:,.0f}")
    axes.set_yticks(range(len(rows)), [f"{row.contender}, {row.in_flight} in flight" for row in rows])
    flat(axes, len(rows))


def _scale(axes: Axes, values: Sequence[float]) -> None:
    """Make room for bars of these lengths and what is written beside them."""
    least, most = min(values), max(values)
    if 0 < least < most / LOG_FROM:
        axes.set_xscale("log")
        axes.set_xlim(10 ** floor(log10(least)), most * 4)
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.set_xlim(0, most * 1.25 or 1)
    axes.xaxis.set_major_formatter(with_commas)


def _logarithmic(axes: Axes) -> str:
    return ", logarithmic" if axes.get_xscale() == "log" else ""


def _colour(row: Throughput) -> str:
    return OUR_COLOUR if row.contender.startswith(OURS) else THEIR_COLOUR


def _beside(axes: Axes, place: int, end: float, text: str) -> None:
    """Write beside the end of a bar."""
    axes.annotate(text, (end, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8)


def _cpu(rows: Sequence[Throughput]) -> Figure:
    """A bar for each contender and workload, and beside it how its processes share it."""
    rows = sorted(rows, key=lambda row: sum(row.cpu_s_per_million.values()), reverse=True)
    roles = list(dict.fromkeys(role for row in rows for role in row.cpu_s_per_million))
    totals = [sum(row.cpu_s_per_million.values()) for row in rows]
    places = range(len(rows))
    figure = Figure(figsize=(WIDTH, 0.24 * len(rows) + 1.3), layout="constrained")
    total, shares = figure.subplots(1, 2, sharey=True)
    total.barh(places, totals, color=[_colour(row) for row in rows], height=0.7)
    for place, seconds in enumerate(totals):
        _beside(total, place, seconds, short(seconds))
    _scale(total, totals)
    total.set_title("contender, workload, requests in flight")
    total.set_xlabel(f"CPU seconds per million operations{_logarithmic(total)}")
    total.set_yticks(places, [f"{row.contender}, {row.workload}, {row.in_flight}" for row in rows])
    ends = [0.0] * len(rows)
    for number, role in enumerate(roles):
        parts = [
            100 * row.cpu_s_per_million.get(role, 0.0) / (whole or 1)
            for row, whole in zip(rows, totals, strict=True)
        ]
        colour = COLOURS[number % len(COLOURS)]
        shares.barh(places, parts, left=ends, label=role, color=colour, height=0.7)
        ends = [end + part for end, part in zip(ends, parts, strict=True)]
    shares.set_xlim(0, 100)
    shares.set_xlabel("% by process")
    flat(total, len(rows))
    flat(shares, len(rows))
    figure.legend(loc="outside lower center", ncols=min(6, len(roles)))
    return figure


def _latency(rows: Sequence[Latency], look_of: _Looks) -> Figure:
    """A panel for each of three percentiles, a line for each contender, over the share of its capacity."""
    names = list(dict.fromkeys(row.contender for row in rows))
    figure = Figure(figsize=(WIDTH, 3.3 + 0.2 * ((len(names) + 2) // 3)), layout="constrained")
    grid = figure.subplots(1, 3, sharey=True, squeeze=False)
    percentiles: Sequence[tuple[str, Callable[[Latency], float | None]]] = (
        ("p50", lambda row: row.p50_ms),
        ("p99", lambda row: row.p99_ms),
        ("p99.9", lambda row: row.p999_ms),
    )
    loads = sorted({row.load * 100 for row in rows})
    for axes, (title, of) in zip(grid[0], percentiles, strict=True):
        for name in names:
            found = sorted((row.load * 100, ms) for row in rows if row.contender == name and (ms := of(row)))
            axes.plot(*columns(found), label=name if title == "p50" else None, **look_of[name])
        axes.set_title(title)
        axes.set_xticks(loads, [f"{load:g}" for load in loads])
        axes.set_xlim(min(loads) - 5, max(loads) + 5)
        _in_ms(axes)
    grid[0, 0].set_ylabel("ms, logarithmic")
    grid[0, 1].set_xlabel("load, % of each contender's own capacity")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def _percentiles(rows: Sequence[Latency], look_of: _Looks) -> Figure:
    """Latency over how rare it is, at the load next to 75 %."""
    load = min((row.load for row in rows if row.histogram), key=lambda load: abs(load - _SHOWN_LOAD))
    shown = [row for row in rows if row.histogram and row.load == load]
    figure = Figure(figsize=(WIDTH, 3.6 + 0.2 * ((len(shown) + 2) // 3)), layout="constrained")
    axes = figure.subplots()
    for row in shown:
        look = {**look_of[row.contender], "marker": ""}
        axes.plot(*columns(_tail(row.histogram)), label=f"{row.contender}, {row.offered_s:,.0f}/s", **look)
    _tail_axis(axes)
    axes.set_title(f"{rows[0].workload}, each contender at {load:.0%} of its own capacity")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _broadcast(histogram: str) -> Figure:
    figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
    axes = figure.subplots()
    axes.plot(*columns(_tail(histogram)), color=OUR_COLOUR)
    _tail_axis(axes)
    axes.set_title("from the commit to a subscriber")
    return figure


def _tail(histogram: str) -> list[tuple[float, float]]:
    """Return (1 / share above, ms), as far as there are requests to tell it."""
    latencies = Latencies.read(histogram)
    steps = [10 ** (step / 25) for step in range(3, 101)]
    return [(step, latencies.at(100 - 100 / step)) for step in steps if step <= latencies.count]


def _tail_axis(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.set_xlim(left=10 ** (3 / 25))
    end = axes.get_xlim()[1]
    shown = {1 / (1 - at / 100): f"{at:g} %" for at in _TAILS}
    axes.set_xticks([at for at in shown if at < end], [text for at, text in shown.items() if at < end])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("percentile")
    axes.set_ylabel("ms, logarithmic")
    _in_ms(axes)


def _in_ms(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(with_commas)


def _whiskers(spreads: Sequence[Spread]) -> list[list[float]]:
    return [
        [spread.median - spread.least for spread in spreads],
        [spread.most - spread.median for spread in spreads],
    ]


def _by_workload(rows: Iterable[_Row]) -> list[tuple[str, list[_Row]]]:
    """Return the rows of each workload, in the order in which workloads come first."""
    rows = list(rows)
    order = list(dict.fromkeys(row.workload for row in rows))
    ordered = sorted(rows, key=lambda row: order.index(row.workload))
    return [(name, list(found)) for name, found in groupby(ordered, key=lambda row: row.workload)]

"""Pictures of what grows with a size: lines that begin at zero, marked where something was measured."""

from collections.abc import Callable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from bench.plot_style import COLOURS, LOG_FROM, MARKERS, WIDTH, columns, with_commas
from bench.result import Growth, Memory, Point, Recovery


def growth(found: Growth) -> Figure:
    """Return rates over what grows, a panel each."""
    panels: list[tuple[str, Sequence[Point], Callable[[Point], float], str]] = [
        ("bins", found.bins, lambda point: point.ops_s, "operations/s"),
        ("requests in flight", found.in_flight, lambda point: point.ops_s, "operations/s"),
        ("lines of an order", found.lines, lambda point: point.lines_s or point.ops_s * point.at, "lines/s"),
        ("hosts", found.hosts, lambda point: point.ops_s, "operations/s"),
    ]
    panels = [panel for panel in panels if panel[1]]
    rows = (len(panels) + 1) // 2
    figure = Figure(figsize=(WIDTH, 2.5 * rows), layout="constrained")
    grid = figure.subplots(rows, 2, squeeze=False).flatten()
    for axes, (title, points, of, unit) in zip(grid, panels, strict=False):
        line = [(point.at, of(point)) for point in points]
        _lines(axes, {title: line}, title, unit)
    for axes in grid[len(panels) :]:
        axes.remove()
    return figure


def memory(found: Sequence[Memory]) -> Figure:
    """Return what a resting bin takes, over how many there are."""
    figure = Figure(figsize=(WIDTH / 2, 2.6), layout="constrained")
    line = [(row.bins, row.bytes_per_bin) for row in found]
    _lines(figure.subplots(), {"": line}, "bins", "bytes of a bin")
    return figure


def recovery(found: Sequence[Recovery]) -> Figure:
    """Return how long a killed host is away, over how many bins it had, a line for each tail."""
    figure = Figure(figsize=(WIDTH * 0.7, 3.0), layout="constrained")
    lines = {
        f"tail of {tail:,} entries": [(row.bins, row.seconds) for row in found if row.tail == tail]
        for tail in sorted({row.tail for row in found})
    }
    _lines(figure.subplots(), lines, "bins", "seconds")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def _lines(axes: Axes, lines: Mapping[str, Sequence[tuple[float, float]]], x: str, y: str) -> None:
    """Draw lines over a size, from zero; the size's axis shows the sizes that there are."""
    for number, (label, points) in enumerate(lines.items()):
        axes.plot(
            *columns(sorted(points)),
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number % len(MARKERS)],
            markersize=4.5,
            label=label,
        )
    axes.set_ylim(0, 1.15 * max(value for points in lines.values() for _, value in points) or 1.0)
    places = sorted({at for points in lines.values() for at, _ in points})
    if places[0] > 0 and places[-1] > LOG_FROM * places[0]:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(places, [f"{place:,.0f}" for place in places])
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.yaxis.set_major_formatter(with_commas)

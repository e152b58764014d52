"""Pictures of what grows with a size: lines that begin at zero, marked where something was measured."""

from collections.abc import Callable, Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from bench.plot_style import COLOURS, LOG_FROM, MARKERS, OUR_COLOUR, WIDTH, columns, with_commas
from bench.result import Growth, Memory, Point, Recovery


def growth(found: Growth) -> Figure:
    """Return rates over what grows, a panel each."""
    panels: list[tuple[str, Sequence[Point], Callable[[Point], float | None], str]] = [
        ("bins", found.bins, lambda point: point.ops_s, "operations/s"),
        ("requests in flight", found.in_flight, lambda point: point.ops_s, "operations/s"),
        ("lines of an order", found.lines, lambda point: point.lines_s, "lines/s"),
        ("hosts", found.hosts, lambda point: point.ops_s, "operations/s"),
    ]
    panels = [panel for panel in panels if panel[1]]
    rows = (len(panels) + 1) // 2
    figure = Figure(figsize=(WIDTH, 2.5 * rows), layout="constrained")
    grid = figure.subplots(rows, 2, squeeze=False).flatten()
    for axes, (title, points, of, unit) in zip(grid, panels, strict=False):
        _line(axes, [(point.at, value) for point in points if (value := of(point)) is not None], title, unit)
    for axes in grid[len(panels) :]:
        axes.remove()
    return figure


def memory(found: Sequence[Memory]) -> Figure:
    """Return what a resting bin takes, over how many there are."""
    figure = Figure(figsize=(WIDTH / 2, 2.6), layout="constrained")
    _line(figure.subplots(), [(row.bins, row.bytes_per_bin) for row in found], "bins", "bytes of a bin")
    return figure


def recovery(found: Sequence[Recovery]) -> Figure:
    """Return how long a killed host is away, over how many bins it had, a line for each tail."""
    tails = sorted({row.tail for row in found})
    figure = Figure(figsize=(WIDTH * 0.7, 3.0), layout="constrained")
    axes = figure.subplots()
    for number, tail in enumerate(tails):
        rows = [(row.bins, row.seconds) for row in found if row.tail == tail]
        colour = COLOURS[number % len(COLOURS)]
        marker, label = MARKERS[number % len(MARKERS)], f"tail of {tail:,} entries"
        _line(axes, rows, "bins", "seconds", color=colour, marker=marker, label=label)
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def _line(axes: Axes, points: Iterable[tuple[float, float]], x: str, y: str, **look: str) -> None:
    """Draw points over a size, from zero; the size's axis shows the sizes that there are."""
    points = sorted(points)
    axes.plot(*columns(points), **{"color": OUR_COLOUR, "marker": "o", "markersize": 4.5, **look})
    axes.set_ylim(0, max(axes.get_ylim()[1], 1.15 * max((value for _, value in points), default=1.0)))
    places = sorted({*_ticks(axes), *(at for at, _ in points)})
    if places and places[0] > 0 and places[-1] > LOG_FROM * places[0]:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(places, [f"{place:,.0f}" for place in places])
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.yaxis.set_major_formatter(with_commas)


def _ticks(axes: Axes) -> list[float]:
    """Return the sizes of the lines that are there already."""
    return [float(at) for line in axes.get_lines() for at in line.get_xdata()]  # type: ignore[union-attr]

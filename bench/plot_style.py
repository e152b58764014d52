"""How the pictures look.

Colours are those of M. Okabe and K. Ito, Color Universal Design (2008), which the colour-blind tell apart;
markers and dashes say the same again. The ground is white, so that pictures are read on dark pages too.
"""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from bench.result import OURS

STYLE: Any = {
    "svg.hashsalt": "binkeeper",
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#444444",
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e2e2e2",
    "grid.linewidth": 0.6,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "legend.frameon": False,
}
OUR_COLOUR, THEIR_COLOUR = "#0072B2", "#999999"
_THEIR_COLOURS = ("#D55E00", "#009E73", "#CC79A7", "#E69F00", "#000000", "#7F7F7F", "#B8A800")
_OUR_COLOURS = (OUR_COLOUR, "#56B4E9", "#003A63")
COLOURS = (OUR_COLOUR, "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999")
"""Of parts of one thing."""
MARKERS = "osD^vPX*<>"
_DASHES = ("-", "--", "-.", ":")
LOG_FROM = 20
"""How many times the least the most must be for an axis to be logarithmic."""
WIDTH = 8.6


def looks(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return each contender's colour, marker and dashes: ours in blue, broad and whole."""
    ours = [name for name in names if name.startswith(OURS)]
    theirs = [name for name in names if not name.startswith(OURS)]
    return {
        name: {
            "color": colours[number % len(colours)],
            "marker": MARKERS[names.index(name) % len(MARKERS)],
            "linestyle": dashes[number % len(dashes)],
            "linewidth": width,
            "markersize": 4.0,
        }
        for found, colours, dashes, width in (
            (ours, _OUR_COLOURS, "-", 2.0),
            (theirs, _THEIR_COLOURS, _DASHES, 1.2),
        )
        for number, name in enumerate(found)
    }


def flat(axes: Axes, bars: int) -> None:
    """Leave out what so many bars do not need."""
    axes.set_ylim(-0.6, bars - 0.4)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)


def with_commas(value: float, place: object) -> str:  # noqa: ARG001 - of an axis
    """Write a number at an axis."""
    return f"{value:,.10g}"


def columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Return the points' two columns, as plots want them."""
    return [x for x, _ in points], [y for _, y in points]

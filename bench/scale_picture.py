"""The model of scale as a picture: what is carried by so many hosts, a line for each number of servers."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from bench.basis import Basis
from bench.plot_style import COLOURS, MARKERS, STYLE, WIDTH, columns, with_commas
from bench.scale import HOST, Site, carry
from bench.scale_table import SERVERS

_HOSTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)
_CIRCLES: Any = {"linestyle": "", "marker": "o", "markersize": 9, "mfc": "none", "color": "#444444"}


def draw(basis: Basis, site: Site, path: Path) -> None:
    """Write the picture as SVG; its folder is made if it is not there."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.8), layout="constrained")
        axes = figure.subplots()
        for number, servers in enumerate(SERVERS):
            found = [carry(basis, hosts, servers, site) for hosts in _HOSTS if hosts >= servers]
            axes.plot(
                *columns([(one.hosts, one.rate_s) for one in found]),
                color=COLOURS[number],
                marker=MARKERS[number],
                markersize=4.5,
                label=f"{servers:,} Postgres" + (", as it is built" if servers == 1 else ""),
            )
            beyond = [(one.hosts, one.rate_s) for one in found if one.bottleneck != HOST]
            label = "a host is not the bottleneck" if servers == 1 else None
            axes.plot(*columns(beyond), label=label, **_CIRCLES)
        uneven = [(hosts, carry(basis, hosts, hosts, site).uneven_s) for hosts in _HOSTS]
        axes.plot(*columns(uneven), color="#444444", linestyle=":", label="uneven demand, any number")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(_HOSTS, [f"{hosts:,}" for hosts in _HOSTS])
        axes.yaxis.set_major_formatter(with_commas)
        axes.set_xlabel("hosts")
        axes.set_ylabel("operations/s")
        figure.legend(loc="outside lower center", ncols=3)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})

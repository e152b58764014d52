"""The model of scale as tables: in a terminal, as JSON, and in a page that keeps what they were made from."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from bench.agreement import Agreement, agreements, latencies_ms
from bench.basis import ROLES, Basis, from_plain, plain
from bench.report_page import table
from bench.result import NotAResult
from bench.samples import rounded, short
from bench.scale import MOVES, Carried, Site, carry, changes

HOSTS = (1, 2, 10, 100, 1_000)
SERVERS = (1, 2, 10, 100)
LOADS = (0.5, 0.75)
_MOVED = ((1, 1), (10, 1), (100, 1), (100, 10), (1_000, 100))
"""Hosts and Postgres servers of which is shown what a change would bring."""
_BEGIN, _END = "<!-- scale:begin -->", "<!-- scale:end -->"
_KEPT = re.compile(r"```json\n(.*?)\n```", re.DOTALL)


class Rows(NamedTuple):
    """A table of texts."""

    title: str
    words: int
    """Columns from the left that are words; the others are numbers."""
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


def carried(basis: Basis, site: Site) -> list[Carried]:
    """Return what each number of hosts carries on each number of Postgres servers; none is without work."""
    return [carry(basis, hosts, servers, site) for hosts in HOSTS for servers in SERVERS if servers <= hosts]


def tables(basis: Basis, site: Site) -> Iterator[Rows]:
    """Yield costs, what is carried, what changes would bring, and how far the simulation agrees."""
    yield _costs(basis)
    yield _carried(basis, site)
    yield _bottlenecks(basis, site)
    yield _moves(basis, site)
    yield _moved(basis, site)
    yield _agreed(agreements(basis))


def show(basis: Basis, site: Site, console: Console) -> None:
    """Print the tables."""
    for found in tables(basis, site):
        shown = Table(title=found.title, title_justify="left", box=SIMPLE, pad_edge=False)
        for number, heading in enumerate(found.headings):
            is_word = number < found.words
            whole = [] if is_word else [*heading.split(), *(row[number] for row in found.rows)]
            least = max(map(len, whole), default=0)
            shown.add_column(
                heading, justify="left" if is_word else "right", min_width=least, overflow="fold"
            )
        for row in found.rows:
            shown.add_row(*row)
        console.print(shown)
    console.print(origin(basis), highlight=False)


def as_plain(basis: Basis, site: Site) -> dict[str, Any]:
    """Return everything as plain values."""
    rows = []
    for found in carried(basis, site):
        latencies = {
            f"{name}_ms_at_{load:.0%}".rstrip("%"): rounded(value)
            for load in LOADS
            for name, value in zip(("p50", "p99"), latencies_ms(basis, site, found, load), strict=True)
        }
        figures = {
            name: rounded(value) if isinstance(value, float) else value
            for name, value in asdict(found).items()
        }
        rows.append({**figures, **latencies})
    return {
        "result": {"date": basis.date, "commit": basis.commit, "quick": basis.quick},
        "site": asdict(site),
        "costs_us": {
            role: {"operation_us": cost.operation_us, "commit_us": cost.commit_us}
            for role, cost in basis.cpu_us.items()
        },
        "api_us": basis.api_us,
        "commit_ms": basis.commit_ms,
        "entry_us": basis.entry_us,
        "entry_bytes": basis.entry_bytes,
        "carried": rows,
        "agreement": [{**row._asdict(), "error_pct": rounded(row.error_pct)} for row in agreements(basis)],
    }


def origin(basis: Basis) -> str:
    """Return where the costs are from."""
    return (
        f"Costs of {basis.date[:10]}, commit {basis.commit}{', a quick run' if basis.quick else ''}:"
        f" {basis.cpu}, {basis.cores} cores."
    )


def page_with(page: str, basis: Basis) -> str:
    """Return a page with its tables, and what they were made from, replaced. Raises NotAResult."""
    before, _, after = _parts(page)
    lines = [_BEGIN, origin(basis), ""]
    for found in tables(basis, Site()):
        lines += [f"### {found.title}", "", *table(found.headings, found.rows, words=found.words)]
    kept = f"<details><summary>What the tables were made from</summary>\n\n```json\n{plain(basis)}\n```\n\n"
    return before + "\n".join([*lines, f"{kept}</details>", _END]) + after


def kept_in(page: str) -> Basis:
    """Return what a page's tables were made from. Raises NotAResult."""
    kept = _KEPT.search(_parts(page)[1])
    if kept is None:
        raise NotAResult("the page does not say what its tables were made from")
    return from_plain(kept[1])


def renew(path: Path, basis: Basis) -> None:
    """Replace the tables of a page in a file. Raises NotAResult."""
    path.write_text(page_with(path.read_text(encoding="utf-8"), basis), encoding="utf-8")


def _parts(page: str) -> tuple[str, str, str]:
    before, begin, rest = page.partition(_BEGIN)
    inside, end, after = rest.partition(_END)
    if not begin or not end:
        raise NotAResult(f"no place for tables, between {_BEGIN} and {_END}")
    return before, inside, after


def _thousands(rate_s: float) -> str:
    return short(rounded(rate_s / 1e3, 3))


def _costs(basis: Basis) -> Rows:
    rows = [
        (role, short(basis.cpu_us[role].operation_us), short(basis.cpu_us[role].commit_us)) for role in ROLES
    ]
    if basis.api_us is not None:
        rows.append(("api, a request by itself over HTTP", short(basis.api_us), ""))
    rows.append(("time of a bare commit", short(basis.entry_us), short(basis.commit_ms * 1e3)))
    return Rows("Costs, in us", 1, ("", "an operation", "a commit"), rows)


def _carried(basis: Basis, site: Site) -> Rows:
    quantiles = [f"{name}@{load * 100:.0f}" for load in LOADS for name in ("p50", "p99")]
    rows = []
    for found in carried(basis, site):
        latencies = [value for load in LOADS for value in latencies_ms(basis, site, found, load)]
        rows.append(
            (
                f"{found.hosts:,}",
                f"{found.servers:,}",
                _thousands(found.rate_s),
                _thousands(found.uneven_s),
                short(found.batch),
                *map(short, latencies),
            )
        )
    headings = ("hosts", "servers", "even", "uneven", "batch", *quantiles)
    return Rows("What is carried, thousands a second; ms at 50 and 75 % of it", 0, headings, rows)


def _bottlenecks(basis: Basis, site: Site) -> Rows:
    rows = [
        (
            found.bottleneck,
            found.next_bottleneck,
            f"{found.hosts:,}",
            f"{found.servers:,}",
            _thousands(found.next_rate_s),
            short(found.api_cores),
            short(rounded(found.ledger_gb_day, 3)),
        )
        for found in carried(basis, site)
    ]
    headings = ("bottleneck", "the next one", "hosts", "servers", "that at", "API cores", "GB a day")
    return Rows(
        "Where the bottleneck is, and at what rate the next one comes, thousands a second", 2, headings, rows
    )


def _moves(basis: Basis, site: Site) -> Rows:
    met = {name for found in carried(basis, site) for name in (found.bottleneck, found.next_bottleneck)}
    rows = [(name, text) for name, text in MOVES.items() if name in met]
    return Rows("What moves it", 2, ("bottleneck", "moved by"), rows)


def _moved(basis: Basis, site: Site) -> Rows:
    tried = changes(site, basis)
    rows = [
        (
            f"{hosts:,}",
            f"{servers:,}",
            *(_thousands(carry(made, hosts, servers, on).rate_s) for made, on in tried.values()),
        )
        for hosts, servers in _MOVED
    ]
    return Rows("What changes would bring, thousands a second", 0, ("hosts", "servers", *tried), rows)


def _agreed(found: Sequence[Agreement]) -> Rows:
    rows = [
        (row.what, row.unit, short(row.measured), short(row.simulated), f"{row.error_pct:+.0f} %")
        for row in found
    ]
    return Rows("The simulation and this machine", 2, ("", "", "measured", "simulated", "error"), rows)

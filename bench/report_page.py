"""The report as a page of Markdown, with its pictures beside it."""

from collections.abc import Collection, Sequence

from bench.peers_at_load import LANES, lanes_at_75, peers_at_75
from bench.report_method import METHOD, NOT_SHOWN, again
from bench.result import Percentiles, Point, Result
from bench.samples import Spread, short
from bench.targets import Verdict, judge, told

_LIMITS = {
    "copy_rows_s": "bare COPY, rows/s",
    "commit_p50_ms": "a commit of one row, p50 in ms",
    "fsync_p50_ms": "a write with fsync, p50 in ms",
    "fsync_s": "writes with fsync, a second",
    "empty_ops_s": "an empty ASGI route, requests/s",
}
_KEPT_UP = 0.99
"""Of what was offered, what must be accepted for latencies to be those of that load."""
_TAIL = ("p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms")


def page(result: Result, pictures: Collection[str]) -> str:
    """Return the page; `pictures` are the names of those that were drawn."""
    parts = [
        _head(result),
        _verdicts(result),
        _throughput(result, pictures),
        _latency(result, pictures),
        _peers(result),
        _cpu(result, pictures),
        _memory(result, pictures),
        _growth(result, pictures),
        _recovery(result, pictures),
        _broadcast(result, pictures),
        _limits(result),
        ["## Method", "", METHOD],
        ["## What it does not show", "", NOT_SHOWN],
        _not_run(result),
        ["## Again", "", again(result.commit, quick=result.quick)],
    ]
    return "\n\n".join("\n".join(part).strip() for part in parts) + "\n"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, words: int = 1) -> list[str]:
    """Return the lines of a table; all but the first columns are numbers, to the right."""
    marks = ["---" if place < words else "---:" for place in range(len(headings))]
    lines = [headings, marks, *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines] + [""]


def figures_row(verdict: Verdict) -> list[str]:
    """Return a target's cells but the last: key, in words, median, ends, bound. What falls short is bold."""
    target, spread = verdict.target, verdict.spread
    measured = "not measured" if spread is None else short(spread.median)
    return [
        f"`{target.key}`",
        target.says,
        f"**{measured}**" if verdict.state == "falls short" else measured,
        ends(spread),
        target.must_be,
    ]


def ends(spread: Spread | None) -> str:
    """Return the least and the most; nothing where there is but one."""
    if spread is None or spread.least == spread.most:
        return ""
    return f"{short(spread.least)} to {short(spread.most)}"


def _head(result: Result) -> list[str]:
    facts = {**result.machine, **{f"plan: {name}": value for name, value in result.plan.items()}}
    machine = f"{result.machine.get('cpu', 'an unknown machine')}, {result.machine.get('cores', '?')} cores"
    run = f"commit {result.commit}, seed {result.seed}, begun {result.date}, {result.seconds:,.0f} s"
    kind = "A quick run: fewer and shorter rounds, so that its figures are coarse. " if result.quick else ""
    return [
        f"# Binkeeper measured, {result.date[:10]}",
        "",
        f"{machine}; {run}.",
        f"{kind}{result.audits} audits passed.",
        "",
        "<details><summary>The machine, its versions and the plan</summary>",
        "",
        *table(("", ""), [(name, short(value)) for name, value in facts.items()], words=2),
        "</details>",
    ]


def _verdicts(result: Result) -> list[str]:
    verdicts = judge(result)
    rows = [
        [*figures_row(verdict), verdict.state + (f": {verdict.remark}" if verdict.remark else "")]
        for verdict in verdicts
    ]
    headings = ("Figure", "Is", "Median", "Least to most", "Must be", "Verdict")
    split = [
        f"- `{name}`: {short(value)}"
        for name, value in result.figures.items()
        if name.startswith(("actor_per_bin_", "cpu_s_per_million_")) and not name.endswith(("_min", "_max"))
    ]
    return ["## Verdict", "", told(verdicts), "", *table(headings, rows, words=2), *split]


def _throughput(result: Result, pictures: Collection[str]) -> list[str]:
    lines = ["## Throughput", "", *_picture("throughput", "operations a second by contender", pictures)]
    headings = ("Contender", "in flight", "ops/s, median", "least to most", *_TAIL)
    for workload in dict.fromkeys(row.workload for row in result.throughput):
        rows = sorted(
            (row for row in result.throughput if row.workload == workload),
            key=lambda row: -row.spread.median,
        )
        lines += [f"### {workload}", ""]
        lines += table(
            headings,
            [
                [
                    row.contender,
                    short(row.in_flight),
                    short(row.spread.median),
                    ends(row.spread),
                    *_tail(row.latencies),
                ]
                for row in rows
            ],
        )
    return lines if result.throughput else [*lines, "Throughput was not measured in this run."]


def _latency(result: Result, pictures: Collection[str]) -> list[str]:
    lines = ["## Latency by load", ""]
    if not result.latency_by_load:
        return [*lines, "Latency under an open loop was not measured in this run."]
    for workload in dict.fromkeys(row.workload for row in result.latency_by_load):
        rows = [row for row in result.latency_by_load if row.workload == workload]
        late = [row for row in rows if row.accepted_s < _KEPT_UP * row.offered_s]
        lines += [f"### {workload}", ""]
        lines += _picture(f"latency-{workload}", f"latency by load, {workload}", pictures)
        lines += _picture(f"percentiles-{workload}", f"latency by percentile, {workload}", pictures)
        lines += table(
            ("Contender", "load", "offered/s", "accepted/s", *_TAIL),
            [
                [row.contender, f"{row.load:.0%}", short(row.offered_s), short(row.accepted_s), *_tail(row)]
                for row in rows
            ],
        )
        lines += [
            f"- {row.contender} accepted {row.accepted_s / row.offered_s:.0%} of what it was offered at"
            f" {row.load:.0%}: it did not carry that load."
            for row in late
        ]
        lines.append("")
    return lines


def _peers(result: Result) -> list[str]:
    lines = ["## Peers at the load of lanes", ""]
    ours, peers = lanes_at_75(result), peers_at_75(result)
    if ours is None or not peers:
        return [*lines, "Not measured in this run: it takes lanes at 75 % of their capacity, and peers."]
    return [
        *lines,
        f"{LANES} at 75 %: p99 {short(ours.p99_ms)} ms at {short(ours.offered_s)} requests/s. Peers where",
        "they were offered as much, within 10 %; one slower with less, or faster with more, is so there too.",
        "",
        *table(
            ("Peer", "", "capacity/s", "p99 ms"),
            [(peer.contender, peer.state, short(peer.capacity_s), short(peer.p99_ms)) for peer in peers],
            words=2,
        ),
    ]


def _cpu(result: Result, pictures: Collection[str]) -> list[str]:
    lines = ["## CPU seconds of a million operations", ""]
    rows = [row for row in result.throughput if row.cpu_s_per_million]
    if not rows:
        return [*lines, "CPU was not measured in this run."]
    return [
        *lines,
        *_picture("cpu", "CPU seconds of a million operations, by process", pictures),
        *table(
            ("Contender", "Workload", "By process", "in flight", "sum"),
            [
                (
                    row.contender,
                    row.workload,
                    ", ".join(f"{role} {short(seconds)}" for role, seconds in row.cpu_s_per_million.items()),
                    short(row.in_flight),
                    short(sum(row.cpu_s_per_million.values())),
                )
                for row in sorted(rows, key=lambda row: sum(row.cpu_s_per_million.values()))
            ],
            words=3,
        ),
    ]


def _memory(result: Result, pictures: Collection[str]) -> list[str]:
    lines = ["## Memory", ""]
    if not result.memory:
        return [*lines, "Memory by number of bins was not measured in this run."]
    rows = [(f"{row.bins:,}", short(row.bytes_per_bin)) for row in result.memory]
    return [
        *lines,
        *_picture("memory", "bytes of a resting bin, by number of bins", pictures),
        *table(("Resting bins", "bytes a bin"), rows, words=0),
    ]


def _growth(result: Result, pictures: Collection[str]) -> list[str]:
    lines = ["## Growth", "", *_picture("growth", "throughput by what grows", pictures)]
    series: dict[str, list[Point]] = {
        "bins": result.growth.bins,
        "requests in flight": result.growth.in_flight,
        "lines of an order": result.growth.lines,
        "hosts": result.growth.hosts,
    }
    for name, points in series.items():
        has_lines = any(point.lines_s is not None for point in points)
        headings = (name, "ops/s", *(["lines/s"] if has_lines else []))
        rows = [
            [f"{point.at:,}", short(point.ops_s), *([short(point.lines_s)] if has_lines else [])]
            for point in points
        ]
        missing = [f"Growth by {name} was not measured in this run.", ""]
        lines += table(headings, rows, words=0) if rows else missing
    return lines


def _recovery(result: Result, pictures: Collection[str]) -> list[str]:
    lines = ["## Recovery", ""]
    if not result.recovery:
        return [*lines, "Recovery by number of bins and ledger tail was not measured in this run."]
    rows = [(f"{row.bins:,}", f"{row.tail:,}", short(row.seconds)) for row in result.recovery]
    return [
        *lines,
        "From the kill of a host until its bins answer again.",
        "",
        *_picture("recovery", "seconds of recovery, by bins and tail", pictures),
        *table(("Bins", "entries since the snapshots", "seconds"), rows, words=0),
    ]


def _broadcast(result: Result, pictures: Collection[str]) -> list[str]:
    lines = ["## Broadcast", ""]
    if result.broadcast is None:
        return [*lines, "The way from commit to subscriber was not measured in this run."]
    row, headings = result.broadcast, ("load", "offered/s", *_TAIL)
    return [
        *lines,
        "From the commit to a subscriber on NATS.",
        "",
        *_picture("broadcast", "latency from commit to subscriber, by percentile", pictures),
        *table(headings, [[f"{row.load:.0%}", short(row.offered_s), *_tail(row)]], words=0),
    ]


def _limits(result: Result) -> list[str]:
    lines = ["## Bare limits", ""]
    names = {**_LIMITS, **{name: f"`{name}`" for name in result.figures if _is_bare(name)}}
    rows = [
        (says, short(spread.median), ends(spread))
        for name, says in names.items()
        if (spread := result.spread_of(name)) is not None
    ]
    if not rows:
        return [*lines, "Bare limits were not measured in this run."]
    return [
        *lines,
        "What the machine carries at best, in the same rounds.",
        "",
        *table(("Limit", "median", "least to most"), rows),
    ]


def _is_bare(name: str) -> bool:
    return name.startswith("bare_") and not name.endswith(("_min", "_max"))


def _not_run(result: Result) -> list[str]:
    rows = [f"- {row.contender}: {row.why}" for row in result.not_run]
    return ["## What was not run", "", *(rows or ["Every contender was run."])]


def _picture(name: str, says: str, pictures: Collection[str]) -> list[str]:
    return [f"![{says}]({name}.svg)", ""] if name in pictures else []


def _tail(row: Percentiles) -> list[str]:
    return [short(value) for value in (row.p50_ms, row.p90_ms, row.p99_ms, row.p999_ms, row.max_ms)]

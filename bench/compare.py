"""What changed between two results, with noise taken into account.

Each figure has one value a round in either result. Whether they differ is asked of the logarithms, because a
change is a factor:

- With four rounds or more each: an exact two-sided permutation test of the difference of means. Of all ways
  to deal the values out to two runs of these sizes, at most 5 % may part them as far as they are parted (R.
  A. Fisher, The Design of Experiments, 1935, section 21; E. J. G. Pitman, Supplement to the Journal of the
  Royal Statistical Society 4, 1937). It assumes no distribution. Beyond `_DEALS_MAX` ways, that many are
  drawn and p is (b + 1) / (m + 1) (B. Phipson and G. K. Smyth, Statistical Applications in Genetics and
  Molecular Biology 9, 2010).
- With three or two that test cannot say anything at 5 % (three each: 2 of 20 ways). Then the ranges must not
  overlap, and the medians must be further apart than the wider range: 2.5 times as far where a run has two
  rounds. Of 100,000 pairs of runs of pure noise - normal, Laplace and Student's t with 3 degrees - 3.1 to
  4.4 % of those with three rounds each were called different, and 3.8 to 4.7 % of those with two. It asks
  much: a change that it does not call may be there all the same.
- With one round nothing is said.

A change of less than 2 % is not called at all. Rounds of one run share what the run was started with - the
layout of memory, the state of the disk - and that alone makes two runs of the same program differ (T.
Mytkowicz and others, Producing wrong data without doing anything obviously wrong, ASPLOS 2009), which rounds
do not show (T. Kalibera and R. Jones, Rigorous benchmarking in reasonable time, ISMM 2013). For the same
reason ratios come first: both sides of a ratio were measured in turn on the same machine in the same
minutes. And one of twenty figures that did not change may be called changed: the more figures, the more of
those.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations
from math import comb, log
from pathlib import Path
from random import Random
from statistics import fmean, median
from typing import Literal

import msgspec
from msgspec import Struct
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from bench.differences import differences
from bench.result import Result, read
from bench.samples import rounded, short
from bench.targets import TARGETS

State = Literal["better", "worse", "no difference shown"]
Kind = Literal["ratio", "rate", "once"]

CHANCE_MAX = 0.05
CHANGE_MIN = 0.02
_TEST_ROUNDS_MIN = 4
_DEALS_MAX = 20_000
_APART = {2: 2.5, 3: 1.0}
"""How many times the wider range the medians must be apart, by the fewer rounds of the two."""
_RATE_ENDS = ("ops_s", "rows_s", "lines_s", "entries_s", "commits_s", "requests_s")
_COST_ENDS = ("_ms", "_us", "_s")


class Change(Struct, kw_only=True, frozen=True):
    """A figure in both results."""

    name: str
    kind: Kind
    """`once` is measured once in a run: no round tells how much it varies."""
    before: float
    after: float
    change_pct: float
    """How much more the second is than the first."""
    rounds: tuple[int, int]
    is_smaller_better: bool
    verdict: State


class Comparison(Struct, kw_only=True, frozen=True):
    """What changed from one result to another. Ratios come first."""

    before: str
    after: str
    differs: list[str]
    """What was not the same for the two: machine, versions, plan."""
    changes: list[Change]


def compare(before: Result, after: Result) -> Comparison:
    """Return what changed, for each figure that both results have."""
    return Comparison(
        before=f"{before.commit}, {before.date}",
        after=f"{after.commit}, {after.date}",
        differs=differences(before, after),
        changes=list(_changes(before, after)),
    )


def compare_files(before: Path, after: Path) -> Comparison:
    """Compare two results in files, or in the folders that they are in. Raises NotAResult."""
    return compare(read(before), read(after))


def verdict(before: Sequence[float], after: Sequence[float], *, is_smaller_better: bool) -> State:
    """Return whether the values of rounds show that a figure changed, and for better or worse."""
    if min(before) <= 0 or min(after) <= 0:
        return "no difference shown"
    logs = [log(value) for value in before], [log(value) for value in after]
    change = median(after) / median(before) - 1
    if abs(change) < CHANGE_MIN or not _is_shown(*logs):
        return "no difference shown"
    return "better" if (change < 0) == is_smaller_better else "worse"


def smaller_is_better(name: str) -> bool | None:
    """Return which direction is good, by the unit that a measure's name ends with; None if it has none."""
    if name.endswith(_RATE_ENDS):
        return False
    if name.endswith(_COST_ENDS) or "bytes" in name or "cpu" in name:
        return True
    return None


def chance(before: Sequence[float], after: Sequence[float]) -> float:
    """Return p of the permutation test: how often dealing the values out anew parts their means as far."""
    values, size = [*before, *after], len(before)
    total = sum(values)
    apart = _apart(sum(before), total, size, len(after))
    ways = comb(len(values), size)
    # Equal but for the last digits of floating point is equal: the deal that was made counts itself.
    least = apart * (1 - 1e-9)
    if ways <= _DEALS_MAX:
        deals: Iterator[Sequence[float]] = combinations(values, size)
        return sum(_apart(sum(deal), total, size, len(after)) >= least for deal in deals) / ways
    source = Random(1)
    drawn = (source.sample(values, size) for _ in range(_DEALS_MAX))
    found = sum(_apart(sum(deal), total, size, len(after)) >= least for deal in drawn)
    return (found + 1) / (_DEALS_MAX + 1)


def show_comparison(comparison: Comparison, console: Console) -> None:
    """Print a comparison: first what makes it doubtful."""
    console.print(f"from {comparison.before}\nto   {comparison.after}", highlight=False)
    if comparison.differs:
        console.print("[bold]Not the same for both; figures may differ for that alone, rates above all:[/]")
        for text in comparison.differs:
            console.print(f"  {text}", markup=False, highlight=False)
    titles: dict[Kind, str] = {
        "ratio": "Ratios",
        "rate": "Rates and times of this machine",
        "once": "Measured once in a run: nothing tells noise from change",
    }
    for kind, title in titles.items():
        if rows := [change for change in comparison.changes if change.kind == kind]:
            console.print(_table(title, rows))
    called = sum(change.verdict != "no difference shown" for change in comparison.changes)
    tried = sum(change.kind != "once" for change in comparison.changes)
    console.print(
        f"{called} of {tried} figures are called changed; chance alone calls about {CHANCE_MAX * tried:.0f}.",
        highlight=False,
    )


def as_json(comparison: Comparison) -> str:
    """Return a comparison as JSON."""
    return msgspec.json.format(msgspec.json.encode(comparison), indent=1).decode()


def _is_shown(before: Sequence[float], after: Sequence[float]) -> bool:
    fewer = min(len(before), len(after))
    if fewer >= _TEST_ROUNDS_MIN:
        is_one_way = (fmean(after) > fmean(before)) == (median(after) > median(before))
        return is_one_way and chance(before, after) <= CHANCE_MAX
    if fewer < min(_APART):
        return False
    if max(before) >= min(after) and max(after) >= min(before):
        return False
    wider = max(max(values) - min(values) for values in (before, after))
    return abs(median(after) - median(before)) > _APART[fewer] * wider


def _apart(dealt: float, total: float, size: int, rest: int) -> float:
    return abs(dealt / size - (total - dealt) / rest)


def _changes(before: Result, after: Result) -> Iterator[Change]:
    """Yield ratios, then rates and times, then targets that are measured once."""
    seen = set()
    for name in before.ratios:
        if before.ratios[name] == after.ratios.get(name):
            seen.add(name)
            smaller = _ratio_direction(name, before.ratios[name][0])
            if smaller is not None:
                yield _change(
                    name,
                    "ratio",
                    before.ratio_rounds(name),
                    after.ratio_rounds(name),
                    is_smaller_better=smaller,
                )
    theirs = _measured(after)
    for name, values in _measured(before).items():
        smaller = smaller_is_better(name)
        if smaller is not None and values and theirs.get(name):
            seen.add(name)
            yield _change(name, "rate", values, theirs[name], is_smaller_better=smaller)
    for target in TARGETS:
        first, second = before.number(target.key), after.number(target.key)
        if target.key not in seen and first is not None and second is not None:
            smaller = target.is_most or bool(smaller_is_better(target.key))
            yield _change(target.key, "once", [first], [second], is_smaller_better=smaller)


def _change(
    name: str, kind: Kind, before: Sequence[float], after: Sequence[float], *, is_smaller_better: bool
) -> Change:
    first, second = median(before), median(after)
    return Change(
        name=name,
        kind=kind,
        before=rounded(first),
        after=rounded(second),
        change_pct=rounded((second / first - 1) * 100, 3) if first else 0.0,
        rounds=(len(before), len(after)),
        is_smaller_better=is_smaller_better,
        verdict=verdict(before, after, is_smaller_better=is_smaller_better),
    )


def _ratio_direction(name: str, ours: str) -> bool | None:
    bound = {target.key: target.is_most for target in TARGETS if target.bound is not None}
    return bound[name] if name in bound else smaller_is_better(ours)


def _measured(result: Result) -> dict[str, list[float]]:
    """Return everything that has rounds; of throughput what is not among `rounds` already."""
    known = {tuple(values) for values in result.rounds.values()}
    found = {name: values for name, values in result.rounds.items() if name not in result.ratios}
    for row in result.throughput:
        if tuple(row.rounds) not in known:
            found[f"{row.contender}, {row.workload}, {row.in_flight} in flight, ops_s"] = row.rounds
    return found


def _table(title: str, rows: Sequence[Change]) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE, pad_edge=False)
    table.add_column("figure", overflow="fold")
    for heading in ("before", "after", "change", "good is", "verdict"):
        table.add_column(heading, justify="left" if heading == "verdict" else "right", no_wrap=True)
    colours: dict[State, str] = {"better": "green", "worse": "red", "no difference shown": "dim"}
    for row in rows:
        table.add_row(
            row.name,
            short(row.before),
            short(row.after),
            f"{row.change_pct:+.1f} %",
            "less" if row.is_smaller_better else "more",
            f"[{colours[row.verdict]}]{row.verdict}[/]",
        )
    return table

"""The audit: what callers were told, what the engine holds and what the ledger says must agree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_PROBLEMS_SHOWN = 5


class AuditFailed(Exception):
    """The figures of a run are worth nothing: what was measured was not correct."""


@dataclass(slots=True)
class Tally:
    """What callers of a workload were told so far, by bin."""

    bins: int
    acknowledged: list[int] = field(init=False)
    unknown: list[int] = field(init=False)
    """Units whose outcome the caller was not told: they may have been reserved."""

    def __post_init__(self) -> None:
        self.acknowledged = [0] * self.bins
        self.unknown = [0] * self.bins

    def add(self, acknowledged: Mapping[str, int], unknown: Mapping[str, int]) -> None:
        """Count what a load was told: units by bin, whose number is text as JSON has it."""
        for index, units in acknowledged.items():
            self.acknowledged[int(index)] += units
        for index, units in unknown.items():
            self.unknown[int(index)] += units


def compare(tally: Tally, engine: Sequence[int], ledger: Sequence[int]) -> list[str]:
    """Return what is wrong: where the engine and the ledger differ, or either from what callers were told."""
    assert len(engine) == len(ledger) == tally.bins
    problems = []
    for index in range(tally.bins):
        least = tally.acknowledged[index]
        most = least + tally.unknown[index]
        if engine[index] != ledger[index]:
            problems.append(f"bin {index}: {engine[index]} reserved in memory, {ledger[index]} in the ledger")
        elif engine[index] < least:
            problems.append(f"bin {index}: {least} acknowledged, only {engine[index]} reserved")
        elif engine[index] > most:
            problems.append(f"bin {index}: {most} asked for at most, {engine[index]} reserved")
    return problems


def confirm(what: str, problems: Sequence[str]) -> None:
    """Raise AuditFailed if there are problems."""
    if problems:
        shown = "; ".join(problems[:_PROBLEMS_SHOWN])
        more = len(problems) - _PROBLEMS_SHOWN
        raise AuditFailed(f"{what}: {shown}" + (f"; and {more} more" if more > 0 else ""))

"""The statistics of a run: percentiles of a round, medians with spread over rounds, ratios of rounds in turn."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Self


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest sample that at least `share` of all samples do not exceed (nearest rank)."""
    assert ordered, "a percentile of nothing"
    assert 0 < share <= 1
    rank = -(-len(ordered) * share // 1)
    return ordered[max(0, int(rank) - 1)]


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over the rounds of a run: the median, and how far single rounds lay from it."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Return the spread of the values of rounds."""
        assert values, "a spread of nothing"
        return cls(median(values), min(values), max(values))

    @classmethod
    def of_ratios(cls, ours: Sequence[float], theirs: Sequence[float]) -> Self:
        """Return the spread of ours over theirs, round by round: those of a round shared the machine's mood."""
        return cls.of([our / their for our, their in zip(ours, theirs, strict=True)])


def rounded(value: float, digits: int = 4) -> float:
    """Return a value with so many significant digits, for people and for files."""
    return float(f"{value:.{digits}g}")

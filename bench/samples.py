"""The statistics of a run: percentiles of a round, medians and spread over rounds, ratios of rounds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median
from typing import Self


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest sample that at least `share` of all samples do not exceed (nearest rank)."""
    assert ordered, "a percentile of nothing"
    assert 0 < share <= 1
    return ordered[ceil(len(ordered) * share) - 1]


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
        """Return the spread of ours over theirs, round by round: those of one round had the same machine."""
        return cls.of([our / their for our, their in zip(ours, theirs, strict=True)])

    def ends(self, name: str) -> dict[str, float]:
        """Return the least and the most as figures."""
        return {f"{name}_min": rounded(self.least), f"{name}_max": rounded(self.most)}


class Rounds:
    """What was measured, by name; one value a round."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}

    def add(self, name: str, value: float) -> None:
        """Keep a round's value."""
        self._values.setdefault(name, []).append(value)

    def values(self) -> dict[str, list[float]]:
        """Return everything, by round."""
        return {name: [rounded(value, 6) for value in values] for name, values in self._values.items()}

    def median(self, name: str) -> float:
        """Return the median of one name's values."""
        return median(self._values[name])

    def medians(self) -> dict[str, float]:
        """Return the median of everything, and of rates also the least and the most."""
        figures: dict[str, float] = {}
        for name, values in sorted(self._values.items()):
            spread = Spread.of(values)
            figures[name] = rounded(spread.median)
            if name.endswith(("ops_s", "rows_s")):
                figures |= spread.ends(name)
        return figures

    def ratios(self, of: Mapping[str, tuple[str, str]]) -> dict[str, float]:
        """Return each figure that is ours over theirs, with its ends."""
        figures: dict[str, float] = {}
        for name, (ours, theirs) in of.items():
            spread = Spread.of_ratios(self._values[ours], self._values[theirs])
            figures[name] = rounded(spread.median)
            figures |= spread.ends(name)
        return figures


def rounded(value: float, digits: int = 4) -> float:
    """Return a value with so many significant digits, for people and for files."""
    return float(f"{value:.{digits}g}")


def short(value: object) -> str:
    """Return a value as people read it in tables: three digits, or all before the point; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"

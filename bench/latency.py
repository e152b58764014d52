"""Latencies, as HdrHistogram keeps them: three digits from a microsecond to a minute, and none left out.

Gil Tene's HdrHistogram (http://hdrhistogram.org); the text form is its compressed V2 log, which its other
implementations read too.
"""

from collections.abc import Iterable
from typing import Any, Self

from hdrh.histogram import HdrHistogram

_US_MAX = 60_000_000
_DIGITS = 3
PERCENTILES = {"p50_ms": 50.0, "p90_ms": 90.0, "p99_ms": 99.0, "p999_ms": 99.9}


class Latencies:
    """How long requests took, in microseconds. What took longer than a minute counts as a minute."""

    def __init__(self) -> None:
        self._histogram: Any = HdrHistogram(1, _US_MAX, _DIGITS)

    @classmethod
    def of(cls, seconds: Iterable[float]) -> Self:
        """Return the latencies of requests that took so many seconds each."""
        made = cls()
        for spent_s in seconds:
            made._histogram.record_value(min(_US_MAX, max(1, round(spent_s * 1e6))))
        return made

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the latencies that `text` wrote; none where it is empty."""
        made = cls()
        if not text:
            return made
        made._histogram = HdrHistogram.decode(text)
        return made

    def text(self) -> str:
        """Return all of it as base64 text."""
        return str(self._histogram.encode().decode("ascii"))

    def add(self, other: "Latencies") -> None:
        """Count another's as well: those of two rounds together."""
        self._histogram.add(other._histogram)  # noqa: SLF001 - of the same class

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self._histogram.total_count)

    def at(self, percent: float) -> float:
        """Return a percentile in ms."""
        return float(self._histogram.get_value_at_percentile(percent)) / 1000

    def figures(self) -> dict[str, float]:
        """Return percentiles and the largest, in ms; nothing where there are none."""
        if not self.count:
            return {}
        found = {name: self._histogram.get_value_at_percentile(at) / 1000 for name, at in PERCENTILES.items()}
        return {**found, "max_ms": self._histogram.get_max_value() / 1000}

"""What the callers of a load were told: counts by bin for the audit, times for the figures."""

from array import array
from collections import Counter
from typing import Any

from bench.samples import percentile


class Told:
    """What callers were told during a load, and when."""

    __slots__ = ("acknowledged", "ended_s", "refused", "spent_s", "unavailable", "unknown")

    def __init__(self) -> None:
        self.acknowledged: Counter[int] = Counter()
        self.unknown: Counter[int] = Counter()
        self.refused = 0
        self.unavailable = 0
        self.ended_s = array("d")
        self.spent_s = array("d")

    def plain(self, from_s: float, until_s: float) -> dict[str, Any]:
        """Return counts of all, and rate and latencies of those that were acknowledged in the window."""
        pairs = zip(self.ended_s, self.spent_s, strict=True)
        spent = sorted(spent_s for ended_s, spent_s in pairs if from_s < ended_s <= until_s)
        known = {
            "acknowledged": self.acknowledged,
            "unknown": self.unknown,
            "refused": self.refused,
            "unavailable": self.unavailable,
            "operations": len(spent),
            "ops_s": len(spent) / (until_s - from_s),
        }
        if spent:
            known["p50_ms"] = percentile(spent, 0.50) * 1000
            known["p99_ms"] = percentile(spent, 0.99) * 1000
            known["max_ms"] = spent[-1] * 1000
        return known

"""What a host counts about itself: plain numbers, cheap enough for every operation."""

from bisect import bisect_left
from collections import Counter
from typing import Any

COMMIT_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
BATCH_ENTRIES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)


class Histogram:
    """Counts by upper bound; the last count is beyond all bounds."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def plain(self) -> dict[str, Any]:
        """Return the histogram as plain values."""
        return {"bounds": list(self.bounds), "counts": list(self.counts), "sum": self.sum}


class Gauges:
    """Operations by outcome, commits, recovery."""

    def __init__(self) -> None:
        self.operations: Counter[tuple[str, str]] = Counter()
        self.commit_entries = Histogram(BATCH_ENTRIES)
        self.commit_seconds = Histogram(COMMIT_SECONDS)
        self.recovery_ms = 0.0
        self.snapshots = 0
        self.rewinds = 0
        self.rebuilds = 0
        self.drift = 0
        self.audits = 0
        self.audit_rounds = 0
        self.audited_at_ms: int | None = None
        """When a round that compared everything ended last."""

    def commit(self, entries: int, seconds: float) -> None:
        """Count a commit of that many entries that took that long."""
        self.commit_entries.add(entries)
        self.commit_seconds.add(seconds)

    def plain(self) -> dict[str, Any]:
        """Return all as plain values."""
        return {
            "operations": [[name, outcome, count] for (name, outcome), count in self.operations.items()],
            "commit_entries": self.commit_entries.plain(),
            "commit_seconds": self.commit_seconds.plain(),
            "recovery_ms": self.recovery_ms,
            "snapshots": self.snapshots,
            "rewinds": self.rewinds,
            "rebuilds": self.rebuilds,
            "drift": self.drift,
            "audits": self.audits,
            "audit_rounds": self.audit_rounds,
        }

"""What this process counts of itself, cheap enough for hot routes: operations by outcome, latencies."""

from bisect import bisect_left
from collections.abc import Iterator

BOUNDS_S = (
    0.0005,
    0.001,
    0.002,
    0.004,
    0.008,
    0.016,
    0.032,
    0.064,
    0.128,
    0.256,
    0.512,
    1.024,
    2.048,
    4.096,
    8.192,
)
"""Upper bounds of the latency buckets, in seconds; a last bucket holds what took longer."""


class Latency:
    """A histogram of seconds: two list look-ups an observation."""

    __slots__ = ("buckets", "sum_s")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.buckets[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds

    def cumulative(self) -> Iterator[tuple[str, int]]:
        """Yield (upper bound, how many took at most that long), the last with bound +Inf."""
        total = 0
        for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), self.buckets, strict=True):
            total += count
            yield bound, total


class Meters:
    """The counters of one API process."""

    def __init__(self) -> None:
        self.operations: dict[tuple[str, str], int] = {}
        """Operations by name and outcome: `done`, `replayed`, or the code of the problem."""
        self.requests: dict[tuple[str, int], int] = {}
        """Requests by route and status."""
        self.latencies: dict[str, Latency] = {}

    def latency(self, route: str) -> Latency:
        """Return the histogram of a route, the same one every time."""
        return self.latencies.setdefault(route, Latency())

    def count_operation(self, operation: str, outcome: str) -> None:
        """Count one operation that was asked for, alone or in a batch."""
        self.operations[operation, outcome] = self.operations.get((operation, outcome), 0) + 1

    def count_request(self, route: str, status: int) -> None:
        """Count one answered request."""
        self.requests[route, status] = self.requests.get((route, status), 0) + 1

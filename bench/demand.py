"""What the callers of a closed load ask for, one request after another."""

from collections.abc import Sequence

from bench.workloads import Workload, keys_of


class Demand:
    """Requests of a workload: a key of its own, and the bins of which a unit each is wanted."""

    __slots__ = ("_keys", "_next", "_orders")

    def __init__(self, workload: Workload, salt: int) -> None:
        self._keys = keys_of(salt)
        self._orders: Sequence[tuple[int, ...]] = (
            workload.orders(salt)
            if workload.lines_max > 1
            else [(index,) for index in workload.sequence(salt)]
        )
        self._next = 0

    def next(self) -> tuple[str, tuple[int, ...]]:
        """Return the next request; after the last comes the first again, with a new key."""
        bins = self._orders[self._next]
        self._next = (self._next + 1) % len(self._orders)
        return f"{self._keys.getrandbits(128):032x}", bins

"""What the requests of a load ask for, one after another."""

from collections.abc import Sequence

from bench.workloads import Workload, keys_of


class Demand:
    """Requests of a workload: each has a key of its own, and the bins of which a unit each is wanted."""

    __slots__ = ("_keys", "draws")

    def __init__(self, workload: Workload, salt: int) -> None:
        self._keys = keys_of(salt)
        self.draws: Sequence[tuple[int, ...]] = (
            workload.orders(salt)
            if workload.lines_max > 1
            else [(index,) for index in workload.sequence(salt)]
        )
        """Whoever needs more begins anew."""

    def of(self, number: int) -> tuple[str, tuple[int, ...]]:
        """Return key and bins of the next request, whose number this is."""
        return f"{self._keys.getrandbits(128):032x}", self.draws[number % len(self.draws)]

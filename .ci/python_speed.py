"""Prints the microseconds that this Python takes for a little work; fails where Binkeeper cannot run."""

import sys
import time


class Counter:
    """Something with an attribute and a method."""

    def __init__(self) -> None:
        self.units = {"on hand": 0}

    def add(self, units: int) -> int:
        """Add units to a number in a dict."""
        self.units["on hand"] += units
        return self.units["on hand"]


def work() -> None:
    """Call methods and make objects, as hosts do."""
    counter = Counter()
    lines = [(number, counter.add(number)) for number in range(20_000)]
    assert sum(units for _, units in lines) > 0


def fastest_us(tries: int) -> int:
    """Return the microseconds of the fastest of some tries: what else the machine does is left out."""
    spent_s = []
    for _ in range(tries):
        began_s = time.perf_counter()
        work()
        spent_s.append(time.perf_counter() - began_s)
    return int(min(spent_s) * 1e6)


if __name__ == "__main__":
    if sys.version_info < (3, 11) or sys.implementation.name != "cpython":
        sys.exit(1)
    us = fastest_us(20)
    # What is newer than what Binkeeper was tried with is taken where there is nothing else.
    print(us if sys.version_info < (3, 14) else us * 100)

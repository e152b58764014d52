"""Cuts a failing plan down: the shortest history that is found in the tries that are allowed."""

from collections.abc import Callable

from simulation.plan import Plan
from simulation.run import Result, run


def shrink(result: Result, tries: int, say: Callable[[str], None] = lambda _: None) -> Result:
    """Return the result of the shortest plan found that breaks the same promise (delta debugging).

    Without a fault or an operation the rest falls differently, so a plan that is cut down may break the
    promise in another way: that is as good a history.
    """
    assert result.violation is not None, "there is nothing to look for"
    return _Search(result, tries, say).shortest()


class _Search:
    """The best plan so far, and how often it may still be tried to better it."""

    def __init__(self, result: Result, tries: int, say: Callable[[str], None]) -> None:
        self._best = result
        self._promise = str(result.violation).partition(":")[0]
        self._tries = tries
        self._say = say

    def shortest(self) -> Result:
        """Leave out faults, then ever smaller shares of the operations, the last ones first."""
        self._fails_still(self._best.plan.without(set(), set(range(len(self._best.plan.faults)))))
        for place in reversed(range(len(self._best.plan.faults))):
            self._fails_still(self._best.plan.without(set(), {place}))
        share = len(self._best.plan.operations) // 2
        while share and self._tries > 0:
            start = len(self._best.plan.operations) - share
            while start >= 0 and self._tries > 0:
                self._fails_still(self._best.plan.without(set(range(start, start + share)), set()))
                start -= share
            share //= 2
        return self._best

    def _fails_still(self, plan: Plan) -> None:
        """Keep a plan if it breaks the promise too."""
        if self._tries <= 0 or plan == self._best.plan:
            return
        self._tries -= 1
        found = run(plan)
        if found.violation is not None and found.violation.partition(":")[0] == self._promise:
            self._best = found
            self._say(
                f"{len(plan.operations)} operations, {len(plan.faults)} faults; {self._tries} tries left"
            )

"""Whether a recorded history can be put into one legal order: linearizability, after Wing and Gong.

Each operation took effect, if at all, at one instant between its start and its end. The search tries orders
that these intervals allow, one operation after another, and asks a sequential model whether each could have
answered so; what was tried before, the same operations done with the same state reached, is not tried again
(Lowe; Horn and Kroening). It knows nothing of stock, and shares no code with the engine.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

TRIED_MAX = 400_000
"""States after which a history is given up as undecided: minutes of work, never seen on a legal one."""


class Operation(NamedTuple):
    """What one caller asked and was told."""

    what: Any
    start: int
    end: int | None
    """None: it was never answered, and may take effect at any time after its start."""
    is_certain: bool = True
    """Whether it must have taken effect; one that was never answered may also have none."""
    hint: float | None = None
    """Where it probably belongs. It changes only how soon an order is found, never whether there is one."""
    is_read: bool = False
    """Whether it changes nothing, wherever it stands: a read, or a refusal."""


Step = Callable[[Hashable, Any], Hashable | None]
"""(state, what) -> the state after it, or None where it cannot have answered so."""


class Undecided(Exception):
    """The history was too tangled to be decided within `TRIED_MAX` states."""


@dataclass(slots=True)
class Verdict:
    """Whether there is a legal order, and the longest beginning of one that was found."""

    is_legal: bool
    order: list[Operation]
    stuck: list[Operation] = field(default_factory=list)
    """The operations of which none could come next, after the longest beginning."""


class _Place(NamedTuple):
    """How far a search has come. All answered operations before `first` are done."""

    first: int
    done: int
    """Bits of those from `first` on that are done."""
    open_done: int
    """Bits of the unanswered operations that took effect."""
    state: Hashable


class _Search:
    def __init__(self, operations: Sequence[Operation], step: Step) -> None:
        by_start = sorted(operations, key=lambda operation: operation.start)
        self.answered = [operation for operation in by_start if operation.end is not None]
        self.open = [operation for operation in by_start if operation.end is None]
        self.certain = sum(1 << bit for bit, operation in enumerate(self.open) if operation.is_certain)
        self.step = step
        self.tried: set[_Place] = set()

    def is_over(self, place: _Place) -> bool:
        everything = place.first == len(self.answered)
        return everything and place.open_done & self.certain == self.certain

    def window(self, place: _Place) -> list[tuple[Operation, int, bool]]:
        """Return what may come next, nothing else having ended before: operation, bit, whether answered."""
        found = []
        until = None
        for number in range(place.first, len(self.answered)):
            operation = self.answered[number]
            if until is not None and operation.start > until:
                break
            if not place.done >> (number - place.first) & 1:
                found.append((operation, number - place.first, True))
                assert operation.end is not None
                until = operation.end if until is None else min(until, operation.end)
        for bit, operation in enumerate(self.open):
            if until is not None and operation.start > until:
                break
            if not place.open_done >> bit & 1:
                found.append((operation, bit, False))
        return found

    def after(self, place: _Place, bit: int, state: Hashable, *, is_answered: bool) -> _Place:
        if not is_answered:
            return place._replace(open_done=place.open_done | 1 << bit, state=state)
        first, done = place.first, place.done | 1 << bit
        while done & 1:
            first, done = first + 1, done >> 1
        return _Place(first, done, place.open_done, state)

    def next_places(self, place: _Place) -> Iterator[tuple[Operation, _Place]]:
        """Go through what may come next, the likeliest first.

        A read that is legal now is taken at once, and alone: whatever else can follow could follow it too.
        """
        changes = []
        for operation, bit, is_answered in self.window(place):
            state = self.step(place.state, operation.what)
            if state is None:
                continue
            following = self.after(place, bit, state, is_answered=is_answered)
            if operation.is_read and operation.is_certain:
                assert state == place.state
                yield operation, following
                return
            changes.append((operation, following))
        changes.sort(key=lambda change: _likelihood(change[0]))
        yield from changes


def _likelihood(operation: Operation) -> tuple[bool, float, float]:
    end = float("inf") if operation.end is None else operation.end
    return (operation.hint is None, end if operation.hint is None else operation.hint, end)


def linearize(
    operations: Sequence[Operation], initial: Hashable, step: Step, *, tried_max: int = TRIED_MAX
) -> Verdict:
    """Return whether there is an order in which a sequential object would have answered just so.

    Raises Undecided.
    """
    search = _Search(operations, step)
    place = _Place(0, 0, 0, initial)
    path: list[Operation] = []
    verdict = Verdict(is_legal=False, order=[])
    pending = [search.next_places(place)]
    while not search.is_over(place):
        for operation, following in pending[-1]:
            if following not in search.tried:
                search.tried.add(following)
                path.append(operation)
                place = following
                pending.append(search.next_places(place))
                break
        else:
            if len(path) > len(verdict.order) or not verdict.stuck:
                stuck = [operation for operation, _, _ in search.window(place)]
                verdict = Verdict(is_legal=False, order=list(path), stuck=stuck)
            pending.pop()
            if not pending:
                return verdict
            path.pop()
        if len(search.tried) > tried_max:
            message = f"no order of {len(operations)} operations found within {tried_max} states"
            raise Undecided(message)
    return Verdict(is_legal=True, order=path)

"""One SKU's line of one reservation as a sequential object: what callers may be shown of it."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True)
class Turn:
    """One operation on the line, and the line that was shown after it."""

    name: str
    quantity: int = 0
    """Units; for a pick, 0 is all that is open."""
    shown: Any = field(default=None, hash=False)


class Line(NamedTuple):
    """Units of one SKU in a reservation."""

    quantity: int = 0
    picked: int = 0
    released: int = 0

    @property
    def open(self) -> int:
        return self.quantity - self.picked - self.released


EMPTY = Line()


def step(state: Hashable, turn: Any) -> Line | None:
    """Return the line after an operation, or None where it cannot have answered so."""
    assert isinstance(state, Line)
    match turn.name:
        case "reserve" if state == EMPTY:
            after = Line(turn.quantity)
        case "pick" if state.open >= max(turn.quantity, 1):
            after = state._replace(picked=state.picked + (turn.quantity or state.open))
        case "release" if state.open:
            after = state._replace(released=state.released + state.open)
        case "read" if state != EMPTY:
            after = state
        case _:
            return None
    return after if turn.shown is None or _is_shown(after, turn.shown) else None


def _is_shown(line: Line, view: dict[str, Any]) -> bool:
    units = (view["quantity"], view["picked"], view["released"], view["short"], view["expired"])
    open_units = sum(allocation["open"] for allocation in view["allocations"])
    return (*units, open_units) == (*line, 0, 0, line.open)

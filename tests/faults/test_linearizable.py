"""The checker finds an order where there is one, and none where there is none."""

import random
import time
from typing import Any

import pytest

from tests.faults import bins
from tests.faults.bins import Asked
from tests.faults.linearizable import Operation, Undecided, linearize


def received(units: int, start: int, end: int | None, *, shown: int | None = None) -> Operation:
    view = None if shown is None else {"A": _view(shown, 0)}
    return Operation(Asked("receive", "A", quantity=units, shown=view), start, end)


def reserved(units: int, name: str, start: int, end: int | None, *, is_certain: bool = True) -> Operation:
    outcome = "done" if end is not None else "unknown"
    asked = Asked("reserve", "A", quantity=units, reservation=name, outcome=outcome)
    return Operation(asked, start, end, is_certain)


def picked(name: str, start: int, end: int | None) -> Operation:
    return Operation(Asked("pick", reservation=name), start, end)


def refused(units: int, available: int, start: int, end: int) -> Operation:
    numbers = {"available": available}
    asked = Asked("reserve", "A", quantity=units, outcome="refused", code="insufficient_stock", shown=numbers)
    return Operation(asked, start, end, is_read=True)


def read(on_hand: int, reserved_: int, start: int, end: int) -> Operation:
    asked = Asked("read", shown={"A": _view(on_hand, reserved_)})
    return Operation(asked, start, end, is_read=True)


def counted(units: int, start: int, end: int) -> Operation:
    return Operation(Asked("count", "A", quantity=units), start, end)


def _view(on_hand: int, reserved_: int) -> dict[str, int]:
    return {"on_hand": on_hand, "reserved": reserved_, "held": 0, "available": on_hand - reserved_}


GOOD = {
    "one after another": [received(5, 0, 1), reserved(2, "r", 2, 3), read(5, 2, 4, 5)],
    "a read beside a change sees it": [received(5, 0, 1), received(2, 2, 9), read(7, 0, 3, 4)],
    "a read beside a change does not see it": [received(5, 0, 1), received(2, 2, 9), read(5, 0, 3, 4)],
    "changes side by side in any order": [
        received(1, 0, 9, shown=3), received(2, 0, 9, shown=2), read(3, 0, 10, 11),
    ],
    "the last unit goes to one of two": [
        received(1, 0, 1), reserved(1, "r", 2, 9), refused(1, 0, 2, 9), read(1, 1, 10, 11),
    ],
    "what was never answered happened late": [
        received(5, 0, 1), reserved(2, "r", 2, None, is_certain=False), read(5, 0, 3, 4), read(5, 2, 5, 6),
    ],
    "what was never answered never happened": [
        received(5, 0, 1), reserved(2, "r", 2, None, is_certain=False), read(5, 0, 3, 4),
    ],
    "a count that would have changed nothing had it come first": [
        received(5, 0, 1), received(2, 2, 9), counted(5, 2, 9), read(5, 0, 10, 11),
    ],
    "reserved and picked": [
        received(5, 0, 1), reserved(2, "r", 2, 3), picked("r", 4, 5), read(3, 0, 6, 7),
    ],
}  # fmt: skip

BAD = {
    "a stale read": [received(5, 0, 1), received(2, 2, 3), read(5, 0, 4, 5)],
    "reads that go back": [received(5, 0, 1), received(2, 2, 9), read(7, 0, 3, 4), read(5, 0, 5, 6)],
    "a lost update": [received(5, 0, 1), received(2, 2, 5), received(3, 2, 5), read(8, 0, 6, 7)],
    "a double effect": [received(5, 0, 1), reserved(2, "r", 2, 3), read(5, 4, 4, 5)],
    "seen before it was durable, then lost": [
        received(5, 0, 1), reserved(2, "r", 2, None, is_certain=False), read(5, 2, 3, 4), read(5, 0, 5, 6),
    ],
    "the last unit sold twice": [received(1, 0, 1), reserved(1, "r", 2, 9), reserved(1, "s", 2, 9)],
    "refused although there was enough": [received(5, 0, 1), refused(3, 5, 2, 3)],
    "refused with a wrong number": [received(1, 0, 1), refused(3, 2, 2, 3)],
    "answered before it was asked for": [read(5, 0, 0, 1), received(5, 2, 3)],
    "a reservation picked twice": [
        received(5, 0, 1), reserved(2, "r", 2, 3), picked("r", 4, 9), picked("r", 4, 9),
    ],
    "what must have happened is never seen": [
        received(5, 0, 1), Operation(Asked("take", "A", quantity=9, outcome="unknown"), 2, None),
    ],
    "a count with a wrong variance": [
        received(5, 0, 1), Operation(Asked("count", "A", quantity=7, change=1), 2, 3),
    ],
    "an answer that shows another's change too early": [
        received(1, 0, 1), received(2, 2, 3, shown=6), received(3, 4, 5, shown=6),
    ],
}  # fmt: skip


@pytest.mark.parametrize("history", GOOD.values(), ids=GOOD)
def test_a_legal_history_has_an_order(history: list[Operation]) -> None:
    verdict = linearize(history, bins.EMPTY, bins.step)
    assert verdict.is_legal
    state: Any = bins.EMPTY
    for operation in verdict.order:
        state = bins.step(state, operation.what)
    assert state is not None


@pytest.mark.parametrize("history", BAD.values(), ids=BAD)
def test_a_history_that_no_bin_could_have_has_none(history: list[Operation]) -> None:
    verdict = linearize(history, bins.EMPTY, bins.step)
    assert not verdict.is_legal
    assert verdict.stuck
    assert len(verdict.order) < len(history)


def recorded(chance: random.Random, count: int, *, width: int = 6) -> list[Operation]:
    """Return a legal history: each operation takes effect at one instant of its interval."""
    state: Any = bins.EMPTY
    operations = [received(50, 0, 1)]
    state = bins.step(state, operations[0].what)
    names: list[str] = []
    for number in range(1, count):
        at = 10 * number
        match chance.randrange(4):
            case 0:
                asked = Asked("receive", "A", quantity=chance.randint(1, 3))
            case 1 if names:
                asked = Asked("pick", reservation=names.pop(0))
            case 2:
                asked = Asked("reserve", "A", quantity=chance.randint(1, 3), reservation=f"r{number}")
            case _:
                bin_ = state.at("A")
                asked = Asked("read", shown={"A": _view(bin_.on_hand, bin_.reserved)})
        after = bins.step(state, asked)
        if after is None:
            continue
        state = after
        if asked.name == "reserve":
            names.append(asked.reservation)
        start, end = at - chance.randint(0, 10 * width), at + chance.randint(0, 10 * width)
        operations.append(
            Operation(asked, max(start, 2), max(end, 3), hint=number, is_read=asked.name == "read")
        )
    return operations


@pytest.mark.parametrize("seed", range(10))
def test_what_was_recorded_of_a_real_bin_is_legal_with_and_without_hints(seed: int) -> None:
    history = recorded(random.Random(seed), 200)
    assert linearize(history, bins.EMPTY, bins.step).is_legal
    unhinted = [operation._replace(hint=None) for operation in history]
    assert linearize(unhinted, bins.EMPTY, bins.step).is_legal
    misled = [operation._replace(hint=-(operation.hint or 0)) for operation in history]
    assert linearize(misled, bins.EMPTY, bins.step).is_legal


@pytest.mark.parametrize("seed", range(10))
def test_a_read_of_what_never_was_is_found_with_any_hint(seed: int) -> None:
    chance = random.Random(seed)
    history = recorded(chance, 120, width=2)
    reads = [number for number, operation in enumerate(history) if operation.what.name == "read"]
    number = chance.choice(reads[len(reads) // 2 :])
    shown = history[number].what.shown["A"]
    wrong = Asked("read", shown={"A": _view(shown["on_hand"] + 40, shown["reserved"])})
    history[number] = history[number]._replace(what=wrong)
    assert not linearize(history, bins.EMPTY, bins.step).is_legal
    unhinted = [operation._replace(hint=None) for operation in history]
    assert not linearize(unhinted, bins.EMPTY, bins.step).is_legal


def test_a_history_of_5000_operations_is_decided_in_seconds() -> None:
    history = recorded(random.Random(1), 5_000, width=10)
    began_s = time.process_time()
    assert linearize(history, bins.EMPTY, bins.step).is_legal
    assert time.process_time() - began_s < 10


def test_a_history_that_is_too_tangled_is_not_called_legal() -> None:
    history = [reserved(1, f"r{number}", 2, 3) for number in range(20)]
    with pytest.raises(Undecided):
        linearize([received(100, 0, 1), *history, read(100, 1, 9, 10)], bins.EMPTY, bins.step, tried_max=99)

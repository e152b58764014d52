"""What a reservation's line may show."""

from tests.faults import promises
from tests.faults.linearizable import Operation, linearize
from tests.faults.promises import Turn


def _line(quantity: int, picked: int, released: int, open_units: int) -> dict[str, object]:
    return {
        "quantity": quantity, "picked": picked, "released": released, "short": 0, "expired": 0,
        "allocations": [{"open": open_units}],
    }  # fmt: skip


def _is_legal(*turns: Turn) -> bool:
    history = [Operation(turn, 2 * number, 2 * number + 1) for number, turn in enumerate(turns)]
    return linearize(history, promises.EMPTY, promises.step).is_legal


RESERVED = Turn("reserve", 4, _line(4, 0, 0, 4))


def test_a_reservation_is_picked_in_parts_and_the_rest_released() -> None:
    assert _is_legal(
        RESERVED,
        Turn("pick", 1, _line(4, 1, 0, 3)),
        Turn("read", shown=_line(4, 1, 0, 3)),
        Turn("release", shown=_line(4, 1, 3, 0)),
    )


def test_units_that_were_picked_twice_or_not_at_all_are_not_legal() -> None:
    assert not _is_legal(RESERVED, Turn("pick", 1, _line(4, 2, 0, 2)))
    assert not _is_legal(RESERVED, Turn("pick", 1), Turn("read", shown=_line(4, 0, 0, 4)))
    assert not _is_legal(RESERVED, Turn("pick"), Turn("pick"))
    assert not _is_legal(RESERVED, Turn("release"), Turn("pick"))


def test_what_is_not_reserved_cannot_be_read() -> None:
    assert not _is_legal(Turn("read", shown=_line(4, 0, 0, 4)), RESERVED)

"""What is found in a recording that cannot be true."""

from collections import Counter
from typing import Any

import pytest

from tests.faults import bins
from tests.faults.evidence import disorder, unexpected
from tests.faults.history import Abandoned, Call, Recorded, Try, backwards
from tests.faults.ledger import Row, Told


def view(location: str, on_hand: int, reserved: int, seq: int) -> dict[str, Any]:
    return {
        "sku": "S", "location": location, "on_hand": on_hand, "reserved": reserved, "held": 0,
        "available": on_hand - reserved, "seq": seq,
    }  # fmt: skip


def call(name: str, number: int, start: int, end: int, answer: Any = None, **fields: Any) -> Call:
    lines = fields.pop("lines", (("S", "A", 5),))
    outcome = fields.pop("outcome", "done" if answer is not None else "unknown")
    tries = [Try(start, end, outcome)]
    return Call(name, f"k{number}", "http", lines, tries=tries, outcome=outcome, answer=answer, **fields)


RECEIVED = call("receive", 1, 0, 1, view("A", 5, 0, 1))


def reserved(number: int, start: int, end: int, units: int, **fields: Any) -> Call:
    line = {
        "sku": "S", "quantity": units, "picked": 0, "released": 0, "short": 0, "expired": 0,
        "allocations": [{"open": units}],
    }  # fmt: skip
    answer = {"id": f"r{number}", "lines": [line]}
    return call("reserve", number, start, end, answer, lines=(("S", "A", units),), **fields)


def read(number: int, start: int, end: int, on_hand: int, reserved_: int, seq: int) -> Call:
    return call("read_bin", number, start, end, view("A", on_hand, reserved_, seq))


def test_a_true_recording_has_nothing_to_find() -> None:
    calls = [RECEIVED, reserved(2, 2, 3, 2), read(3, 4, 5, 5, 2, 2)]
    assert disorder(Recorded(calls, {"k1", "k2"})) == []
    assert backwards(calls) == []
    assert unexpected(calls) == []


def test_an_acknowledged_change_that_a_later_read_does_not_show_is_found() -> None:
    (found,) = disorder(Recorded([RECEIVED, reserved(2, 2, 3, 2), read(3, 4, 5, 5, 0, 2)], {"k1", "k2"}))
    assert found.startswith("S: no legal order beyond 2 of 3 operations")


def test_a_change_that_had_happened_when_it_was_said_that_nothing_had_is_found() -> None:
    retried = reserved(2, 2, 9, 2)
    retried.tries = [Try(2, 3, "nothing"), Try(6, 9, "done")]
    seen = read(3, 4, 5, 5, 2, 2)
    assert disorder(Recorded([RECEIVED, retried, seen], {"k1", "k2"}))
    retried.tries[0] = Try(2, 3, "unknown")
    assert disorder(Recorded([RECEIVED, retried, seen], {"k1", "k2"})) == []


def test_a_repeat_that_is_answered_otherwise_is_found() -> None:
    again = call("receive", 1, 0, 1, view("A", 5, 0, 1), repeated=view("A", 10, 0, 2))
    (found,) = unexpected([again])
    assert "its repeat" in found
    again.repeated = again.answer
    assert unexpected([again]) == []


def test_what_was_never_answered_counts_when_the_ledger_has_it() -> None:
    unanswered = call("adjust", 2, 2, 3, lines=(("S", "A", 3),))
    seen, unseen = read(3, 4, 5, 8, 0, 2), read(3, 4, 5, 5, 0, 1)
    assert disorder(Recorded([RECEIVED, unanswered, seen], {"k1", "k2"})) == []
    assert disorder(Recorded([RECEIVED, unanswered, seen], {"k1"}))
    assert disorder(Recorded([RECEIVED, unanswered, unseen], {"k1"})) == []


def test_units_of_an_attempt_that_was_abandoned_may_be_seen_for_a_while() -> None:
    attempt = Abandoned("S", "A", 2, "7:1", held_at=2, held_seq=2, gone_at=2, gone_seq=3)
    calls = [RECEIVED, read(2, 4, 5, 5, 2, 2), read(3, 6, 7, 5, 0, 3)]
    assert disorder(Recorded(calls, {"k1"}, abandoned=[attempt])) == []
    assert disorder(Recorded(calls, {"k1"}))
    assert disorder(Recorded([*calls, read(4, 8, 9, 5, 2, 3)], {"k1"}, abandoned=[attempt]))


def test_a_reservation_that_is_shown_otherwise_than_it_was_made_is_found() -> None:
    made = reserved(2, 2, 3, 2)
    wrong = reserved(3, 4, 5, 1).answer
    calls = [RECEIVED, made, call("read_reservation", 3, 4, 5, wrong, lines=made.lines, reservation="r2")]
    (found,) = disorder(Recorded(calls, {"k1", "k2"}))
    assert found.startswith("reservation r2, S:")


def test_a_sequence_number_that_goes_back_is_found_only_where_the_reads_followed_each_other() -> None:
    later = read(2, 10, 20, 5, 0, 9)
    assert backwards([later, read(3, 15, 25, 5, 0, 8)]) == []
    assert backwards([later, read(3, 21, 25, 5, 0, 8)]) == ["S at A: 8 was shown after 9"]


def test_a_refusal_without_a_reason_is_found() -> None:
    refused = call("pick", 2, 2, 3, {}, outcome="refused", code="reservation_not_found")
    assert len(unexpected([refused])) == 1


def row(seq: int, kind: str, quantity: int, on_hand: int, reserved_: int, **fields: Any) -> Row:
    values = {"key": None, "reservation": None, "reference": None, "reason": None, **fields}
    return Row(
        partition=7, seq=seq, at_ms=seq, kind=kind, sku="S", location="A", quantity=quantity,
        on_hand=on_hand, reserved=reserved_, **values,
    )  # fmt: skip


TOLD = Told(
    [
        row(1, "stock_received", 5, 5, 0, key="k1", reference="k1"),
        row(2, "stock_reserved", 2, 5, 2, key="k2", reference="k2", reservation=2),
    ],
    Counter(["k1", "k2"]),
    {7: (1, 2, 2)},
)


def test_the_ledger_of_a_true_recording_has_everything_once() -> None:
    calls = [RECEIVED, reserved(2, 2, 3, 2)]
    assert (TOLD.lost(calls), TOLD.twice(calls), TOLD.invented(calls), TOLD.gaps()) == ([], [], [], [])
    assert TOLD.sums() == {("S", "A"): (5, 2)}
    assert TOLD.seqs() == {("k1", "S"): 1, ("k2", "S"): 2}


def test_what_is_lost_done_twice_or_done_although_it_was_denied_is_found() -> None:
    assert TOLD.lost([call("take", 9, 0, 1, {"bins": []})]) == ["k9"]
    assert TOLD.invented([call("adjust", 1, 0, 1, outcome="nothing")]) == ["k1"]
    assert TOLD.twice([reserved(2, 2, 3, 1)]) == ["k2"]
    again = row(3, "stock_reserved", 2, 5, 4, key="k2 7", reference="k2", reservation=3)
    assert Told([*TOLD.rows, again], TOLD.keys, TOLD.heads).twice([reserved(2, 2, 3, 2)]) == ["k2"]
    given_back = row(4, "stock_released", 2, 5, 2, reservation=3, reason="abandoned")
    assert Told([*TOLD.rows, again, given_back], TOLD.keys, TOLD.heads).twice([reserved(2, 2, 3, 2)]) == []


def test_gaps_and_balances_that_do_not_follow_are_found() -> None:
    assert Told([], Counter(), {7: (1, 3, 2)}).gaps() == ["partition 7: 1 to 3, 2 entries"]
    with pytest.raises(AssertionError, match="a wrong balance"):
        Told([row(1, "stock_received", 5, 6, 0)], Counter(), {}).sums()
    with pytest.raises(AssertionError, match="oversold"):
        Told([row(1, "stock_reserved", 5, 0, 5, reservation=1)], Counter(), {}).sums()


def after(state: bins.Sku, *asked: bins.Asked) -> bins.Sku:
    """Return a SKU after operations that are all legal."""
    for one in asked:
        following = bins.step(state, one)
        assert following is not None
        state = following
    return state


def test_units_that_were_moved_away_and_back_are_picked_last_unless_some_were_picked_there() -> None:
    pick = bins.Asked("pick", reservation="r", quantity=1)
    there = after(
        bins.EMPTY,
        bins.Asked("receive", "B", quantity=3),
        bins.Asked("reserve", "B", quantity=3, reservation="r"),
        bins.Asked("move", "B", to="A", quantity=3),
        bins.Asked("move", "A", to="B", quantity=1),
        pick,
    )
    assert (there.at("A"), there.at("B")) == (bins.Bin(1, 1), bins.Bin(1, 1))
    there = after(
        there,
        bins.Asked("move", "A", to="B", quantity=1),
        bins.Asked("move", "B", to="A", quantity=1),
        pick,
    )
    assert (there.at("A"), there.at("B")) == (bins.Bin(0, 0), bins.Bin(1, 1))

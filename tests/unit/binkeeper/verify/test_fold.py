"""The model of the ledger: it takes what the engine writes, and names what was changed afterwards."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from binkeeper.verify.findings import Finding, Findings, Sort
from binkeeper.verify.fold import CHANGES, LedgerFold
from binkeeper.verify.replay import Replay
from engine.commands import ReleaseReservation
from engine.entries import Entry, Kind
from engine.partitioning import partition_of
from tests.unit.binkeeper.verify.good import index_of, written
from tests.unit.engine.desk import SITE, SKU, named
from tests.unit.engine.warehouse import Warehouse

GOOD = written().ledger


def found_in(ledger: list[Entry], partitions: int | None = None) -> list[Finding]:
    """Return what the model finds, without the engine."""
    findings = Findings()
    fold = LedgerFold(0, partitions, findings.teller(0))
    for entry in ledger:
        fold.take(entry)
    fold.end()
    assert findings.total >= len(findings.kept)
    return findings.kept


def compared(ledger: list[Entry]) -> list[Finding]:
    """Return what the model and the engine find, and where they differ."""
    findings = Findings()
    fold, replay = LedgerFold(0, None, findings.teller(0)), Replay(0, findings.teller(0))
    for entry in ledger:
        fold.take(entry)
        replay.take(entry)
    fold.end()
    if replay.is_sound:
        replay.compare(fold)
    return findings.kept


def changed(kind: str, nth: int, changes: dict[str, Any]) -> tuple[list[Entry], int]:
    """Return the good ledger with one entry changed, and that entry's sequence number."""
    ledger = list(GOOD)
    index = index_of(ledger, kind, nth)
    ledger[index] = ledger[index]._replace(**changes)
    return ledger, ledger[index].seq


def test_the_good_ledger_has_every_kind_of_entry() -> None:
    assert {entry.kind for entry in GOOD} == set(Kind)


def test_the_models_own_table_knows_every_kind() -> None:
    assert set(CHANGES) == set(Kind)


def test_what_the_engine_writes_fits() -> None:
    assert compared(GOOD) == []


def test_any_commands_leave_a_ledger_that_fits() -> None:
    class Checked(Warehouse):
        def teardown(self) -> None:
            assert compared(self.desk.ledger) == []

    run_state_machine_as_test(
        Checked, settings=settings(max_examples=25, stateful_step_count=40, deadline=None)
    )


@pytest.mark.parametrize("index", [0, 1, 5, len(GOOD) - 2])
def test_an_entry_that_is_missing_is_named(index: int) -> None:
    first = found_in([*GOOD[:index], *GOOD[index + 1 :]])[0]
    assert (first.sort, first.seq) == (Sort.SEQUENCE, index + 1)
    assert (first.expected, first.found) == (f"entry {index + 1}", f"entry {index + 2}")


def test_an_entry_that_comes_twice_is_named() -> None:
    found = found_in([*GOOD[:5], GOOD[4], *GOOD[5:]])
    first = next(finding for finding in found if finding.sort == Sort.SEQUENCE)
    assert (first.seq, first.found) == (6, "entry 5")


CHANGED: list[tuple[str, int, dict[str, Any], Sort]] = [
    ("stock_received", 1, {"quantity": 21}, Sort.BALANCE),
    ("stock_received", 1, {"on_hand": 21}, Sort.BALANCE),
    ("stock_received", 1, {"quantity": 0, "on_hand": 0}, Sort.ENTRY),
    ("stock_received", 1, {"kind": "stock_invented"}, Sort.ENTRY),
    ("stock_received", 1, {"lot": None}, Sort.ENTRY),
    ("stock_received", 1, {"reservation": 6}, Sort.RESERVATION),
    ("stock_received", 1, {"kind": "stock_held"}, Sort.BALANCE),
    ("stock_received", 1, {"at_ms": 0}, Sort.TIME),
    ("stock_received", 1, {"span": 0}, Sort.KEY),
    ("stock_received", 1, {"span": 2}, Sort.KEY),
    ("stock_received", 1, {"key": "k", "fingerprint": None}, Sort.KEY),
    ("stock_reserved", 0, {"reserved": 3}, Sort.BALANCE),
    ("stock_reserved", 0, {"reserved": 99, "quantity": 99}, Sort.BOUNDS),
    ("stock_reserved", 0, {"reservation": None}, Sort.BALANCE),
    ("stock_reserved", 0, {"reservation": 1}, Sort.RESERVATION),
    ("stock_reserved", 0, {"line": None}, Sort.RESERVATION),
    ("stock_picked", 0, {"reservation": 3}, Sort.RESERVATION),
    ("stock_picked", 0, {"line": 4}, Sort.RESERVATION),
    ("stock_released", 0, {"location": "A-1"}, Sort.BALANCE),
    ("stock_moved_in", 0, {"counterpart": "Z"}, Sort.MOVE),
    ("stock_moved_out", 0, {"counterpart": "Z"}, Sort.MOVE),
    ("reservation_moved_in", 0, {"line": 3}, Sort.MOVE),
    ("stock_moved_in", 0, {"key": "late", "fingerprint": 1}, Sort.KEY),
    ("stock_unheld", 0, {"reason": "short"}, Sort.HOLD),
    ("stock_unheld", 0, {"reason": None}, Sort.HOLD),
    ("stock_held", 0, {"held": 4}, Sort.BALANCE),
    ("stock_received", 4, {"expires_at_ms": None}, Sort.TIME),
    ("stock_received", 4, {"expires_at_ms": 2**61}, Sort.TIME),
    ("lot_expired", 0, {"reason": "damage"}, Sort.TIME),
    ("partition_claimed", 1, {"detail": '{"epoch": 1}'}, Sort.CLAIM),
    ("partition_claimed", 1, {"detail": None}, Sort.CLAIM),
    ("partition_claimed", 1, {"detail": "[" * 5_000 + "]" * 5_000}, Sort.ENTRY),
    ("stock_counted", 0, {"detail": "[" * 5_000 + "]" * 5_000}, Sort.ENTRY),
    ("stock_counted", 0, {"detail": "5"}, Sort.ENTRY),
    ("stock_reserved", 0, {"detail": "{"}, Sort.ENTRY),
    ("partition_claimed", 1, {"sku": "tea"}, Sort.ENTRY),
    ("reservation_extended", 0, {"reservation": 10_000}, Sort.RESERVATION),
    ("reservation_extended", 0, {"expires_at_ms": 2**61}, Sort.RESERVATION),
    ("reservation_confirmed", 0, {"reservation": 7}, Sort.RESERVATION),
    ("attempt_decided", 0, {"reservation": 7}, Sort.RESERVATION),
]


@pytest.mark.parametrize("kind, nth, changes, sort", CHANGED)
def test_an_entry_that_was_changed_is_named(kind: str, nth: int, changes: dict[str, Any], sort: Sort) -> None:
    ledger, seq = changed(kind, nth, changes)
    found = found_in(ledger)
    assert any(finding.sort == sort for finding in found), found
    # What is wrong shows at the changed entry, or where those after it do not follow any more.
    assert min(finding.seq for finding in found) >= seq
    assert len(found) <= 12, found


def test_a_lot_that_expires_before_its_date_is_named() -> None:
    ledger = list(GOOD)
    index = index_of(ledger, "stock_received", 4)
    (expired,) = (entry for entry in ledger if entry.kind == "lot_expired")
    ledger[index] = ledger[index]._replace(expires_at_ms=expired.at_ms + 1)
    (found,) = found_in(ledger)
    assert (found.sort, found.seq) == (Sort.TIME, expired.seq)
    ledger[index] = ledger[index]._replace(expires_at_ms=expired.at_ms)
    assert found_in(ledger) == []


def test_a_changed_balance_is_named_with_what_was_expected_and_what_is_there() -> None:
    ledger, seq = changed("stock_received", 1, {"on_hand": 21})
    first = found_in(ledger)[0]
    assert first == Finding(
        Sort.BALANCE, 0, seq, f"{SITE}/{SKU} at A-2",
        "on hand 20, reserved 0, held 0", "on hand 21, reserved 0, held 0",
    )  # fmt: skip
    assert str(first).startswith(
        f"balance: partition 0, entry {seq} ({SITE}/{SKU} at A-2): expected on hand 20"
    )


def test_a_sku_in_another_partition_is_named_once() -> None:
    partitions = next(n for n in range(2, 99) if partition_of(SITE, SKU, n) != 0)
    found = [finding for finding in found_in(GOOD, partitions) if SKU in finding.place]
    assert [(one.sort, one.expected) for one in found] == [
        (Sort.PLACE, f"partition {partition_of(SITE, SKU, partitions)}")
    ]


def test_a_reservation_that_is_over_lets_no_more_units_go() -> None:
    book = written()
    over = book.reserve(1, location="A-1")
    released = book.do(ReleaseReservation(*named(over)))[0]
    again = released._replace(seq=released.seq + 1, reserved=released.reserved - 1)
    found = found_in([*book.ledger, again])
    assert Sort.RESERVATION in {finding.sort for finding in found}
    assert any("the reservation is over" in finding.found for finding in found)


def test_only_the_lowest_of_a_kind_are_kept_and_all_are_counted() -> None:
    findings = Findings(kept_max=3)
    tell = findings.teller(7)
    for seq in range(10, 0, -1):
        tell(Sort.BALANCE, seq, "", 1, 2)
    tell(Sort.SNAPSHOT, 1, "", "a row", "none")
    assert (findings.total, len(findings.kept), findings.of_ledger) == (11, 4, 10)
    first = findings.first
    assert first is not None
    assert (first.sort, first.seq) == (Sort.BALANCE, 1)
    assert [one.seq for one in findings.kept if one.sort == Sort.BALANCE] == [1, 2, 3]
    findings.teller(3)(Sort.BALANCE, 50, "", 1, 2)
    assert findings.first == findings.kept[0] == Finding(Sort.BALANCE, 3, 50, "", "1", "2")


def test_what_is_very_long_is_cut() -> None:
    findings = Findings()
    findings.teller(0)(Sort.SNAPSHOT, 1, "", "x" * 1_000, "y" * 1_001)
    assert findings.kept[0].expected == "x" * 1_000
    assert findings.kept[0].found == "y" * 1_000 + "... (1001 characters)"


NUMBERS = ("seq", "span", "quantity", "on_hand", "reserved", "held")


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.sampled_from(NUMBERS), st.integers(-3, 40))
def test_no_changed_number_goes_unseen(index: int, field: str, value: int) -> None:
    before = GOOD[index]
    if getattr(before, field) != value:
        ledger = [*GOOD[:index], before._replace(**{field: value}), *GOOD[index + 1 :]]
        assert found_in(ledger), (before, field, value)


def test_one_changed_row_is_one_finding_not_thousands() -> None:
    ledger, _ = changed("stock_received", 0, {"on_hand": 25})
    assert len([one for one in found_in(ledger) if one.sort == Sort.BALANCE]) == 2

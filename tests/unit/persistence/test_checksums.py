"""Checksums of the ledger's rows."""

import pytest

from engine.entries import Entry, Kind
from persistence.checksums import Changed, checked, checksum, firsts, sift, with_checksums
from persistence.ports import RowsChanged
from tests.contract.keeper import received

WHOLE = Entry(
    3, 7, 1_800_000_000_000, "stock_reserved", "key-1", 2**62 + 1, 1, "Zürich/1", "a.b*c>", "# 9", "L 1",
    2**53 - 1, 2**53 - 1, 2**53 - 1, 0, 1, 0, "B", -1, "ref 'x'", "reason", '{"a": [1]}',
)  # fmt: skip


def test_checksums_are_permanent_and_fit_their_column() -> None:
    """They are stored: another way of making them would refuse every ledger that there is."""
    assert checksum(WHOLE) == -1_091_713_948
    assert checksum(received(1, 1)) == -1_837_108_301
    sums = [checksum(received(1, seq)) for seq in range(1, 1_000)]
    assert min(sums) < 0 < max(sums)
    assert all(-(2**31) <= one < 2**31 for one in sums)
    assert len(set(sums)) == len(sums)


def test_what_the_engine_decided_and_what_is_read_back_have_the_same() -> None:
    assert checksum(WHOLE._replace(kind=Kind.STOCK_RESERVED)) == checksum(WHOLE)


@pytest.mark.parametrize("column", Entry._fields)
def test_each_column_is_in_it(column: str) -> None:
    value = getattr(WHOLE, column)
    others = [value + 1, -value - 1] if isinstance(value, int) else [value + " ", "", value.swapcase() + "."]
    for other in (*others, None):
        assert checksum(WHOLE._replace(**{column: other})) != checksum(WHOLE), other


def test_nothing_is_not_the_same_as_empty_and_text_does_not_run_into_the_next_column() -> None:
    assert checksum(WHOLE._replace(reason=None)) != checksum(WHOLE._replace(reason=""))
    apart = WHOLE._replace(reference="ab", reason="c")
    assert checksum(apart) != checksum(WHOLE._replace(reference="a", reason="bc"))


def test_rows_are_entries_again_and_those_that_were_changed_are_told() -> None:
    entries = [received(2, 1), received(1, 5), received(1, 4)]
    rows = with_checksums(entries)
    assert checked(rows) == entries
    rows[1] = (*rows[1][:3], "stock_picked", *rows[1][4:])
    rows[2] = (*rows[2][:-1], 0)
    found, changed = sift(rows)
    assert [entry.kind for entry in found] == ["stock_received", "stock_picked", "stock_received"]
    assert changed == [
        Changed(1, 5, checksum(entries[1]), checksum(found[1])), Changed(1, 4, 0, checksum(entries[2])),
    ]  # fmt: skip
    assert firsts(changed) == {1: 4}
    with pytest.raises(RowsChanged, match="partition 1, entry 4") as fault:
        checked(rows)
    assert fault.value.places == {1: 4}

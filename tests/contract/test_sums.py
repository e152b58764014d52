"""What every ledger's sums keep to: kinds and quantities alone, lot by lot."""

import pytest

from persistence.balances import SUMMED_MAX, LotSum
from persistence.ports import Ledger
from tests.contract.conftest import Storage
from tests.contract.keeper import NOON_MS, received

TEA = ("LDN", "tea", "A-1", "")


async def test_sums_are_by_kind_and_quantity_and_reserved_changes_only_with_a_reservation(
    ledger: Ledger,
) -> None:
    await ledger.append(
        [
            received(1, 1, quantity=9, on_hand=9),
            received(1, 2, kind="stock_reserved", quantity=4, on_hand=9, reserved=4, reservation=2, line=0),
            received(1, 3, kind="stock_picked", quantity=1, on_hand=8, reserved=4),
            received(1, 4, kind="stock_picked", quantity=3, on_hand=5, reserved=1, reservation=2, line=0),
            received(1, 5, kind="stock_held", quantity=2, on_hand=5, reserved=1, held=2, reason="damage"),
            received(1, 6, kind="stock_counted", quantity=-1, on_hand=4, reserved=1, held=2),
        ]
    )
    same = (0, 0, 0)
    assert await ledger.sums(1, 0, 6) == [LotSum(*TEA, 6, 4, 1, 2, same, same)]
    assert await ledger.sums(1, 0, 1000) == [LotSum(*TEA, 6, 4, 1, 2, same, same)]
    before = (9, 4, 0)
    assert await ledger.sums(1, 2, 4) == [LotSum(*TEA, 4, -4, -3, 0, before, before)]
    assert await ledger.sums(1, 6, 1006) == []


async def test_sums_keep_lots_and_partitions_apart_and_leave_claims_out(storage: Storage) -> None:
    await storage.snapshots.claim("h1", "here:1", [1], NOON_MS)
    await storage.ledger.append(
        [
            received(1, 2, on_hand=1),
            received(1, 3, on_hand=1, location="B-2"),
            received(1, 4, on_hand=1, lot="L1"),
            received(1, 5, on_hand=1, site="PAR"),
            received(1, 6, on_hand=2),
            received(2, 1),
        ]
    )
    found = {lot[:4]: (lot.seq, lot.on_hand) for lot in await storage.ledger.sums(1, 0, 100)}
    assert found == {
        TEA: (6, 2),
        ("LDN", "tea", "B-2", ""): (3, 1),
        ("LDN", "tea", "A-1", "L1"): (4, 1),
        ("PAR", "tea", "A-1", ""): (5, 1),
    }


async def test_a_row_whose_balances_do_not_follow_shows_in_its_stretch(ledger: Ledger) -> None:
    """The sum and the last row agree; the row between does not."""
    await ledger.append(
        [
            received(1, 1, on_hand=5, held=3),  # After entries that are not in the stretch.
            received(1, 2, on_hand=9, held=1),
            received(1, 3, on_hand=7, held=3),
        ]
    )
    (found,) = await ledger.sums(1, 0, 3)
    assert (found.least, found.most) == ((4, 0, 1), (7, 0, 3))


async def test_a_sum_of_the_largest_quantities_has_room(ledger: Ledger) -> None:
    full = 2**53 - 1
    await ledger.append([received(1, seq, quantity=full, on_hand=full) for seq in range(1, SUMMED_MAX + 1)])
    (found,) = await ledger.sums(1, 0, SUMMED_MAX)
    assert found.on_hand == SUMMED_MAX * full
    assert found.least[0] == full - SUMMED_MAX * full


async def test_a_quantity_that_no_lot_holds_is_a_difference_and_no_error(ledger: Ledger) -> None:
    await ledger.append(
        [received(1, 1, quantity=2**62, on_hand=1), received(1, 2, quantity=2**62, on_hand=2)]
    )
    (found,) = await ledger.sums(1, 0, 2)
    assert found.on_hand >= 2**53 - 1
    assert found.least != (0, 0, 0)


async def test_not_more_is_summed_than_one_look_may_cost(ledger: Ledger) -> None:
    with pytest.raises(AssertionError):
        await ledger.sums(1, 0, SUMMED_MAX + 1)


async def test_the_first_entry_that_is_missing_is_found(ledger: Ledger) -> None:
    await ledger.append([received(1, seq) for seq in range(1, 6)])
    assert await ledger.missing(1, 0, 5) is None
    assert await ledger.missing(1, 2, 5) is None
    assert await ledger.missing(1, 0, 8) == 6
    assert await ledger.missing(1, 5, 8) == 6
    assert await ledger.missing(1, 6, 8) == 7
    assert await ledger.missing(2, 0, 1) == 1
    assert await ledger.missing(2, 4, 4) is None

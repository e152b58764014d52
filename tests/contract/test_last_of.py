"""What changed a reservation last, as the ledger tells."""

import pytest

from engine.commands import ExtendReservation, PickReservation, ReleaseReservation
from engine.entries import Entry
from persistence.ports import Ledger
from persistence.traced import Traced
from tests.contract.keeper import Make, received

TEA, JAM = ("LDN", "tea"), ("LDN", "jam")


async def told(ledger: Ledger, *asked: Traced, depth: int = 200) -> list[tuple[int, int, str]]:
    found: list[Entry] = await ledger.last_of(asked, depth)
    return sorted((entry.partition, entry.seq, entry.kind) for entry in found)


async def test_it_is_the_last_that_touches_no_stock_and_the_last_that_touches_each(keeper: Make) -> None:
    desk = keeper()
    await desk.take_over()
    await desk.receive(9)
    await desk.receive(9, "jam")
    one = await desk.reserve(("tea", 3), ("jam", 2), ttl_s=60)  # 4 and 5
    named = (one.number, one.opened_at_ms)
    await desk.do(ExtendReservation(*named, 60))  # 6
    await desk.do(PickReservation(*named, 1, "tea"))  # 7
    await desk.do(PickReservation(*named, 1, "jam"))  # 8
    await desk.do(ExtendReservation(*named, 90))  # 9
    await desk.do(PickReservation(*named, 1, "tea"))  # 10
    asked = Traced(1, one.number, (TEA, JAM), 5, 10)
    extended, picked = "reservation_extended", "stock_picked"
    assert await told(desk.ledger, asked) == [(1, 8, picked), (1, 9, extended), (1, 10, picked)]
    assert await told(desk.ledger, asked._replace(seq=8)) == [(1, 9, extended), (1, 10, picked)]
    assert await told(desk.ledger, asked._replace(seq=10)) == [(1, 9, extended)]
    assert await told(desk.ledger, asked._replace(until_seq=8)) == [
        (1, 6, extended), (1, 7, picked), (1, 8, picked),
    ]  # fmt: skip
    assert await told(desk.ledger, asked._replace(stocks=(JAM,))) == [(1, 8, picked), (1, 9, extended)]
    assert await told(desk.ledger, asked._replace(until_seq=5)) == []


async def test_each_reservation_is_told_apart(keeper: Make) -> None:
    """Of the same stock, and of another partition under the same number."""
    asked = []
    for number in (1, 2):
        desk = keeper(number)
        await desk.take_over()
        await desk.receive(9)
        first = await desk.reserve(("tea", 3), ttl_s=60)  # 3
        second = await desk.reserve(("tea", 3), ttl_s=60)  # 4
        third = await desk.reserve(("tea", 3), ttl_s=60)  # 5
        await desk.do(ReleaseReservation(second.number, second.opened_at_ms))  # 6
        await desk.do(ExtendReservation(third.number, third.opened_at_ms, 60 * number))  # 7
        asked += [Traced(number, one.number, (TEA,), one.number, 7) for one in (first, second, third)]
    found = [(6, "stock_released"), (7, "reservation_extended")]
    assert await told(desk.ledger, *asked) == [(number, *what) for number in (1, 2) for what in found]
    assert await told(desk.ledger, asked[0], asked[2]) == [(1, 7, "reservation_extended")]
    assert await told(desk.ledger) == []


@pytest.mark.parametrize("others, is_found", [(199, True), (200, False)])
async def test_a_stocks_newest_entries_are_looked_at(keeper: Make, others: int, is_found: bool) -> None:
    desk = keeper()
    await desk.take_over()
    await desk.receive(9)
    one = await desk.reserve(("tea", 3))
    await desk.do(PickReservation(one.number, one.opened_at_ms, 1))
    until_seq = 4 + others
    await desk.ledger.append([received(1, seq) for seq in range(5, until_seq + 1)])
    asked = Traced(1, one.number, (TEA,), one.number, until_seq)
    assert await told(desk.ledger, asked) == ([(1, 4, "stock_picked")] if is_found else [])

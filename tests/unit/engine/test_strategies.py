"""Which lots serve a quantity."""

import pytest

from engine.choosing import STRATEGIES
from engine.commands import MoveStock, PickStock
from tests.unit.engine.desk import NOON_MS, SITE, SKU, Desk, places

DAY_MS = 86_400_000


@pytest.fixture
def shelves(desk: Desk) -> Desk:
    """Four bins, received in this order."""
    desk.receive(3, "A-10", lot="L-late", expires_at_ms=NOON_MS + 9 * DAY_MS)
    desk.receive(5, "A-2", lot="L-soon", expires_at_ms=NOON_MS + 2 * DAY_MS)
    desk.receive(4, "B-1")
    desk.receive(6, "A-1", lot="L-mid", expires_at_ms=NOON_MS + 5 * DAY_MS)
    return desk


@pytest.mark.parametrize("strategy, expected", [
    ("fefo", ["A-2", "A-1", "A-10", "B-1"]),
    ("fifo", ["A-10", "A-2", "B-1", "A-1"]),
    ("lifo", ["A-1", "B-1", "A-2", "A-10"]),
    ("closest", ["A-1", "A-2", "A-10", "B-1"]),
])  # fmt: skip
def test_each_strategy_takes_lots_in_its_order(shelves: Desk, strategy: str, expected: list[str]) -> None:
    reservation = shelves.reserve(18, strategy=strategy)
    assert [location for location, _, _ in places(reservation)] == expected


@pytest.mark.parametrize("quantity, expected", [
    (1, ["A-10"]),
    (4, ["B-1"]),
    (5, ["A-2"]),
    (6, ["A-1"]),
    (7, ["A-1", "A-10"]),
    (10, ["A-1", "B-1"]),
    (12, ["A-1", "A-2", "A-10"]),
    (18, ["A-1", "A-2", "B-1", "A-10"]),
])  # fmt: skip
def test_fewest_takes_as_few_bins_as_it_can(shelves: Desk, quantity: int, expected: list[str]) -> None:
    reservation = shelves.reserve(quantity, strategy="fewest")
    assert [location for location, _, _ in places(reservation)] == expected


def test_fewest_counts_a_bin_once_whatever_lots_it_holds(desk: Desk) -> None:
    desk.receive(5, "A-1")
    for lot in ("L1", "L2", "L3"):
        desk.receive(2, "A-2", lot=lot)
    assert {location for location, _, _ in places(desk.reserve(6, strategy="fewest"))} == {"A-2"}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_expired_lots_are_never_reserved(desk: Desk, strategy: str) -> None:
    desk.receive(5, "A-1", lot="L1", expires_at_ms=NOON_MS + 1)
    desk.receive(5, "A-2")
    desk.now_ms += 1
    reservation = desk.reserve(9, strategy=strategy, partial=True)
    assert places(reservation) == [("A-2", "", 5)]


def test_a_lot_is_good_until_its_time_and_not_at_it(desk: Desk) -> None:
    desk.receive(5, lot="L1", expires_at_ms=NOON_MS + 1)
    assert desk.reserve(1).open == 1
    desk.now_ms += 1
    assert desk.refusal(PickStock(SITE, SKU, 1)).fields["available"] == 0


def test_lots_without_a_date_come_last_in_fefo(desk: Desk) -> None:
    desk.receive(1, "A-1")
    desk.receive(1, "B-1", lot="L1", expires_at_ms=NOON_MS + 10**15)
    assert [location for location, _, _ in places(desk.reserve(2))] == ["B-1", "A-1"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_equal_lots_are_taken_in_order_of_their_location(desk: Desk, strategy: str) -> None:
    desk.receive(3, "C-1")
    desk.do(MoveStock(SITE, SKU, "C-1", "A-02", 1))
    desk.do(MoveStock(SITE, SKU, "C-1", "A-002", 1))
    reservation = desk.reserve(2, strategy=strategy)
    assert [location for location, _, _ in places(reservation)] == ["A-002", "A-02"]


def test_a_pick_without_a_reservation_takes_first_expired_first(shelves: Desk) -> None:
    answer = shelves.ask(PickStock(SITE, SKU, 6))
    assert [part["location"] for part in answer["allocations"]] == ["A-2", "A-1"]


def test_fewest_prefers_the_first_of_bins_that_fit_equally_well(desk: Desk) -> None:
    for location in ("C-1", "A-1", "B-1"):
        desk.receive(4, location)
    assert places(desk.reserve(3, strategy="fewest")) == [("A-1", "", 3)]
    assert [location for location, _, _ in places(desk.reserve(6, strategy="fewest"))] == ["B-1", "C-1"]

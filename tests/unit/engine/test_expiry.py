"""What the owner's clock records: reservations and lots whose time is over."""

from engine.commands import ExpireStock, HoldStock, ReleaseReservation, UnholdStock
from engine.entries import Kind
from engine.moving import next_due_ms
from engine.state import NEVER_MS
from tests.unit.engine.desk import NOON_MS, SITE, SKU, Desk, named

EXPIRE = ExpireStock(SITE, SKU)


def test_the_available_units_of_an_expired_lot_are_held(desk: Desk) -> None:
    desk.receive(5, lot="L1", expires_at_ms=NOON_MS + 10)
    desk.reserve(2)
    desk.now_ms += 9
    assert desk.do(EXPIRE) == []
    desk.now_ms += 1
    (entry,) = desk.do(EXPIRE)
    assert (entry.kind, entry.quantity, entry.reason) == (Kind.LOT_EXPIRED, 3, "expired")
    assert desk.balance(lot="L1") == (5, 2, 3)
    assert desk.do(EXPIRE) == []


def test_units_that_come_back_to_an_expired_lot_are_held_too(desk: Desk) -> None:
    desk.receive(5, lot="L1", expires_at_ms=NOON_MS + 10)
    reservation = desk.reserve(2)
    desk.now_ms += 10
    desk.do(EXPIRE)
    desk.do(ReleaseReservation(*named(reservation)))
    assert next_due_ms(desk.stock()) == NOON_MS + 10
    assert [entry.quantity for entry in desk.do(EXPIRE)] == [2]
    assert desk.balance(lot="L1") == (5, 0, 5)


def test_a_reservation_that_expires_with_its_lot_leaves_held_units(desk: Desk) -> None:
    desk.receive(5, lot="L1", expires_at_ms=NOON_MS + 1000)
    desk.reserve(5, ttl_s=1)
    desk.now_ms += 1000
    kinds = [entry.kind for entry in desk.do(EXPIRE)]
    assert kinds == [Kind.RESERVATION_EXPIRED, Kind.LOT_EXPIRED]
    assert desk.balance(lot="L1") == (5, 0, 5)


def test_nothing_is_due_at_a_stock_that_is_not_known(desk: Desk) -> None:
    assert desk.do(EXPIRE) == []


def test_what_is_due_is_never_noticed_late(desk: Desk) -> None:
    desk.receive(5, lot="L1", expires_at_ms=NOON_MS + 50_000)
    assert (desk.partition.due[0], desk.stock().due_ms) == ((NOON_MS + 50_000, (SITE, SKU)), NOON_MS + 50_000)
    desk.reserve(1, ttl_s=10)
    assert desk.partition.due[0] == (NOON_MS + 10_000, (SITE, SKU))
    assert desk.stock().due_ms == NOON_MS + 10_000


def test_a_later_time_does_not_hide_an_earlier_one(desk: Desk) -> None:
    desk.receive(5)
    desk.reserve(1, ttl_s=10)
    desk.reserve(1, ttl_s=20)
    assert desk.partition.due == [(NOON_MS + 10_000, (SITE, SKU))]
    assert next_due_ms(desk.stock()) == NOON_MS + 10_000


def test_a_lot_whose_units_are_all_held_or_promised_is_not_due(desk: Desk) -> None:
    desk.receive(2, lot="L1", expires_at_ms=NOON_MS + 10)
    desk.reserve(1)
    desk.do(HoldStock(SITE, SKU, "A-1", 1, None, "damage"))
    assert next_due_ms(desk.stock()) == NEVER_MS
    desk.do(UnholdStock(SITE, SKU, "A-1", 1, None, "damage"))
    assert next_due_ms(desk.stock()) == NOON_MS + 10

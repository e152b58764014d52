"""What callers are shown."""

import datetime as dt

import pytest

from engine.commands import OPERATION_NAMES, OPERATIONS, HoldStock, PickReservation, ReceiveStock
from engine.dates import date_of_expiry, end_of_day_ms, rfc3339
from engine.decide import DECIDERS
from engine.entries import EFFECTS, Kind
from engine.partitioning import reservation_id
from engine.refusals import TRANSIENT, Refusal
from engine.views import bin_view, explain_view, reservation_view, state_of, stock_view
from tests.unit.engine.desk import NOON_MS, SITE, SKU, Desk, named, reserve_line

TOMORROW_MS = end_of_day_ms(dt.date(2027, 1, 16))


def test_a_bin_shows_its_lots_with_their_last_good_date(desk: Desk) -> None:
    desk.receive(5, lot="L1", expires_at_ms=TOMORROW_MS)
    desk.receive(2)
    assert bin_view(desk.stock(), "A-1") == {
        "site": SITE, "sku": SKU, "location": "A-1", "on_hand": 7, "reserved": 0, "held": 0, "available": 7,
        "seq": 2,
        "lots": [
            {"lot": None, "on_hand": 2, "reserved": 0, "held": 0, "available": 2, "expires_on": None},
            {"lot": "L1", "on_hand": 5, "reserved": 0, "held": 0, "available": 5, "expires_on": "2027-01-16"},
        ],
    }  # fmt: skip


def test_a_bin_that_is_not_known_shows_as_empty(desk: Desk) -> None:
    desk.receive(5)
    view = bin_view(desk.stock(), "Z")
    assert (view["on_hand"], view["seq"], view["lots"]) == (0, 0, [])


def test_a_stock_sums_its_bins(desk: Desk) -> None:
    desk.receive(5, "A-2")
    desk.receive(4, "A-1")
    desk.reserve(2)
    view = stock_view(desk.stock(), desk.partition.seq)
    assert (view["on_hand"], view["reserved"], view["available"], view["seq"]) == (9, 2, 7, 3)
    assert [bin_["location"] for bin_ in view["bins"]] == ["A-1", "A-2"]


def test_a_reservation_shows_where_its_units_are(desk: Desk) -> None:
    desk.receive(5)
    reservation = desk.reserve(3, ttl_s=60)
    desk.do(PickReservation(*named(reservation), 1))
    assert reservation_view(desk.partition, reservation) == {
        "id": reservation_id(0, 2, NOON_MS), "state": "part_picked", "reference": None,
        "expires_at": "2027-01-15T08:01:00.000Z",
        "lines": [{
            "line": 0, "site": SITE, "sku": SKU, "quantity": 3, "requested": 3, "picked": 1, "released": 0,
            "expired": 0, "short": 0,
            "allocations": [{"location": "A-1", "lot": None, "quantity": 3, "open": 2}],
        }],
    }  # fmt: skip


@pytest.mark.parametrize("changes, state", [
    ({"open": 2}, "held"),
    ({"open": 2, "picked": 1}, "part_picked"),
    ({"picked": 1, "expired": 2}, "picked"),
    ({"expired": 3}, "expired"),
    ({"released": 3}, "released"),
])  # fmt: skip
def test_the_state_follows_from_the_lines(changes: dict[str, int], state: str) -> None:
    line = {"picked": 0, "expired": 0, **changes, "allocations": [{"open": changes.get("open", 0)}]}
    assert state_of([line]) == state


def test_an_explanation_accounts_for_every_unit(desk: Desk) -> None:
    desk.receive(9, lot="L1", expires_at_ms=TOMORROW_MS)
    desk.receive(9, sku="jam")
    desk.reserve_lines(reserve_line(3, index=0), reserve_line(1, index=1, sku="jam"), ttl_s=60)
    desk.do(HoldStock(SITE, SKU, "A-1", 2, None, "damage"))
    view = explain_view(desk.partition, desk.stock())
    assert view["explanation"] == "9 on hand - 3 reserved - 2 held = 4 available"
    (reservation,) = view["reservations"]
    assert (reservation["quantity"], reservation["tentative"]) == (3, False)
    assert view["holds"] == [{"location": "A-1", "lot": "L1", "reason": "damage", "quantity": 2}]
    assert view["lots"][0]["expires_on"] == "2027-01-16"


def test_a_receipt_is_answered_with_the_bin(desk: Desk) -> None:
    assert desk.ask(ReceiveStock(SITE, SKU, "A-1", 5)) == bin_view(desk.stock(), "A-1")


@pytest.mark.parametrize(
    "date", [dt.date(1970, 1, 1), dt.date(2026, 2, 28), dt.date(2028, 2, 29), dt.date.max]
)
def test_a_lot_is_good_through_its_date(date: dt.date) -> None:
    assert date_of_expiry(end_of_day_ms(date)) == date.isoformat()
    assert date_of_expiry(end_of_day_ms(date) + 1) == date.isoformat()


def test_instants_are_shown_to_the_millisecond() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00.000Z"
    assert rfc3339(NOON_MS + 7) == "2027-01-15T08:00:00.007Z"
    assert rfc3339(NOON_MS + 999) == "2027-01-15T08:00:00.999Z"


def test_every_command_has_a_name_and_a_decider() -> None:
    assert set(OPERATIONS.values()) == set(DECIDERS) == set(OPERATION_NAMES)


def test_every_kind_of_entry_says_what_it_does_to_the_balances() -> None:
    assert set(EFFECTS) == set(Kind)
    assert all(value == value.lower() for value in Kind)


def test_the_order_of_refusals_is_the_order_of_precedence() -> None:
    order = list(Refusal)
    for earlier, later in (
        (Refusal.RESERVATION_NOT_FOUND, Refusal.RESERVATION_SPANS),
        (Refusal.RESERVATION_SPANS, Refusal.RESERVATION_RESOLVED),
        (Refusal.RESERVATION_RESOLVED, Refusal.RESERVATION_PENDING),
        (Refusal.RESERVATION_PENDING, Refusal.RESERVATION_HARD),
        (Refusal.RESERVATION_HARD, Refusal.EXCEEDS_RESERVED),
        (Refusal.STOCK_NOT_FOUND, Refusal.BIN_NOT_FOUND),
        (Refusal.BIN_NOT_FOUND, Refusal.LOT_NOT_FOUND),
        (Refusal.LOT_REQUIRED, Refusal.SEQ_NOT_REACHED),
        (Refusal.LOT_EXPIRED, Refusal.INSUFFICIENT_STOCK),
        (Refusal.EXCEEDS_RESERVED, Refusal.INSUFFICIENT_STOCK),
        (Refusal.BELOW_COMMITTED, Refusal.QUANTITY_LIMIT),
    ):
        assert order.index(earlier) < order.index(later)


def test_only_shortages_and_pending_reservations_may_pass_by_themselves() -> None:
    assert {refusal for refusal in Refusal if refusal.is_transient} == TRANSIENT
    assert {Refusal.INSUFFICIENT_STOCK, Refusal.RESERVATION_PENDING} == TRANSIENT


def test_lots_are_shown_by_code_whatever_came_first(desk: Desk) -> None:
    for lot in ("L2", None, "L1"):
        desk.receive(1, lot=lot)
    assert [lot["lot"] for lot in bin_view(desk.stock(), "A-1")["lots"]] == [None, "L1", "L2"]

"""The straight way is taken where one lot alone can serve, and only there.

That it decides what the long way does is checked by the desk, after each `decide`.
"""

import pytest

from engine.commands import HoldStock, ReserveLine, ReserveStock
from engine.entries import Entry
from engine.limits import QUANTITY_MAX
from engine.straight import reserve_straight
from tests.unit.engine.desk import NOON_MS, SITE, Desk, reserve_line

DAY_MS = 24 * 3600 * 1000


@pytest.fixture
def desk() -> Desk:
    """A desk with 10 tea in one bin, 10 jam in two, 10 of two lots of ham, and 10 milk that expires."""
    desk = Desk(number=3)
    desk.receive(10)
    desk.receive(5, "A-1", sku="jam")
    desk.receive(5, "B-1", sku="jam")
    desk.receive(5, sku="ham", lot="L1")
    desk.receive(5, sku="ham", lot="L2")
    desk.receive(10, sku="milk", lot="L1", expires_at_ms=NOON_MS + DAY_MS)
    return desk


def straight(
    desk: Desk, *lines: ReserveLine, ttl_s: int | None = None, reference: str | None = None
) -> Entry | None:
    """Reserve the straight way; nothing is applied. If it is taken, it must be what the desk decides."""
    command = ReserveStock(lines, ttl_s, reference)
    entry = reserve_straight(desk.partition, command, desk.now_ms, "key", 7)
    outcome = desk.decide(command, "key")
    assert entry is None or outcome == [entry]
    return entry


def test_units_of_the_only_lot_go_the_straight_way(desk: Desk) -> None:
    entry = straight(desk, reserve_line(4))
    assert entry is not None
    assert (entry.partition, entry.site, entry.sku, entry.location, entry.lot) == (3, SITE, "tea", "A-1", "")
    assert (entry.quantity, entry.on_hand, entry.reserved, entry.held) == (4, 10, 4, 0)
    assert (entry.key, entry.fingerprint) == ("key", 7)
    assert entry.expires_at_ms is entry.reference is None


def test_so_does_the_last_unit(desk: Desk) -> None:
    desk.reserve(3)
    desk.do(HoldStock(SITE, "tea", "A-1", 2, None, "damage"))
    assert straight(desk, reserve_line(5)) is not None
    assert straight(desk, reserve_line(6)) is None


def test_so_does_a_named_location_of_several(desk: Desk) -> None:
    entry = straight(desk, reserve_line(5, sku="jam", location="B-1"))
    assert entry is not None
    assert entry.location == "B-1"


def test_so_do_a_time_to_live_and_a_reference(desk: Desk) -> None:
    entry = straight(desk, reserve_line(1, index=6), ttl_s=60, reference="order 7")
    assert entry is not None
    assert (entry.expires_at_ms, entry.reference, entry.line) == (desk.now_ms + 60_000, "order 7", 6)


def test_time_does_not_go_back_on_the_straight_way(desk: Desk) -> None:
    desk.now_ms -= 1_000
    entry = straight(desk, reserve_line(1), ttl_s=60)
    assert entry is not None
    assert (entry.at_ms, entry.expires_at_ms) == (NOON_MS, NOON_MS + 60_000)


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([reserve_line(1), reserve_line(1, index=1)], id="two lines"),
        pytest.param([reserve_line(1, sku="rum")], id="unknown stock"),
        pytest.param([reserve_line(1, site="NYC")], id="unknown site"),
        pytest.param([reserve_line(1, sku="jam")], id="two bins and no location"),
        pytest.param([reserve_line(1, location="Z-9")], id="unknown location"),
        pytest.param([reserve_line(1, sku="ham")], id="two lots"),
        pytest.param([reserve_line(1, sku="milk")], id="a lot that expires"),
        pytest.param([reserve_line(1, lot="")], id="a named lot"),
        pytest.param([reserve_line(11)], id="one unit too many"),
        pytest.param([reserve_line(QUANTITY_MAX + 1)], id="more than a line may have"),
    ],
)
def test_whatever_needs_more_thought_goes_the_long_way(desk: Desk, lines: list[ReserveLine]) -> None:
    assert straight(desk, *lines) is None

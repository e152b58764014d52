"""Snapshots: rows out, rows in, and a partition that goes on as if nothing had happened."""

import pytest

from engine.apply import apply, apply_filtered
from engine.commands import (
    Command,
    ExpireStock,
    ExtendReservation,
    HoldStock,
    MoveStock,
    PickReservation,
    PickStock,
    ReceiveStock,
    ReleaseReservation,
    ReserveLine,
    ReserveStock,
    ReserveTentatively,
)
from engine.images import Rows, capture, digest, restore
from engine.partitioning import partition_of
from engine.state import Partition
from engine.touching import lies_in, reservation_number, stock_keys
from tests.unit.engine.desk import NOON_MS, SITE, SKU, Desk, everything, named, replayed, reserve_line

JAM = (SITE, "jam")
TEA = (SITE, "tea")


def busy(desk: Desk) -> Desk:
    """A partition where a bit of everything has happened."""
    desk.receive(9, "A-1", lot="L1", expires_at_ms=NOON_MS + 90_000)
    desk.receive(9, "A-2")
    desk.receive(9, "A-1", sku="jam")
    lines = (ReserveLine(SITE, "tea", 12, index=0), ReserveLine(SITE, "jam", 3, index=1))
    both = desk.reserve_lines(*lines, ttl_s=60)
    gone = desk.reserve(2)
    desk.do(ReserveTentatively("a", 9, 1, (reserve_line(2, index=5),)))
    desk.do(HoldStock(SITE, "jam", "A-1", 2, None, "damage"))
    desk.do(PickReservation(*named(both), 5, "tea"))
    desk.do(MoveStock(SITE, SKU, "A-2", "B-1", 8))
    desk.do(ReleaseReservation(*named(gone)))
    desk.do(PickReservation(*named(both), 1, "jam", short_reason="empty"))
    desk.do(ExtendReservation(*named(both), 70))
    desk.now_ms += 100_000
    desk.do(ExpireStock(*TEA))
    return desk


def test_a_partition_restored_at_any_point_goes_on_like_the_original(desk: Desk) -> None:
    ledger = busy(desk).ledger
    for cut in range(len(ledger) + 1):
        before = replayed(ledger[:cut])
        fresh = Partition(0)
        fresh.seq, fresh.at_ms = before.seq, before.at_ms
        restore(fresh, list(before.stocks), capture(before, before.stocks, before.reservations))
        assert everything(fresh) == everything(before)
        for entry in ledger[cut:]:
            apply(fresh, entry)
        assert everything(fresh) == everything(desk.partition), cut
        assert digest(fresh) == digest(desk.partition)


def test_what_is_active_is_left_as_it_is(desk: Desk) -> None:
    desk.receive(9)
    old = capture(desk.partition, [TEA], [])
    desk.reserve(2)
    before = everything(desk.partition)
    restore(desk.partition, [TEA], old)
    assert everything(desk.partition) == before


def test_a_stock_without_rows_becomes_an_empty_one() -> None:
    partition = Partition(0)
    restore(partition, [TEA], Rows([], [], []))
    assert partition.stocks[TEA].bins == {}
    assert capture(partition, [TEA, JAM], [1]) == Rows([], [], [])


def test_a_stock_is_activated_beside_those_that_are(desk: Desk) -> None:
    busy(desk)
    original = desk.partition
    fresh = Partition(0)
    fresh.seq, fresh.at_ms = original.seq, original.at_ms
    for key in (JAM, TEA):
        numbers = sorted(original.reservations)
        restore(fresh, [key], capture(original, [key], numbers))
    assert everything(fresh) == everything(original)


def test_a_digest_leaves_out_what_is_empty_or_resolved(desk: Desk) -> None:
    desk.receive(2)
    first = digest(desk.partition)
    desk.do(PickReservation(*named(desk.reserve(2))))
    assert digest(desk.partition) == {"seq": 3, "lots": [], "reservations": [], "lines": []}
    assert first["lots"]


def test_a_past_state_of_one_sku_needs_only_its_own_entries(desk: Desk) -> None:
    busy(desk)
    past = Partition(0)
    for entry in desk.ledger:
        if (entry.site, entry.sku) == JAM:
            apply_filtered(past, entry)
    bin_, original = past.stocks[JAM].bins["A-1"].lot(""), desk.lot(sku="jam")
    assert (bin_.on_hand, bin_.reserved, bin_.held) == (original.on_hand, original.reserved, original.held)


def test_a_command_says_which_stocks_it_touches(desk: Desk) -> None:
    desk.receive(9)
    desk.receive(9, sku="jam")
    lines = (ReserveLine(SITE, "tea", 2, index=0), ReserveLine(SITE, "jam", 3, index=1))
    reservation = desk.reserve_lines(*lines, ttl_s=60)
    pick = PickReservation(*named(reservation))
    assert set(stock_keys(desk.partition, pick)) == {TEA, JAM}
    assert set(stock_keys(desk.partition, ExpireStock(*TEA))) == {TEA, JAM}
    assert set(stock_keys(desk.partition, PickReservation(99, NOON_MS))) == set()
    assert (reservation_number(pick), reservation_number(ExpireStock(*TEA))) == (reservation.number, None)


def test_a_command_lies_in_the_partition_of_all_skus_that_it_names() -> None:
    here, there = (partition_of(*key, 64) for key in (TEA, JAM))
    assert here != there
    tea, jam = ReserveLine(*TEA, 1), ReserveLine(*JAM, 1)
    for command in (ReceiveStock(*TEA, "A-1", 1), ReserveStock((tea,)), ReserveStock((tea, tea))):
        assert lies_in(command, here, 64)
        assert not lies_in(command, there, 64)
    assert not lies_in(ReserveStock((tea, jam)), here, 64)
    assert lies_in(PickReservation(1, NOON_MS), here, 64)


@pytest.mark.parametrize("command", [
    MoveStock(SITE, SKU, "A-1", "Z-1", 6),
    ExpireStock(*TEA),
    PickStock(SITE, SKU, 3),
    HoldStock(SITE, SKU, "A-1", 2, None, "damage"),
])  # fmt: skip
def test_decisions_do_not_depend_on_the_order_of_a_snapshots_rows(desk: Desk, command: Command) -> None:
    for location, lot in (("B-1", "L2"), ("A-1", "L2"), ("A-1", "L1")):
        desk.receive(3, location, lot=lot, expires_at_ms=NOON_MS + 60_000)
    for lot in ("L2", "L1"):
        desk.reserve(2, ttl_s=50, location="A-1", lot=lot)
    twin = Desk()
    twin.now_ms = desk.now_ms = NOON_MS + (60_000 if isinstance(command, ExpireStock) else 0)
    twin.partition.seq, twin.partition.at_ms = desk.partition.seq, desk.partition.at_ms
    rows = capture(desk.partition, [TEA], desk.partition.reservations)
    restore(twin.partition, [TEA], Rows(*(part[::-1] for part in rows)))
    assert twin.do(command) == desk.do(command)
    assert everything(twin.partition) == everything(desk.partition)

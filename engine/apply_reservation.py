"""What an entry does to the reservation that it names."""

import json
from bisect import bisect_left, insort
from operator import attrgetter
from typing import Any

from engine.entries import Entry, Kind
from engine.state import Allocation, Line, Lot, Partition, Reservation, Stock

_RESERVED = Kind.STOCK_RESERVED
_PICKED = Kind.STOCK_PICKED
_RELEASED = Kind.STOCK_RELEASED
_EXPIRED = Kind.RESERVATION_EXPIRED
_SHORTED = Kind.STOCK_SHORTED

_ENTERS = frozenset({Kind.STOCK_RESERVED, Kind.RESERVATION_MOVED_IN, Kind.STOCK_MOVED_IN})
"""By these, units come into a reservation that the entry names; by all others they leave it."""

_INDEX = attrgetter("index")


def apply_to_reservation(partition: Partition, entry: Entry, stock: Stock, lot: Lot) -> None:
    """Apply an entry that changed units of a lot to the reservation that it names."""
    number = entry.reservation
    assert number is not None
    reservation = partition.reservations.get(number)
    if reservation is None:
        if entry.kind != _RESERVED:
            return  # The entries that opened it were filtered out: its lot is all that is asked for.
        reservation = _open_reservation(partition, entry)
    reservation.seq = entry.seq
    line = _line_of(reservation, entry)
    allocation = _allocation_of(line, lot.code, entry)
    if entry.kind in _ENTERS:
        _enter(partition, entry, reservation, line, allocation, stock)
    else:
        _leave(partition, entry, reservation, line, allocation, stock)


def _enter(
    partition: Partition,
    entry: Entry,
    reservation: Reservation,
    line: Line,
    allocation: Allocation,
    stock: Stock,
) -> None:
    """Add units to an allocation."""
    quantity = entry.quantity
    allocation.open += quantity
    allocation.quantity += quantity
    reservation.open += quantity
    if reservation.open_at is not None:
        reservation.open_at[stock.site, stock.sku] += quantity
    if entry.kind == _RESERVED:
        line.quantity += quantity
        line.requested = max(line.requested, line.quantity)
    if stock.reservations is None:
        stock.reservations = {}
    stock.reservations[reservation.number] = reservation
    if reservation.deadline_ms is not None:
        partition.tentative[reservation.number] = reservation.deadline_ms
    if reservation.expires_at_ms is not None:
        partition.mark_due(stock, reservation.expires_at_ms)


def _leave(
    partition: Partition,
    entry: Entry,
    reservation: Reservation,
    line: Line,
    allocation: Allocation,
    stock: Stock,
) -> None:
    """Take units from an allocation, and forget the reservation where nothing of it is open any more."""
    kind, quantity = entry.kind, entry.quantity
    allocation.open -= quantity
    reservation.open -= quantity
    assert allocation.open >= 0, "more left a reservation than it held"
    if kind == _PICKED:
        line.picked += quantity
    elif kind == _RELEASED:
        line.released += quantity
    elif kind == _EXPIRED:
        line.expired += quantity
    elif kind == _SHORTED:
        line.short += quantity
    else:  # Moved out: the units go on in the allocation that they are moved into.
        allocation.quantity -= quantity
        if not allocation.quantity:
            line.allocations.remove(allocation)
    open_here = reservation.open
    if reservation.open_at is not None:
        open_here = reservation.open_at[stock.site, stock.sku] = (
            reservation.open_at[stock.site, stock.sku] - quantity
        )
    if not open_here and stock.reservations is not None:
        stock.reservations.pop(reservation.number, None)
        if not stock.reservations:
            stock.reservations = None
    if not reservation.open and reservation.deadline_ms is not None:
        partition.tentative.pop(reservation.number, None)


def _open_reservation(partition: Partition, entry: Entry) -> Reservation:
    number = entry.reservation
    assert number is not None
    reservation = partition.reservations[number] = Reservation(number, entry.at_ms)
    reservation.expires_at_ms = entry.expires_at_ms
    reservation.reference = entry.reference
    if entry.detail is None:
        return reservation
    detail: dict[str, Any] = json.loads(entry.detail)
    for index, site, sku, requested in detail.get("requested", ()):
        line = Line(index, site, sku)
        line.requested = requested
        add_line(reservation, line)
    reservation.attempt = detail.get("attempt")
    if "home" in detail:
        reservation.home = (detail["home"], detail.get("opened_seq", 0))
        reservation.deadline_ms = detail["deadline_ms"]
        partition.tentative[number] = detail["deadline_ms"]
    elif reservation.attempt is not None:
        reservation.parts = tuple((part[0], part[1], part[2]) for part in detail["parts"])
        partition.attempts[reservation.attempt] = number
    return reservation


def add_line(reservation: Reservation, line: Line) -> None:
    """Add a line in order of its index; from the second on, open units are counted by SKU."""
    if reservation.lines and reservation.open_at is None:
        reservation.open_at = {}
        _count_open(reservation.open_at, reservation.lines[0])
    insort(reservation.lines, line, key=_INDEX)
    if reservation.open_at is not None:
        _count_open(reservation.open_at, line)


def _count_open(open_at: dict[tuple[str, str], int], line: Line) -> None:
    open_units = sum(allocation.open for allocation in line.allocations)
    open_at[line.site, line.sku] = open_at.get((line.site, line.sku), 0) + open_units


def _line_of(reservation: Reservation, entry: Entry) -> Line:
    assert entry.line is not None, "an entry about reserved units names the line"
    lines = reservation.lines
    if lines and lines[-1].index == entry.line:
        return lines[-1]
    place = bisect_left(lines, entry.line, key=_INDEX)
    if place < len(lines) and lines[place].index == entry.line:
        return lines[place]
    assert entry.site is not None is not entry.sku
    line = Line(entry.line, entry.site, entry.sku)
    add_line(reservation, line)
    return line


def _allocation_of(line: Line, lot_code: str, entry: Entry) -> Allocation:
    assert entry.location is not None
    for allocation in line.allocations:
        if allocation.location == entry.location and allocation.lot == lot_code:
            return allocation
    allocation = Allocation(entry.location, lot_code)
    line.allocations.append(allocation)
    return allocation


def apply_to_reservation_alone(partition: Partition, entry: Entry) -> None:
    """Apply what changes a reservation but no lot."""
    if entry.kind == Kind.ATTEMPT_DECIDED:
        _open_reservation(partition, entry).seq = entry.seq
        return
    if entry.kind == Kind.ATTEMPT_ABANDONED and entry.detail is not None:
        opened_seq = json.loads(entry.detail).get("opened_seq", 0)
        partition.closed_seq = max(partition.closed_seq, min(opened_seq + 1, entry.seq))
    if entry.reservation is None:
        return
    reservation = partition.reservations.get(entry.reservation)
    if reservation is None:
        return  # Its opening entry was filtered out: another SKU's.
    reservation.seq = entry.seq
    reservation.expires_at_ms = entry.expires_at_ms
    if entry.kind == Kind.RESERVATION_CONFIRMED:
        assert reservation.home is not None is not entry.detail, "only a tentative share is confirmed"
        reservation.home = (reservation.home[0], json.loads(entry.detail)["home_number"])
        reservation.deadline_ms = None
        partition.tentative.pop(reservation.number, None)
    if reservation.expires_at_ms is not None:
        for line in reservation.lines:
            stock = partition.stocks.get((line.site, line.sku))
            if stock is not None:
                partition.mark_due(stock, reservation.expires_at_ms)

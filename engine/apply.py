"""What an entry does to the state. Every change of a partition goes through `apply`, live and on replay alike."""

import heapq
import json
from typing import Any

from engine.entries import EFFECTS, Entry, Kind
from engine.state import Allocation, Bin, Line, Lot, Partition, Reservation, Stock


def apply(partition: Partition, entry: Entry) -> None:
    """Apply the next entry in place.

    Raises AssertionError when the entry does not follow from the state: memory and ledger disagree, and the
    owner must stop and recover.
    """
    assert entry.seq == partition.seq + 1, "an entry is missing or comes twice"
    apply_filtered(partition, entry)


def apply_filtered(partition: Partition, entry: Entry) -> None:
    """Apply an entry where those of other SKUs may have been left out, as for a past state of one SKU."""
    assert entry.seq > partition.seq, "entries are applied in order"
    partition.seq = entry.seq
    partition.at_ms = entry.at_ms
    if entry.sku is None:
        _apply_to_reservation_alone(partition, entry)
        return
    stock, lot = _apply_to_lot(partition, entry)
    if entry.reservation is not None:
        _apply_to_reservation(partition, entry, stock, lot)


def _apply_to_lot(partition: Partition, entry: Entry) -> tuple[Stock, Lot]:
    kind, seq, location, lot_code, quantity = entry.kind, entry.seq, entry.location, entry.lot, entry.quantity
    assert entry.site is not None and entry.sku is not None  # noqa: PT018 - one fact
    assert location is not None and lot_code is not None  # noqa: PT018 - one fact
    stock_key = (entry.site, entry.sku)
    stock = partition.stocks.get(stock_key)
    if stock is None:
        stock = partition.stocks[stock_key] = Stock(entry.site, entry.sku)
    bin_ = stock.bins.get(location)
    if bin_ is None:
        bin_ = stock.bins[location] = Bin(location)
    lot = bin_.lots.get(lot_code)
    if lot is None:
        lot = bin_.lots[lot_code] = Lot(lot_code)

    was_empty = not lot.on_hand
    on_hand, reserved, held = EFFECTS[kind]
    lot.on_hand += on_hand * quantity
    lot.held += held * quantity
    if entry.reservation is not None:
        lot.reserved += reserved * quantity
    assert lot.on_hand == entry.on_hand, "on hand differs from the ledger's"
    assert lot.reserved == entry.reserved, "reserved differs from the ledger's"
    assert lot.held == entry.held, "held differs from the ledger's"
    assert lot.reserved >= 0 <= lot.held, "a balance is below zero"
    assert lot.reserved + lot.held <= lot.on_hand, "more is committed than is on hand"
    lot.seq = bin_.seq = seq

    if held:
        assert entry.reason is not None
        holds = lot.holds = lot.holds or {}
        holds[entry.reason] = holds.get(entry.reason, 0) + held * quantity
        if not holds[entry.reason]:
            del holds[entry.reason]
        if not holds:
            lot.holds = None
    if on_hand > 0 and was_empty:
        lot.age = seq
        lot.expires_at_ms = None
    if kind == Kind.STOCK_RECEIVED or kind == Kind.STOCK_MOVED_IN:  # noqa: PLR1714 - twice as fast as a set
        if entry.expires_at_ms is not None:
            lot.expires_at_ms = entry.expires_at_ms
        if kind == Kind.STOCK_MOVED_IN:
            _take_over_age(stock, lot, entry, was_empty=was_empty)
    if lot.expires_at_ms is not None and lot.on_hand > lot.reserved + lot.held:
        mark_due(partition, stock, lot.expires_at_ms)
    return stock, lot


def _take_over_age(stock: Stock, lot: Lot, entry: Entry, *, was_empty: bool) -> None:
    """Units keep their age when they move; a bin that already has the lot keeps the older one."""
    assert entry.counterpart is not None and entry.lot is not None  # noqa: PT018 - one fact
    source = stock.bins.get(entry.counterpart)
    source_lot = source.lots.get(entry.lot) if source else None
    if source_lot is not None:
        lot.age = source_lot.age if was_empty else min(lot.age, source_lot.age)


def mark_due(partition: Partition, stock: Stock, due_ms: int) -> None:
    """Remember that something at the stock expires at `due_ms`."""
    if due_ms < stock.due_ms:
        stock.due_ms = due_ms
        heapq.heappush(partition.due, (due_ms, (stock.site, stock.sku)))


def _apply_to_reservation(partition: Partition, entry: Entry, stock: Stock, lot: Lot) -> None:
    kind, quantity = entry.kind, entry.quantity
    assert entry.reservation is not None and entry.line is not None  # noqa: PT018 - one fact
    reservation = partition.reservations.get(entry.reservation)
    if reservation is None:
        if kind != Kind.STOCK_RESERVED:
            return  # An entry of a share whose other entries were filtered out: its lot is all that is asked for.
        reservation = _open_reservation(partition, entry)
    reservation.seq = entry.seq
    line = _line_of(reservation, entry)
    allocation = _allocation_of(line, lot.code, entry)
    if kind == Kind.STOCK_RESERVED or kind == Kind.RESERVATION_MOVED_IN or kind == Kind.STOCK_MOVED_IN:  # noqa: PLR1714
        allocation.open += quantity
        allocation.quantity += quantity
        reservation.open += quantity
        if kind == Kind.STOCK_RESERVED:
            line.quantity += quantity
            if line.requested < line.quantity:
                line.requested = line.quantity
        if stock.reservations is None:
            stock.reservations = {}
        stock.reservations[reservation.number] = reservation
        if reservation.expires_at_ms is not None:
            mark_due(partition, stock, reservation.expires_at_ms)
        return
    allocation.open -= quantity
    reservation.open -= quantity
    assert allocation.open >= 0, "more left a reservation than it held"
    if kind == Kind.STOCK_PICKED:
        line.picked += quantity
    elif kind == Kind.STOCK_RELEASED:
        line.released += quantity
    elif kind == Kind.RESERVATION_EXPIRED:
        line.expired += quantity
    elif kind == Kind.STOCK_SHORTED:
        line.short += quantity
    else:  # Moved out: the units go on in the allocation that they are moved into.
        allocation.quantity -= quantity
        if not allocation.quantity:
            line.allocations.remove(allocation)
    _leave_stock(reservation, stock)
    if not reservation.open:
        partition.tentative.pop(reservation.number, None)


def _leave_stock(reservation: Reservation, stock: Stock) -> None:
    """Forget the reservation at a stock where nothing of it is open any more."""
    for line in reservation.lines:
        if line.sku == stock.sku and line.site == stock.site:
            for allocation in line.allocations:
                if allocation.open:
                    return
    if stock.reservations is not None:
        stock.reservations.pop(reservation.number, None)
        if not stock.reservations:
            stock.reservations = None


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
        reservation.lines.append(line)
    reservation.attempt = detail.get("attempt")
    if "home" in detail:
        reservation.home = (detail["home"], 0)
        reservation.deadline_ms = detail["deadline_ms"]
        partition.tentative[number] = detail["deadline_ms"]
    elif reservation.attempt is not None:
        reservation.parts = tuple((part[0], part[1]) for part in detail["parts"])
        partition.attempts[reservation.attempt] = number
    return reservation


def _line_of(reservation: Reservation, entry: Entry) -> Line:
    for line in reservation.lines:
        if line.index == entry.line:
            return line
    assert entry.line is not None and entry.site is not None and entry.sku is not None  # noqa: PT018 - one fact
    line = Line(entry.line, entry.site, entry.sku)
    reservation.lines.append(line)
    return line


def _allocation_of(line: Line, lot_code: str, entry: Entry) -> Allocation:
    assert entry.location is not None
    for allocation in line.allocations:
        if allocation.location == entry.location and allocation.lot == lot_code:
            return allocation
    allocation = Allocation(entry.location, lot_code)
    line.allocations.append(allocation)
    return allocation


def _apply_to_reservation_alone(partition: Partition, entry: Entry) -> None:
    """Apply what changes a reservation but no lot."""
    if entry.kind == Kind.ATTEMPT_DECIDED:
        _open_reservation(partition, entry).seq = entry.seq
        return
    if entry.reservation is None:
        return
    reservation = partition.reservations.get(entry.reservation)
    if reservation is None:
        return  # Its opening entry was filtered out: another SKU's.
    reservation.seq = entry.seq
    reservation.expires_at_ms = entry.expires_at_ms
    if entry.kind == Kind.RESERVATION_CONFIRMED:
        assert reservation.home is not None and entry.detail is not None  # noqa: PT018 - one fact
        reservation.home = (reservation.home[0], json.loads(entry.detail)["home_number"])
        reservation.deadline_ms = None
        partition.tentative.pop(reservation.number, None)
    if reservation.expires_at_ms is not None:
        for line in reservation.lines:
            stock = partition.stocks.get((line.site, line.sku))
            if stock is not None:
                mark_due(partition, stock, reservation.expires_at_ms)

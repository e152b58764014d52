"""What an entry does to the state. Every change of a partition goes through `apply`, live and on replay."""

from sys import intern

from engine.apply_reservation import apply_to_reservation, apply_to_reservation_alone
from engine.entries import EFFECTS, Entry, Kind
from engine.state import Allocation, Bin, Line, Lot, Partition, Reservation, Stock

# Looking a member up in its enum takes 0.13 us, more than the rest of a comparison.
_RESERVED = Kind.STOCK_RESERVED
_MOVED_IN = Kind.STOCK_MOVED_IN

FILLS = frozenset({Kind.STOCK_RECEIVED, Kind.STOCK_MOVED_IN, Kind.STOCK_ADJUSTED, Kind.STOCK_COUNTED})
"""By these, units come into a bin; the entry says when their lot expires."""

_OPENS = frozenset({Kind.STOCK_RESERVED, Kind.ATTEMPT_DECIDED})
"""These may be the first entry of a reservation."""

UNFIT = (AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What `apply` and `restore` may raise at a row that no engine has written. The state is worth nothing
afterwards. JSON that is thousands of levels deep is a RecursionError."""


def apply(partition: Partition, entry: Entry) -> None:
    """Apply the next entry in place.

    Raises AssertionError when the entry does not follow from the state: memory and ledger disagree, and the
    owner must stop and recover.
    """
    seq, number = entry.seq, entry.reservation
    assert seq == partition.seq + 1, "an entry is missing or comes twice"
    if number == seq and entry.kind == _RESERVED and entry.detail is None:
        _apply_opening(partition, entry)
        return
    assert number is None or number in partition.reservations or entry.kind in _OPENS, (
        "an entry names a reservation that is not active"
    )
    apply_filtered(partition, entry)


def apply_filtered(partition: Partition, entry: Entry) -> None:
    """Apply an entry where those of other SKUs may have been left out, as for a past state of one SKU."""
    assert entry.seq > partition.seq, "entries are applied in order"
    partition.seq = entry.seq
    partition.at_ms = entry.at_ms
    if entry.sku is None:
        apply_to_reservation_alone(partition, entry)
        return
    stock, bin_, lot = _place_of(partition, entry)
    _apply_to_lot(partition, entry, stock, bin_, lot)
    if entry.reservation is not None:
        apply_to_reservation(partition, entry, stock, lot)


def _apply_opening(partition: Partition, entry: Entry) -> None:
    """Apply the first entry of a reservation that says all there is to know of it: most of what comes."""
    (
        _, seq, at_ms, _, _, _, _, _, _, _, _, quantity, on_hand, reserved, held, _, index, _, expires_at_ms,
        reference, _, _,
    ) = entry  # fmt: skip
    stock, bin_, lot = _place_of(partition, entry)
    assert lot.reserved + quantity == reserved, "reserved differs from the ledger's"
    assert lot.on_hand == on_hand, "on hand differs from the ledger's"
    assert lot.held == held, "held differs from the ledger's"
    assert quantity > 0 <= held, "a balance is below zero"
    assert reserved + held <= on_hand, "more is committed than is on hand"
    assert index is not None, "an entry about reserved units names the line"
    partition.seq = lot.seq = bin_.seq = seq
    partition.at_ms = at_ms
    lot.reserved = reserved
    if lot.expires_at_ms is not None and on_hand > reserved + held:
        partition.mark_due(stock, lot.expires_at_ms)
    line = Line(index, stock.site, stock.sku, quantity)
    line.allocations = [Allocation(bin_.location, lot.code, quantity)]
    reservation = partition.reservations[seq] = Reservation(seq, at_ms)
    reservation.reference = reference
    reservation.lines = [line]
    reservation.open = quantity
    reservation.seq = seq
    if stock.reservations is None:
        stock.reservations = {seq: reservation}
    else:
        stock.reservations[seq] = reservation
    if expires_at_ms is not None:
        reservation.expires_at_ms = expires_at_ms
        partition.mark_due(stock, expires_at_ms)


def _place_of(partition: Partition, entry: Entry) -> tuple[Stock, Bin, Lot]:
    """Return what an entry is about, made when it is new. Site and location codes recur: one copy is kept."""
    site, sku, location, lot_code = entry[7:11]
    assert site is not None is not sku, "an entry about stock names its SKU"
    assert location is not None is not lot_code, "an entry about stock names its bin and lot"
    stock = partition.stocks.get((site, sku))
    if stock is None:
        site = intern(site)
        stock = partition.stocks[site, sku] = Stock(site, sku)
    bin_ = stock.bins.get(location)
    if bin_ is None:
        location = intern(location)
        bin_ = stock.bins[location] = Bin(location)
    lot = bin_.lot(lot_code)
    return stock, bin_, lot if lot is not None else bin_.add(Lot(lot_code))


def _apply_to_lot(partition: Partition, entry: Entry, stock: Stock, bin_: Bin, lot: Lot) -> None:
    kind, quantity = entry.kind, entry.quantity
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
    lot.seq = bin_.seq = entry.seq
    if held:
        _apply_to_holds(lot, entry, held * quantity)
    if kind in FILLS and lot.on_hand:
        if was_empty:
            lot.age = entry.seq
        if was_empty or entry.expires_at_ms is not None:
            lot.expires_at_ms = entry.expires_at_ms
        if kind == _MOVED_IN:
            _take_over_age(stock, lot, entry, was_empty=was_empty)
    if lot.expires_at_ms is not None and lot.on_hand > lot.reserved + lot.held:
        partition.mark_due(stock, lot.expires_at_ms)


def _apply_to_holds(lot: Lot, entry: Entry, quantity: int) -> None:
    assert entry.reason is not None, "a hold has a reason"
    holds = lot.holds = lot.holds or {}
    units = holds.get(entry.reason, 0) + quantity
    assert units >= 0, "more is put back on sale than was held for the reason"
    if units:
        holds[entry.reason] = units
    else:
        del holds[entry.reason]
        lot.holds = holds or None


def _take_over_age(stock: Stock, lot: Lot, entry: Entry, *, was_empty: bool) -> None:
    """Units keep their age when they move; a bin that already has the lot keeps the older one."""
    assert entry.counterpart is not None is not entry.lot, "a move names both bins"
    source = stock.bins.get(entry.counterpart)
    source_lot = source.lot(entry.lot) if source else None
    if source_lot is not None:
        lot.age = source_lot.age if was_empty else min(lot.age, source_lot.age)

"""Decisions about stock itself: receive, pick, move, adjust, count, hold, unhold, expire."""

import json

from engine.choosing import choose
from engine.commands import (
    AdjustStock,
    CountStock,
    ExpireStock,
    HoldStock,
    MoveStock,
    PickStock,
    ReceiveStock,
    UnholdStock,
)
from engine.dates import date_of_expiry
from engine.draft import Draft, sole_lot
from engine.entries import Kind
from engine.limits import QUANTITY_MAX
from engine.refusals import Refusal, Refused, refused
from engine.reserving import SHORT, expire
from engine.state import NEVER_MS, NO_LOT, Bin, Lot, Partition, Stock

EXPIRED = "expired"
"""The reason under which units of an expired lot are held."""


def receive(partition: Partition, command: ReceiveStock, draft: Draft) -> Refused | None:
    """Put units into a bin."""
    stock = _stock_of(partition, command.site, command.sku)
    lot = command.lot
    if lot is None:
        lot = NO_LOT if command.expires_at_ms is None else date_of_expiry(command.expires_at_ms)
    expires_at_ms = command.expires_at_ms
    if lot != NO_LOT:
        for known in _stocked_lots(stock, lot):
            if expires_at_ms is None:
                expires_at_ms = known.expires_at_ms
            elif known.expires_at_ms != expires_at_ms:
                date = None if known.expires_at_ms is None else date_of_expiry(known.expires_at_ms)
                return refused(Refusal.LOT_EXPIRY_DIFFERS, lot=lot, expires_on=date)
    refusal = _beyond_limit(draft, stock, command.location, lot, command.quantity)
    if refusal is not None:
        return refusal
    draft.change(
        Kind.STOCK_RECEIVED, stock, command.location, lot, command.quantity,
        expires_at_ms=expires_at_ms, reference=command.reference, reason=command.reason,
    )  # fmt: skip
    return None


def pick_stock(partition: Partition, command: PickStock, draft: Draft) -> Refused | None:
    """Take available units out, first expired first out unless a bin or lot is named."""
    stock = _found_bin(partition, command.site, command.sku, command.location)
    if isinstance(stock, Refused):
        return stock
    lots = list(_stocked_lots(stock, command.lot)) if command.lot is not None else []
    if lots and all(lot.expires_at_ms is not None and lot.expires_at_ms <= draft.at_ms for lot in lots):
        return refused(Refusal.LOT_EXPIRED, lot=command.lot)
    taken, available = choose(
        draft, stock, command.quantity, draft.at_ms, location=command.location, lot=command.lot
    )
    if available < command.quantity:
        return refused(Refusal.INSUFFICIENT_STOCK, requested=command.quantity, available=available)
    for location, lot, quantity in taken:
        draft.change(Kind.STOCK_PICKED, stock, location, lot, quantity, reference=command.reference)
    return None


def move(partition: Partition, command: MoveStock, draft: Draft) -> Refused | None:
    """Move units to another bin of the SKU. Held units stay; reserved ones take their reservation with them."""
    stock = _found_bin(partition, command.site, command.sku, command.from_location)
    if isinstance(stock, Refused):
        return stock
    source = stock.bins[command.from_location]
    lots = _ordered_lots(source, command.lot)
    movable = sum(lot.on_hand - lot.held for lot in lots)
    if movable < command.quantity:
        return refused(Refusal.INSUFFICIENT_STOCK, requested=command.quantity, available=movable)
    remaining = command.quantity
    for lot in lots:
        part = min(remaining, lot.available)
        refusal = _move_part(draft, stock, command, lot, part, None, None)
        if refusal is not None:
            return refusal
        remaining -= part
    reservations = sorted((stock.reservations or {}).items())
    for number, reservation in reservations:
        for line in reservation.lines:
            if (line.site, line.sku) != (command.site, command.sku):
                continue
            for allocation in line.allocations:
                lot_matches = command.lot in (None, allocation.lot)
                if not remaining or allocation.location != command.from_location or not lot_matches:
                    continue
                part = min(remaining, allocation.open)
                refusal = _move_part(draft, stock, command, source.lots[allocation.lot], part, number, line.index)
                if refusal is not None:
                    return refusal
                remaining -= part
    assert not remaining, "reserved units without a reservation"
    return None


def _move_part(  # noqa: PLR0913 - a step of `move` with all it knows
    draft: Draft, stock: Stock, command: MoveStock, lot: Lot, part: int, reservation: int | None, line: int | None
) -> Refused | None:
    if not part:
        return None
    refusal = _beyond_limit(draft, stock, command.to_location, lot.code, part)
    if refusal is not None:
        return refusal
    draft.change(
        Kind.STOCK_MOVED_OUT, stock, command.from_location, lot.code, part,
        reservation=reservation, line=line, counterpart=command.to_location,
    )  # fmt: skip
    draft.change(
        Kind.STOCK_MOVED_IN, stock, command.to_location, lot.code, part,
        reservation=reservation, line=line, counterpart=command.from_location, expires_at_ms=lot.expires_at_ms,
    )  # fmt: skip
    return None


def adjust(partition: Partition, command: AdjustStock, draft: Draft) -> Refused | None:
    """Add units, or take away available ones."""
    stock = _stock_of(partition, command.site, command.sku)
    if command.delta < 0:
        found = _found_bin(partition, command.site, command.sku, command.location)
        if isinstance(found, Refused):
            return found
    lot = _lot_of(stock, command.location, command.lot)
    if isinstance(lot, Refused):
        return lot
    if -command.delta > lot.available:
        return refused(Refusal.INSUFFICIENT_STOCK, requested=-command.delta, available=lot.available)
    refusal = _beyond_limit(draft, stock, command.location, lot.code, command.delta)
    if refusal is not None:
        return refusal
    draft.change(Kind.STOCK_ADJUSTED, stock, command.location, lot.code, command.delta, reason=command.reason)
    return None


def count_needs_past(partition: Partition, command: CountStock) -> bool:
    """Whether something moved since the counter looked, so that the host must fill in `on_hand_seen`."""
    if command.seen_seq is None or command.on_hand_seen is not None or command.seen_seq >= partition.seq:
        return False
    stock = _stock_of(partition, command.site, command.sku)
    lot = _lot_of(stock, command.location, command.lot)
    return not isinstance(lot, Refused) and lot.seq > command.seen_seq


def count(partition: Partition, command: CountStock, draft: Draft) -> Refused | None:
    """Record a count: what differs from on hand at `seen_seq` is added to on hand now.

    Units that a picker did not find are held as short; a count that confirms their absence takes those first.
    """
    stock = _stock_of(partition, command.site, command.sku)
    lot = _lot_of(stock, command.location, command.lot)
    if isinstance(lot, Refused):
        return lot
    if command.seen_seq is not None and command.seen_seq > partition.seq:
        return refused(Refusal.SEQ_NOT_REACHED, seen_seq=command.seen_seq, seq=partition.seq)
    assert not count_needs_past(partition, command), "the host looks up what the counter saw"
    on_hand_seen = lot.on_hand if command.on_hand_seen is None else command.on_hand_seen
    variance = command.counted - on_hand_seen
    missing = min(-variance, (lot.holds or {}).get(SHORT, 0)) if variance < 0 else 0
    committed = lot.reserved + lot.held - missing
    if lot.on_hand + variance < committed:
        return refused(
            Refusal.BELOW_COMMITTED, counted=command.counted, reserved=lot.reserved, held=lot.held - missing,
            on_hand=lot.on_hand,
        )  # fmt: skip
    refusal = _beyond_limit(draft, stock, command.location, lot.code, variance)
    if refusal is not None:
        return refusal
    if missing:
        draft.change(Kind.STOCK_UNHELD, stock, command.location, lot.code, missing, reason=SHORT)
    detail = None if command.seen_seq is None else json.dumps({"seen_seq": command.seen_seq})
    draft.change(Kind.STOCK_COUNTED, stock, command.location, lot.code, variance, detail=detail)
    return None


def hold(partition: Partition, command: HoldStock, draft: Draft) -> Refused | None:
    """Take available units off sale."""
    stock = _found_bin(partition, command.site, command.sku, command.location)
    if isinstance(stock, Refused):
        return stock
    lots = _ordered_lots(stock.bins[command.location], command.lot)
    available = sum(lot.available for lot in lots)
    if available < command.quantity:
        return refused(Refusal.INSUFFICIENT_STOCK, requested=command.quantity, available=available)
    remaining = command.quantity
    for lot in lots:
        part = min(remaining, lot.available)
        if part:
            draft.change(Kind.STOCK_HELD, stock, command.location, lot.code, part, reason=command.reason)
            remaining -= part
    return None


def unhold(partition: Partition, command: UnholdStock, draft: Draft) -> Refused | None:
    """Put held units back on sale: those held for this reason first, then the others in order of their reason."""
    stock = _found_bin(partition, command.site, command.sku, command.location)
    if isinstance(stock, Refused):
        return stock
    lots = _ordered_lots(stock.bins[command.location], command.lot)
    held = sum(lot.held for lot in lots)
    if held < command.quantity:
        return refused(Refusal.EXCEEDS_HELD, requested=command.quantity, held=held)
    holds = [(reason != command.reason, reason, lot, units) for lot in lots for reason, units in (lot.holds or {}).items()]
    remaining = command.quantity
    for is_other, reason, lot, units in sorted(holds, key=lambda hold: hold[:2]):
        part = min(remaining, units)
        if part:
            detail = json.dumps({"why": command.reason}) if is_other else None
            draft.change(Kind.STOCK_UNHELD, stock, command.location, lot.code, part, reason=reason, detail=detail)
            remaining -= part
    return None


def expire_stock(partition: Partition, command: ExpireStock, draft: Draft) -> Refused | None:
    """Record what is due: soft reservations go back, then available units of expired lots are held."""
    stock = _stock_of(partition, command.site, command.sku)
    for reservation in list((stock.reservations or {}).values()):
        if reservation.expires_at_ms is not None and reservation.expires_at_ms <= draft.at_ms:
            expire(partition, reservation, draft)
    for bin_ in stock.bins.values():
        for lot in bin_.lots.values():
            if lot.expires_at_ms is not None and lot.expires_at_ms <= draft.at_ms:
                free = draft.available(stock, bin_.location, lot)
                if free:
                    draft.change(Kind.LOT_EXPIRED, stock, bin_.location, lot.code, free, reason=EXPIRED)
    return None


def next_due_ms(stock: Stock) -> int:
    """Return when the next reservation or lot of a stock expires, or `NEVER_MS`."""
    due_ms = NEVER_MS
    for reservation in (stock.reservations or {}).values():
        if reservation.expires_at_ms is not None:
            due_ms = min(due_ms, reservation.expires_at_ms)
    for bin_ in stock.bins.values():
        for lot in bin_.lots.values():
            if lot.expires_at_ms is not None and lot.available:
                due_ms = min(due_ms, lot.expires_at_ms)
    return due_ms


def _stock_of(partition: Partition, site: str, sku: str) -> Stock:
    """Return the stock of a SKU; one that holds nothing when it is not known yet."""
    return partition.stocks.get((site, sku)) or Stock(site, sku)


def _found_bin(partition: Partition, site: str, sku: str, location: str | None) -> Stock | Refused:
    """Return the stock of a SKU that is known, in a bin that is known if one is named."""
    stock = partition.stocks.get((site, sku))
    if stock is None or not stock.bins:
        return refused(Refusal.STOCK_NOT_FOUND, site=site, sku=sku)
    if location is not None and location not in stock.bins:
        return refused(Refusal.BIN_NOT_FOUND, site=site, sku=sku, location=location)
    return stock


def _lot_of(stock: Stock, location: str, lot_code: str | None) -> Lot | Refused:
    """Return the lot that is named, or the only one there is; one without units when it is not known yet."""
    if lot_code is None:
        return sole_lot(stock, location) or refused(Refusal.LOT_REQUIRED, location=location)
    bin_ = stock.bins.get(location)
    return (bin_.lots.get(lot_code) if bin_ is not None else None) or Lot(lot_code)


def _stocked_lots(stock: Stock, lot_code: str) -> list[Lot]:
    lots = (bin_.lots.get(lot_code) for bin_ in stock.bins.values())
    return [lot for lot in lots if lot is not None and lot.on_hand]


def _ordered_lots(bin_: Bin, lot_code: str | None) -> list[Lot]:
    """Return the lots of a bin with units, first expired first."""
    lots = [lot for lot in bin_.lots.values() if lot.on_hand and lot_code in (None, lot.code)]
    return sorted(lots, key=lambda lot: (lot.expires_at_ms or NEVER_MS, lot.age, lot.code))


def _beyond_limit(draft: Draft, stock: Stock, location: str, lot: str, quantity: int) -> Refused | None:
    on_hand = draft.balance(stock, location, lot)[0]
    if on_hand + quantity > QUANTITY_MAX:
        return refused(Refusal.QUANTITY_LIMIT, on_hand=on_hand, requested=quantity, limit=QUANTITY_MAX)
    return None

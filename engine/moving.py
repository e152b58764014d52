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
from engine.draft import Draft
from engine.entries import Kind
from engine.finding import (
    beyond_limit,
    found_stock,
    is_expired,
    known_expiry_ms,
    lot_of,
    ordered_lots,
    stock_of,
    stocked_lots,
)
from engine.picking import SHORT
from engine.refusals import Refusal, Refused, refused
from engine.reserving import expire
from engine.state import NEVER_MS, NO_LOT, Lot, Partition, Stock

EXPIRED = "expired"
"""The reason under which units of an expired lot are held; an adjustment with it writes them off."""


def receive(partition: Partition, command: ReceiveStock, draft: Draft) -> Refused | None:
    """Put units into a bin. A lot has one date; while there is any of it, another date is refused."""
    stock = stock_of(partition, command.site, command.sku)
    expires_at_ms, lot = command.expires_at_ms, command.lot or None
    if lot is None:
        lot = NO_LOT if expires_at_ms is None else date_of_expiry(expires_at_ms)
    if lot != NO_LOT:
        if expires_at_ms is None:
            expires_at_ms = known_expiry_ms(stock, lot)
        for known in stocked_lots(stock, lot):
            if known.expires_at_ms != expires_at_ms:
                date = None if known.expires_at_ms is None else date_of_expiry(known.expires_at_ms)
                return refused(Refusal.LOT_EXPIRY_DIFFERS, lot=lot, expires_on=date)
    refusal = beyond_limit(draft, stock, command.location, lot, command.quantity)
    if refusal is not None:
        return refusal
    draft.change(
        Kind.STOCK_RECEIVED, stock, command.location, lot, command.quantity,
        expires_at_ms=expires_at_ms, reference=command.reference, reason=command.reason,
    )  # fmt: skip
    return None


def pick_stock(partition: Partition, command: PickStock, draft: Draft) -> Refused | None:
    """Take available units out, first expired first out unless a bin or lot is named."""
    stock = found_stock(partition, command.site, command.sku, command.location, command.lot)
    if isinstance(stock, Refused):
        return stock
    if command.lot is not None and is_expired(stock, command.lot, draft.at_ms):
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
    """Move units to another bin of the SKU. Held units stay; reserved ones keep their reservation."""
    stock = found_stock(partition, command.site, command.sku, command.from_location, command.lot)
    if isinstance(stock, Refused):
        return stock
    lots = ordered_lots(stock.bins[command.from_location], command.lot)
    movable = sum(lot.on_hand - lot.held for lot in lots)
    if movable < command.quantity:
        return refused(Refusal.INSUFFICIENT_STOCK, requested=command.quantity, available=movable)
    if command.from_location == command.to_location:
        draft.note(Kind.REQUEST_NOTED)  # Nothing changes, but a repeat of the key gets the same answer.
        return None
    remaining = command.quantity
    for lot in lots:
        part = min(remaining, lot.available)
        refusal = _move_part(draft, stock, command, lot, part)
        if refusal is not None:
            return refusal
        remaining -= part
    return _move_reserved(draft, stock, command, remaining) if remaining else None


def _move_reserved(draft: Draft, stock: Stock, command: MoveStock, remaining: int) -> Refused | None:
    """Move reserved units, those of the oldest reservations first."""
    bin_ = stock.bins[command.from_location]
    for number, reservation in sorted((stock.reservations or {}).items()):
        for line in reservation.lines:
            if (line.site, line.sku) != (command.site, command.sku):
                continue
            for allocation in line.allocations:
                if allocation.location != command.from_location or command.lot not in (None, allocation.lot):
                    continue
                part = min(remaining, allocation.open)
                lot = bin_.lot(allocation.lot)
                assert lot is not None, "reserved units lie in a lot"
                refusal = _move_part(draft, stock, command, lot, part, number, line.index)
                if refusal is not None:
                    return refusal
                remaining -= part
    assert not remaining, "reserved units without a reservation"
    return None


def _move_part(
    draft: Draft,
    stock: Stock,
    command: MoveStock,
    lot: Lot,
    part: int,
    reservation: int | None = None,
    line: int | None = None,
) -> Refused | None:
    if not part:
        return None
    refusal = beyond_limit(draft, stock, command.to_location, lot.code, part)
    if refusal is not None:
        return refusal
    draft.change(
        Kind.STOCK_MOVED_OUT, stock, command.from_location, lot.code, part,
        reservation=reservation, line=line, counterpart=command.to_location,
    )  # fmt: skip
    draft.change(
        Kind.STOCK_MOVED_IN, stock, command.to_location, lot.code, part, reservation=reservation, line=line,
        counterpart=command.from_location, expires_at_ms=lot.expires_at_ms,
    )  # fmt: skip
    return None


def adjust(partition: Partition, command: AdjustStock, draft: Draft) -> Refused | None:
    """Add units, or take away available ones. The reason "expired" writes off units held as expired."""
    stock = stock_of(partition, command.site, command.sku)
    if command.delta < 0:
        found = found_stock(partition, command.site, command.sku, command.location, command.lot)
        if isinstance(found, Refused):
            return found
    lot = lot_of(stock, command.location, command.lot)
    if isinstance(lot, Refused):
        return lot
    expired = (lot.holds or {}).get(EXPIRED, 0) if command.reason == EXPIRED else 0
    if -command.delta > lot.available + expired:
        return refused(
            Refusal.INSUFFICIENT_STOCK, requested=-command.delta, available=lot.available + expired
        )
    refusal = beyond_limit(draft, stock, command.location, lot.code, command.delta)
    if refusal is not None:
        return refusal
    if expired and command.delta < 0:
        part = min(expired, -command.delta)
        draft.change(Kind.STOCK_UNHELD, stock, command.location, lot.code, part, reason=EXPIRED)
    draft.change(
        Kind.STOCK_ADJUSTED, stock, command.location, lot.code, command.delta, reason=command.reason,
        expires_at_ms=known_expiry_ms(stock, lot.code),
    )  # fmt: skip
    return None


def count_needs_past(partition: Partition, command: CountStock) -> bool:
    """Whether something moved since the counter looked, so that the host must fill in `on_hand_seen`."""
    if command.seen_seq is None or command.on_hand_seen is not None or command.seen_seq >= partition.seq:
        return False
    stock = stock_of(partition, command.site, command.sku)
    lot = lot_of(stock, command.location, command.lot)
    return not isinstance(lot, Refused) and lot.seq > command.seen_seq


def count(partition: Partition, command: CountStock, draft: Draft) -> Refused | None:
    """Record a count: what differs from on hand at `seen_seq` is added to on hand now.

    Units that a picker did not find are held as short. A count settles that: those that are missing go, and
    the others are found. Where the lot has changed since the counter looked, it settles only missing ones.
    """
    stock = stock_of(partition, command.site, command.sku)
    lot = lot_of(stock, command.location, command.lot)
    if isinstance(lot, Refused):
        return lot
    if command.seen_seq is not None and command.seen_seq > partition.seq:
        return refused(Refusal.SEQ_NOT_REACHED, seen_seq=command.seen_seq, seq=partition.seq)
    assert not count_needs_past(partition, command), "the host looks up what the counter saw"
    on_hand_seen = lot.on_hand if command.on_hand_seen is None else command.on_hand_seen
    variance = command.counted - on_hand_seen
    settled = (lot.holds or {}).get(SHORT, 0)
    if command.on_hand_seen is not None:
        settled = min(max(-variance, 0), settled)
    if lot.on_hand + variance < lot.reserved + lot.held - settled:
        return refused(
            Refusal.BELOW_COMMITTED, counted=command.counted, reserved=lot.reserved, held=lot.held - settled,
            on_hand=lot.on_hand,
        )  # fmt: skip
    refusal = beyond_limit(draft, stock, command.location, lot.code, variance)
    if refusal is not None:
        return refusal
    if settled:
        draft.change(Kind.STOCK_UNHELD, stock, command.location, lot.code, settled, reason=SHORT)
    detail = None if command.seen_seq is None else json.dumps({"seen_seq": command.seen_seq})
    draft.change(
        Kind.STOCK_COUNTED, stock, command.location, lot.code, variance, detail=detail,
        expires_at_ms=known_expiry_ms(stock, lot.code),
    )  # fmt: skip
    return None


def hold(partition: Partition, command: HoldStock, draft: Draft) -> Refused | None:
    """Take available units off sale."""
    stock = found_stock(partition, command.site, command.sku, command.location, command.lot)
    if isinstance(stock, Refused):
        return stock
    lots = ordered_lots(stock.bins[command.location], command.lot)
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
    """Put held units back on sale: those held for this reason first, then the others by their reason."""
    stock = found_stock(partition, command.site, command.sku, command.location, command.lot)
    if isinstance(stock, Refused):
        return stock
    lots = ordered_lots(stock.bins[command.location], command.lot)
    held = sum(lot.held for lot in lots)
    if held < command.quantity:
        return refused(Refusal.EXCEEDS_HELD, requested=command.quantity, held=held)
    holds = [
        (reason != command.reason, reason, lot, units)
        for lot in lots
        for reason, units in (lot.holds or {}).items()
    ]
    remaining = command.quantity
    for is_other, reason, lot, units in sorted(holds, key=lambda hold: hold[:2]):
        part = min(remaining, units)
        if part:
            detail = json.dumps({"why": command.reason}) if is_other else None
            draft.change(
                Kind.STOCK_UNHELD, stock, command.location, lot.code, part, reason=reason, detail=detail
            )
            remaining -= part
    return None


def expire_stock(partition: Partition, command: ExpireStock, draft: Draft) -> Refused | None:
    """Record what is due: soft reservations go back, then available units of expired lots are held."""
    stock = stock_of(partition, command.site, command.sku)
    for _, reservation in sorted((stock.reservations or {}).items()):
        if reservation.expires_at_ms is not None and reservation.expires_at_ms <= draft.at_ms:
            expire(partition, reservation, draft)
    for bin_ in sorted(stock.bins.values(), key=lambda bin_: bin_.location):
        for lot in ordered_lots(bin_, None):
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
        for lot in bin_.lots:
            if lot.expires_at_ms is not None and lot.available:
                due_ms = min(due_ms, lot.expires_at_ms)
    return due_ms

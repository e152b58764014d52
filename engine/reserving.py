"""Decisions about reservations of one partition: reserve, extend, release, and what others share."""

from collections.abc import Iterable, Sequence
from typing import Any

from engine.choosing import choose
from engine.commands import ExtendReservation, PickReservation, ReleaseReservation, ReserveLine, ReserveStock
from engine.draft import Draft
from engine.entries import Kind
from engine.finding import is_expired
from engine.limits import QUANTITY_MAX
from engine.refusals import Refusal, Refused, refused
from engine.state import Allocation, Line, Partition, Reservation, Stock

_RESERVED = Kind.STOCK_RESERVED


def reserve(partition: Partition, command: ReserveStock, draft: Draft) -> Refused | None:
    """Reserve lines of one partition: all of them, or with `partial` what there is."""
    expires_at_ms = None if command.ttl_s is None else draft.at_ms + command.ttl_s * 1000
    return reserve_lines(
        partition, draft, command.lines, expires_at_ms, command.reference, partial=command.partial
    )


def reserve_lines(
    partition: Partition,
    draft: Draft,
    lines: Sequence[ReserveLine],
    expires_at_ms: int | None,
    reference: str | None,
    *,
    partial: bool,
    holds_elsewhere: bool = False,
) -> Refused | None:
    """Reserve lines under the number of the draft's first entry.

    With `partial`, nothing at all is refused, unless the reservation holds units in another partition.
    """
    number = draft.entries[0].seq if draft.entries else draft.seq + 1
    if len(lines) > 1:
        lines = summed(lines)
    refusal = _expired_lot(partition, lines, draft.at_ms)
    if refusal is not None:
        return refusal
    shortage: Refused | None = None
    short_lines: list[tuple[int, str, str, int]] = []
    reserved_any = holds_elsewhere
    for line in lines:
        stock = partition.stocks.get((line.site, line.sku))
        available = 0
        if stock is not None:
            taken, available = choose(
                draft, stock, line.quantity, draft.at_ms,
                location=line.location, lot=line.lot, strategy=line.strategy,
            )  # fmt: skip
            for location, lot, quantity in taken:
                reserved_any = True
                draft.change(
                    _RESERVED, stock, location, lot, quantity,
                    reservation=number, line=line.index, expires_at_ms=expires_at_ms, reference=reference,
                )  # fmt: skip
        if available < line.quantity:
            shortage = shortage or _insufficient(stock, line, available)
            if not partial:
                return shortage
            short_lines.append((line.index, line.site, line.sku, line.quantity))
        if line.quantity > QUANTITY_MAX:
            return refused(
                Refusal.QUANTITY_LIMIT, line=line.index, requested=line.quantity, limit=QUANTITY_MAX
            )
    if not reserved_any:
        return shortage
    if short_lines:
        draft.detail = {**(draft.detail or {}), "requested": short_lines}
    return None


def _expired_lot(partition: Partition, lines: Iterable[ReserveLine], now_ms: int) -> Refused | None:
    for line in lines:
        if line.lot is None:
            continue
        stock = partition.stocks.get((line.site, line.sku))
        if stock is not None and is_expired(stock, line.lot, now_ms):
            return refused(Refusal.LOT_EXPIRED, site=line.site, sku=line.sku, lot=line.lot, line=line.index)
    return None


def _insufficient(stock: Stock | None, line: ReserveLine, available: int) -> Refused:
    return refused(
        Refusal.INSUFFICIENT_STOCK,
        site=line.site,
        sku=line.sku,
        line=line.index,
        requested=line.quantity,
        available=available,
        pending=_pending(stock) if stock is not None else 0,
    )


def _pending(stock: Stock) -> int:
    """Return the units of a SKU that undecided attempts hold."""
    return sum(
        allocation.open
        for reservation in (stock.reservations or {}).values()
        if reservation.deadline_ms is not None
        for line in reservation.lines
        if line.sku == stock.sku and line.site == stock.site
        for allocation in line.allocations
    )


def summed(lines: Sequence[ReserveLine]) -> list[ReserveLine]:
    """Return the lines with equal ones summed, the most narrowly named first: lot and location, then lot.

    Deciding those first means that a line which would take any bin never takes the units that another line of
    the same SKU names. It is no search: of a line that names a lot and one that names a location, the first
    may take what only the second could have had, and the two are refused although they would fit. Lines whose
    indexes do not tell them apart are numbered by their position.
    """
    if len({line.index for line in lines}) < len(lines):
        lines = [line._replace(index=position) for position, line in enumerate(lines)]
    sums: dict[tuple[Any, ...], ReserveLine] = {}
    for line in lines:
        same = (line.site, line.sku, line.location, line.lot, line.strategy)
        before = sums.get(same)
        sums[same] = line if before is None else before._replace(quantity=before.quantity + line.quantity)
    return sorted(sums.values(), key=lambda line: (line.lot is None, line.location is None, line.index))


def find(partition: Partition, number: int, opened_at_ms: int) -> Reservation | Refused:
    """Return the reservation, or that there is none."""
    reservation = partition.reservations.get(number)
    if reservation is None or reservation.opened_at_ms != opened_at_ms:
        return refused(Refusal.RESERVATION_NOT_FOUND)
    return reservation


def find_open(
    partition: Partition, command: ExtendReservation | ReleaseReservation | PickReservation, now_ms: int
) -> Reservation | Refused:
    """Return the reservation if units of it can be picked or released now."""
    reservation = partition.reservations.get(command.number)
    if reservation is None or reservation.opened_at_ms != command.opened_at_ms:
        return refused(Refusal.RESERVATION_NOT_FOUND)
    if reservation.attempt is not None and not command.is_share:
        return refused(Refusal.RESERVATION_SPANS)
    if not reservation.open:
        return refused(Refusal.RESERVATION_RESOLVED, state=reservation.state)
    if reservation.deadline_ms is not None:
        return refused(Refusal.RESERVATION_PENDING)
    if reservation.expires_at_ms is not None and reservation.expires_at_ms <= now_ms:
        return refused(Refusal.RESERVATION_RESOLVED, state="expired")
    return reservation


def lines_of(reservation: Reservation, sku: str | None, quantity: int | None) -> list[Line] | Refused:
    """Return the lines of a reservation, or those of one SKU. A quantity of several SKUs says nothing."""
    if sku is None:
        if quantity is not None and any(line.sku != reservation.lines[0].sku for line in reservation.lines):
            return refused(Refusal.SKU_REQUIRED)
        return reservation.lines
    lines = [line for line in reservation.lines if line.sku == sku]
    return lines or refused(Refusal.SKU_NOT_RESERVED, sku=sku)


def open_allocations(lines: Iterable[Line]) -> list[tuple[Line, Allocation]]:
    """Return where units of these lines are still reserved."""
    return [(line, allocation) for line in lines for allocation in line.allocations if allocation.open]


def extend(partition: Partition, command: ExtendReservation, draft: Draft) -> Refused | None:
    """Let a soft reservation expire `ttl_s` seconds from now."""
    reservation = find_open(partition, command, draft.at_ms)
    if isinstance(reservation, Refused):
        return reservation
    if reservation.expires_at_ms is None:
        return refused(Refusal.RESERVATION_HARD)
    draft.note(
        Kind.RESERVATION_EXTENDED,
        reservation=command.number,
        expires_at_ms=draft.at_ms + command.ttl_s * 1000,
    )
    return None


def release(partition: Partition, command: ReleaseReservation, draft: Draft) -> Refused | None:
    """Give units back, those allocated last first."""
    reservation = find_open(partition, command, draft.at_ms)
    if isinstance(reservation, Refused):
        return reservation
    lines = lines_of(reservation, command.sku, command.quantity)
    if isinstance(lines, Refused):
        return lines
    allocations = open_allocations(lines)
    open_units = sum(allocation.open for _, allocation in allocations)
    wanted = open_units if command.quantity is None else command.quantity
    if wanted > open_units or not open_units:
        return refused(Refusal.EXCEEDS_RESERVED, requested=wanted, reserved=open_units)
    for held in reversed(allocations):
        part = min(wanted, held[1].open)
        if part:
            leave(partition, draft, Kind.STOCK_RELEASED, reservation, held, part)
            wanted -= part
    return None


def leave(
    partition: Partition,
    draft: Draft,
    kind: str,
    reservation: Reservation,
    held: tuple[Line, Allocation],
    quantity: int,
    *,
    reason: str | None = None,
    detail: str | None = None,
) -> None:
    """Add an entry by which units leave an allocation where they are."""
    line, allocation = held
    draft.change(
        kind, partition.stocks[line.site, line.sku], allocation.location, allocation.lot, quantity,
        reservation=reservation.number, line=line.index, reason=reason, detail=detail,
    )  # fmt: skip


def leave_all(
    partition: Partition, draft: Draft, kind: str, reservation: Reservation, reason: str | None = None
) -> None:
    """Add entries by which all that is open of a reservation leaves it."""
    for held in open_allocations(reservation.lines):
        leave(partition, draft, kind, reservation, held, held[1].open, reason=reason)


def expire(partition: Partition, reservation: Reservation, draft: Draft) -> None:
    """Record that a soft reservation's time is over: all that is open goes back."""
    leave_all(partition, draft, Kind.RESERVATION_EXPIRED, reservation)

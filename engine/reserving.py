"""Decisions about reservations: reserve, confirm, abandon, extend, release, pick."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from engine.choosing import choose
from engine.commands import (
    AbandonReservation,
    ConfirmReservation,
    ExtendReservation,
    PickReservation,
    ReleaseReservation,
    ReserveLine,
    ReserveStock,
    ReserveTentatively,
    ReserveTogether,
    SettleAttempt,
)
from engine.draft import Draft
from engine.entries import Kind
from engine.refusals import Refusal, Refused, refused
from engine.state import Allocation, Line, Partition, Reservation, Stock

SHORT = "short"
"""The reason under which units are held that a picker did not find."""


def reserve(partition: Partition, command: ReserveStock, draft: Draft) -> Refused | None:
    """Reserve lines of one partition: all of them, or with `partial` what there is."""
    expires_at_ms = None if command.ttl_s is None else draft.at_ms + command.ttl_s * 1000
    return _reserve_lines(
        partition, draft, command.lines, expires_at_ms, command.reference, {}, partial=command.partial
    )


def reserve_tentatively(partition: Partition, command: ReserveTentatively, draft: Draft) -> Refused | None:
    """Hold a share until the home partition has decided."""
    detail = {"attempt": command.attempt, "home": command.home, "deadline_ms": command.deadline_ms}
    return _reserve_lines(partition, draft, command.lines, None, command.reference, detail, partial=command.partial)


def reserve_together(partition: Partition, command: ReserveTogether, draft: Draft) -> Refused | None:
    """Decide an attempt: reserve the home partition's own lines and name the shares that hold with them.

    Refused at or past the deadline, by the partition's time, which no failover sets back: see `settle`.
    """
    if draft.at_ms >= command.deadline_ms:
        return refused(Refusal.ATTEMPT_ABANDONED, attempt=command.attempt)
    expires_at_ms = None if command.ttl_s is None else draft.at_ms + command.ttl_s * 1000
    draft.detail = {"attempt": command.attempt, "parts": command.parts}
    number = draft.seq + 1
    draft.note(
        Kind.ATTEMPT_DECIDED, reservation=number, expires_at_ms=expires_at_ms, reference=command.reference
    )
    if not command.lines:
        return None
    return _reserve_lines(
        partition, draft, command.lines, expires_at_ms, command.reference, draft.detail,
        partial=command.partial, number=number,
    )  # fmt: skip


def settle(partition: Partition, command: SettleAttempt, draft: Draft) -> Refused | None:
    """Make sure that an attempt which is not decided by its deadline never will be.

    The entry moves the partition's time to the deadline or past it, and `reserve_together` refuses from there.
    """
    if command.attempt not in partition.attempts and partition.at_ms < command.deadline_ms <= draft.at_ms:
        draft.note(Kind.ATTEMPT_ABANDONED, detail=json.dumps({"attempt": command.attempt}))
    return None


def _reserve_lines(  # noqa: PLR0913 - what a reservation consists of
    partition: Partition,
    draft: Draft,
    lines: Sequence[ReserveLine],
    expires_at_ms: int | None,
    reference: str | None,
    detail: dict[str, Any],
    *,
    partial: bool,
    number: int | None = None,
) -> Refused | None:
    number = draft.seq + 1 if number is None else number
    short_lines: list[tuple[int, str, str, int]] = []
    entries_before = len(draft.entries)
    refusal: Refused | None = None
    for line in lines if len(lines) == 1 else summed(lines):
        stock = partition.stocks.get((line.site, line.sku))
        if stock is None:
            taken, available = [], 0
        else:
            if line.lot is not None and _is_expired(stock, line.lot, draft.at_ms):
                return refused(Refusal.LOT_EXPIRED, site=line.site, sku=line.sku, lot=line.lot, line=line.index)
            taken, available = choose(
                draft, stock, line.quantity, draft.at_ms,
                location=line.location, lot=line.lot, strategy=line.strategy,
            )  # fmt: skip
        if available < line.quantity:
            refusal = refusal or _insufficient(stock, line, available)
            if not partial:
                return refusal
            short_lines.append((line.index, line.site, line.sku, line.quantity))
        for location, lot, quantity in taken:
            assert stock is not None
            draft.change(
                Kind.STOCK_RESERVED, stock, location, lot, quantity,
                reservation=number, line=line.index, expires_at_ms=expires_at_ms, reference=reference,
            )  # fmt: skip
    if len(draft.entries) == entries_before:
        return refusal
    if short_lines:
        detail = {**detail, "requested": short_lines}
    draft.detail = detail or None
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


def _is_expired(stock: Stock, lot_code: str, now_ms: int) -> bool:
    lots = (bin_.lots.get(lot_code) for bin_ in stock.bins.values())
    return any(lot and lot.on_hand and lot.expires_at_ms is not None and lot.expires_at_ms <= now_ms for lot in lots)


def summed(lines: Iterable[ReserveLine]) -> list[ReserveLine]:
    """Return the lines with equal ones summed, the most narrowly named first.

    Deciding those first means that a line which would take any bin never takes the units that another line of
    the same SKU names.
    """
    sums: dict[tuple[Any, ...], ReserveLine] = {}
    for line in lines:
        same = (line.site, line.sku, line.location, line.lot, line.strategy)
        before = sums.get(same)
        sums[same] = line if before is None else before._replace(quantity=before.quantity + line.quantity)
    return sorted(sums.values(), key=lambda line: ((line.location is None) + (line.lot is None), line.index))


def find(partition: Partition, number: int, opened_at_ms: int) -> Reservation | Refused:
    """Return the reservation, or that there is none."""
    reservation = partition.reservations.get(number)
    if reservation is None or reservation.opened_at_ms != opened_at_ms:
        return refused(Refusal.RESERVATION_NOT_FOUND)
    return reservation


def _find_open(partition: Partition, number: int, opened_at_ms: int, now_ms: int) -> Reservation | Refused:
    """Return the reservation if units of it can be picked or released now."""
    reservation = find(partition, number, opened_at_ms)
    if isinstance(reservation, Refused):
        return reservation
    if not reservation.open:
        return refused(Refusal.RESERVATION_RESOLVED, state=reservation.state)
    if reservation.deadline_ms is not None:
        return refused(Refusal.RESERVATION_PENDING)
    if reservation.expires_at_ms is not None and reservation.expires_at_ms <= now_ms:
        return refused(Refusal.RESERVATION_RESOLVED, state="expired")
    return reservation


def confirm(partition: Partition, command: ConfirmReservation, draft: Draft) -> Refused | None:
    """Make a tentative share final. Repeated, it changes nothing."""
    reservation = find(partition, command.number, command.opened_at_ms)
    if isinstance(reservation, Refused):
        return reservation
    if reservation.deadline_ms is None:
        if reservation.home is not None and reservation.home[1] == command.home_number:
            return None
        return refused(Refusal.RESERVATION_RESOLVED, state=reservation.state)
    draft.note(
        Kind.RESERVATION_CONFIRMED,
        reservation=command.number,
        expires_at_ms=command.expires_at_ms,
        detail=json.dumps({"home_number": command.home_number}),
    )
    return None


def abandon(partition: Partition, command: AbandonReservation, draft: Draft) -> Refused | None:
    """Give a tentative share back. Repeated, it changes nothing; a final share stays."""
    reservation = find(partition, command.number, command.opened_at_ms)
    if isinstance(reservation, Refused):
        return reservation
    if reservation.deadline_ms is None:
        return refused(Refusal.RESERVATION_RESOLVED, state=reservation.state)
    if reservation.open:
        for line, allocation in _open_allocations(reservation.lines):
            _leave(partition, draft, Kind.STOCK_RELEASED, reservation, line, allocation, allocation.open, "abandoned")
    return None


def extend(partition: Partition, command: ExtendReservation, draft: Draft) -> Refused | None:
    """Let a soft reservation expire `ttl_s` seconds from now."""
    reservation = _find_open(partition, command.number, command.opened_at_ms, draft.at_ms)
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
    reservation = _find_open(partition, command.number, command.opened_at_ms, draft.at_ms)
    if isinstance(reservation, Refused):
        return reservation
    lines = _lines_of(reservation, command.sku)
    if isinstance(lines, Refused):
        return lines
    open_units = _open_units(lines)
    wanted = open_units if command.quantity is None else command.quantity
    if wanted > open_units or not open_units:
        return refused(Refusal.EXCEEDS_RESERVED, requested=wanted, reserved=open_units)
    for line, allocation in reversed(list(_open_allocations(lines))):
        part = min(wanted, allocation.open)
        if part:
            _leave(partition, draft, Kind.STOCK_RELEASED, reservation, line, allocation, part)
            wanted -= part
    return None


def pick(partition: Partition, command: PickReservation, draft: Draft) -> Refused | None:
    """Take reserved units out, from where they are allocated or from the bin or lot that is named."""
    reservation = _find_open(partition, command.number, command.opened_at_ms, draft.at_ms)
    if isinstance(reservation, Refused):
        return reservation
    lines = _lines_of(reservation, command.sku)
    if isinstance(lines, Refused):
        return lines
    open_units = _open_units(lines)
    allocations = list(_open_allocations(lines))
    named = [(line, part) for line, part in allocations if _is_named(command, part.location, part.lot)]
    named_units = sum(allocation.open for _, allocation in named)
    wanted = command.quantity if command.quantity is not None else named_units or open_units
    if wanted > open_units or not open_units:
        return refused(Refusal.EXCEEDS_RESERVED, requested=wanted, reserved=open_units)
    left: dict[Allocation, int] = {allocation: allocation.open for _, allocation in allocations}
    for line, allocation in named:
        part = min(wanted, allocation.open)
        if part:
            _leave(partition, draft, Kind.STOCK_PICKED, reservation, line, allocation, part)
            left[allocation] -= part
            wanted -= part
    if wanted:
        elsewhere = [(line, allocation) for line, allocation in allocations if left[allocation]]
        refusal = _pick_elsewhere(partition, draft, command, reservation, elsewhere, left, wanted)
        if refusal is not None:
            return refusal
    if command.short_reason is not None:
        for line, allocation in named or allocations:
            if left[allocation]:
                _leave(
                    partition, draft, Kind.STOCK_SHORTED, reservation, line, allocation, left[allocation],
                    SHORT, command.short_reason,
                )  # fmt: skip
    return None


def _pick_elsewhere(  # noqa: PLR0913 - a step of `pick` with all it knows
    partition: Partition,
    draft: Draft,
    command: PickReservation,
    reservation: Reservation,
    allocations: list[tuple[Line, Allocation]],
    left: dict[Allocation, int],
    wanted: int,
) -> Refused | None:
    """Serve units from a bin or lot that the reservation does not hold: re-allocate them there, then pick."""
    for line, allocation in allocations:
        part = min(wanted, left[allocation])
        if not part:
            break
        stock = partition.stocks[line.site, line.sku]
        taken, available = choose(draft, stock, part, draft.at_ms, location=command.location, lot=command.lot)
        if available < part:
            return refused(
                Refusal.INSUFFICIENT_STOCK, site=line.site, sku=line.sku, line=line.index,
                location=command.location, lot=command.lot, requested=part, available=available,
            )  # fmt: skip
        for location, lot, quantity in taken:
            target = {"reservation": reservation.number, "line": line.index}
            draft.change(
                Kind.RESERVATION_MOVED_OUT, stock, allocation.location, allocation.lot, quantity,
                counterpart=location, **target,
            )  # fmt: skip
            draft.change(
                Kind.RESERVATION_MOVED_IN, stock, location, lot, quantity, counterpart=allocation.location, **target
            )
            draft.change(Kind.STOCK_PICKED, stock, location, lot, quantity, **target)
        left[allocation] -= part
        wanted -= part
    return None


def _is_named(command: PickReservation, location: str, lot: str) -> bool:
    return command.location in (None, location) and command.lot in (None, lot)


def _lines_of(reservation: Reservation, sku: str | None) -> list[Line] | Refused:
    lines = [line for line in reservation.lines if sku is None or line.sku == sku]
    return lines or refused(Refusal.SKU_NOT_RESERVED, sku=sku)


def _open_units(lines: Iterable[Line]) -> int:
    return sum(allocation.open for _, allocation in _open_allocations(lines))


def _open_allocations(lines: Iterable[Line]) -> Iterator[tuple[Line, Allocation]]:
    return ((line, allocation) for line in lines for allocation in line.allocations if allocation.open)


def _leave(  # noqa: PLR0913 - an entry about an allocation
    partition: Partition,
    draft: Draft,
    kind: str,
    reservation: Reservation,
    line: Line,
    allocation: Allocation,
    quantity: int,
    reason: str | None = None,
    why: str | None = None,
) -> None:
    """Add an entry by which units leave an allocation where they are."""
    draft.change(
        kind,
        partition.stocks[line.site, line.sku],
        allocation.location,
        allocation.lot,
        quantity,
        reservation=reservation.number,
        line=line.index,
        reason=reason,
        detail=None if why is None else json.dumps({"why": why}),
    )


def expire(partition: Partition, reservation: Reservation, draft: Draft) -> None:
    """Record that a soft reservation's time is over: all that is open goes back."""
    for line, allocation in _open_allocations(reservation.lines):
        _leave(partition, draft, Kind.RESERVATION_EXPIRED, reservation, line, allocation, allocation.open)

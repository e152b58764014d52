"""Decisions about picks from a reservation: whole, in part, from another bin, short."""

import json

from engine.choosing import choose
from engine.commands import PickReservation
from engine.draft import Draft
from engine.entries import Kind
from engine.refusals import Refusal, Refused, refused
from engine.reserving import find_open, leave, lines_of, open_allocations
from engine.state import Allocation, Line, Partition, Reservation

SHORT = "short"
"""The reason under which units are held that a picker did not find."""

_PICKED = Kind.STOCK_PICKED


def pick(partition: Partition, command: PickReservation, draft: Draft) -> Refused | None:
    """Take reserved units out, from where they are allocated or from the bin or lot that is named."""
    reservation = find_open(partition, command, draft.at_ms)
    if isinstance(reservation, Refused):
        return reservation
    lines = lines_of(reservation, command.sku, command.quantity)
    if isinstance(lines, Refused):
        return lines
    allocations = open_allocations(lines)
    named = [held for held in allocations if _is_named(command, held[1])]
    open_units = sum([allocation.open for _, allocation in allocations])
    wanted = command.quantity
    if wanted is None:
        wanted = sum([allocation.open for _, allocation in named]) or open_units
    if wanted > open_units or not open_units:
        return refused(Refusal.EXCEEDS_RESERVED, requested=wanted, reserved=open_units)
    left: dict[Allocation, int] = {}
    for held in named:
        part = min(wanted, held[1].open)
        left[held[1]] = held[1].open - part
        if part:
            leave(partition, draft, _PICKED, reservation, held, part)
            wanted -= part
    if wanted:
        elsewhere = [held for held in allocations if held[1] not in left]
        refusal = _pick_elsewhere(partition, draft, command, reservation, elsewhere, left, wanted)
        if refusal is not None:
            return refusal
    if command.short_reason is not None:
        for held in named or allocations:
            missing = left.get(held[1], held[1].open)
            if missing:
                detail = json.dumps({"why": command.short_reason})
                leave(
                    partition,
                    draft,
                    Kind.STOCK_SHORTED,
                    reservation,
                    held,
                    missing,
                    reason=SHORT,
                    detail=detail,
                )
    return None


def _pick_elsewhere(
    partition: Partition,
    draft: Draft,
    command: PickReservation,
    reservation: Reservation,
    allocations: list[tuple[Line, Allocation]],
    left: dict[Allocation, int],
    wanted: int,
) -> Refused | None:
    """Serve units from a bin or lot that the reservation does not hold: re-allocate them there, then pick.

    Fills in what is left in each allocation.
    """
    for line, allocation in allocations:
        part = min(wanted, allocation.open)
        left[allocation] = allocation.open - part
        wanted -= part
        if not part:
            continue
        stock = partition.stocks[line.site, line.sku]
        taken, available = choose(draft, stock, part, draft.at_ms, location=command.location, lot=command.lot)
        if available < part:
            return refused(
                Refusal.INSUFFICIENT_STOCK, site=line.site, sku=line.sku, line=line.index,
                location=command.location, lot=command.lot, requested=part, available=available,
            )  # fmt: skip
        for location, lot, quantity in taken:
            draft.change(
                Kind.RESERVATION_MOVED_OUT, stock, allocation.location, allocation.lot, quantity,
                reservation=reservation.number, line=line.index, counterpart=location,
            )  # fmt: skip
            draft.change(
                Kind.RESERVATION_MOVED_IN, stock, location, lot, quantity,
                reservation=reservation.number, line=line.index, counterpart=allocation.location,
            )  # fmt: skip
            draft.change(
                _PICKED, stock, location, lot, quantity, reservation=reservation.number, line=line.index
            )
    return None


def _is_named(command: PickReservation, allocation: Allocation) -> bool:
    return command.location in (None, allocation.location) and command.lot in (None, allocation.lot)

"""Compares what is kept of a partition, in memory and in the snapshot, with the ledger: every field."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from simulation.shown import state_of

if TYPE_CHECKING:
    from engine.state import Partition, Reservation
    from persistence.memory.database import PartitionTables
    from simulation.model import LedgerModel, LotState
    from simulation.promises import Promise
    from simulation.shown import View

Fields = tuple[Any, ...]
_BEHIND_MS_MAX = 5_000
"""How old an entry may be that is not in the snapshot, by the ledger's time."""


def wrong_snapshot(tables: PartitionTables, model: LedgerModel) -> str | None:
    """Say what rows are missing, or differ from the ledger up to the snapshot's number."""
    seq = tables.snapshot_seq
    missing = model.rows[seq] if seq < model.seq else None
    if missing is not None and missing.at_ms < model.at_ms - _BEHIND_MS_MAX:
        return f"it ends at {seq}, the ledger at {model.seq}"
    lots = {
        (row.site, row.sku, row.location, row.lot): (
            row.on_hand, row.reserved, row.held, json.loads(row.holds) if row.holds else {},
            row.expires_at_ms, row.age, row.seq,
        )
        for rows in tables.lots.values()
        for row in rows.values()
    }  # fmt: skip
    wrong = _differing(lots, _lots_at(model, seq))
    promises = {number: promise for number, promise in model.promises.items() if number <= seq}
    found = {
        number: (
            row.seq, row.opened_at_ms, row.expires_at_ms, row.reference, row.state, row.open, row.attempt,
            row.deadline_ms, row.home_partition, row.home_number, json.loads(row.parts) if row.parts else [],
        )
        for number, row in tables.reservations.items()
    }  # fmt: skip
    wrong = wrong or _differing(found, {one: _row(promise, seq) for one, promise in promises.items()})
    lines = {
        (number, row.line): (
            row.site, row.sku, row.requested, row.quantity, row.picked, row.released, row.expired, row.short,
            row.open, [tuple(allocation) for allocation in json.loads(row.allocations)],
        )
        for number, rows in tables.lines.items()
        for row in rows.values()
    }  # fmt: skip
    known = {
        (number, line["line"]): _line(line)
        for number, promise in promises.items()
        for line in promise.lines_at(seq)
    }
    return wrong or _differing(lines, known)


def wrong_memory(state: Partition, model: LedgerModel) -> str | None:
    """Say what an owner's memory has wrong, or lacks: active stocks whole, and what is open there."""
    if (state.seq, state.at_ms) != (model.seq, model.at_ms):
        return f"it is at {state.seq, state.at_ms}, the ledger at {model.seq, model.at_ms}"
    known = _lots_at(model, model.seq)
    lots = {
        (site, sku, location, lot.code): (
            lot.on_hand, lot.reserved, lot.held, dict(lot.holds or {}), lot.expires_at_ms, lot.age, lot.seq
        )
        for (site, sku), stock in state.stocks.items()
        for location, bin_ in stock.bins.items()
        for lot in bin_.lots
    }  # fmt: skip
    wrong = _differing(lots, {place: lot for place, lot in known.items() if place[:2] in state.stocks})
    for number, reservation in state.reservations.items():
        promise = model.promises.get(number)
        kept = _kept(reservation)
        expected = None if promise is None else _expected(promise, model.seq)
        if kept != expected:
            wrong = wrong or f"reservation {number} is {kept}, the ledger says {expected}"
    open_numbers = {number for number, promise in model.promises.items() if promise.open_units}
    for (site, sku), stock in state.stocks.items():
        here = {number for number in open_numbers if _open_at(model.promises[number], site, sku)}
        if here != set(stock.reservations or {}):
            wrong = wrong or f"{sku} has reservations {sorted(stock.reservations or {})}, not {sorted(here)}"
        dates = [model.promises[number].expires_at_ms for number in here]
        dates += [
            lot[4] for place, lot in lots.items() if place[:2] == (site, sku) and lot[0] > lot[1] + lot[2]
        ]
        due_ms = min((date for date in dates if date is not None), default=None)
        if due_ms is not None and stock.due_ms > due_ms:
            wrong = wrong or f"{sku} is due at {due_ms}, it waits until {stock.due_ms}"
    return wrong


def _differing(found: dict[Any, Fields], known: dict[Any, Fields]) -> str | None:
    """Say where two tables differ first."""
    if found == known:
        return None
    place = min(key for key in found.keys() | known.keys() if found.get(key) != known.get(key))
    return f"{place} is {found.get(place)}, the ledger says {known.get(place)}"


def _lots_at(model: LedgerModel, seq: int) -> dict[Any, Fields]:
    return {
        (*place, lot.code): _lot(lot)
        for place, history in model.places()
        for lot in (history[-1] if history[-1].seq <= seq else model.bin_at(place, seq)).lots
    }


def _lot(lot: LotState) -> Fields:
    return (lot.on_hand, lot.reserved, lot.held, dict(lot.holds), lot.expires_at_ms, lot.age, lot.seq)


def _open_in(line: View) -> int:
    return sum(one["open"] for one in line["allocations"])


def _open_at(promise: Promise, site: str, sku: str) -> bool:
    """Whether units of a SKU are still promised."""
    lines = promise.lines_at(promise.rows[-1].seq)
    return any(_open_in(line) for line in lines if (line["site"], line["sku"]) == (site, sku))


def _line(line: View) -> Fields:
    allocations = [
        (one["location"], one["lot"] or "", one["quantity"], one["open"]) for one in line["allocations"]
    ]
    return (
        line["site"], line["sku"], line["requested"], line["quantity"], line["picked"], line["released"],
        line["expired"], line["short"], _open_in(line), allocations,
    )  # fmt: skip


def _row(promise: Promise, seq: int) -> Fields:
    """Return a reservation's row at a prefix."""
    rows = [row for row in promise.rows if row.seq <= seq]
    lines = promise.lines_at(seq)
    is_confirmed = any(row.kind == "reservation_confirmed" for row in rows)
    deadline_ms = promise.detail["deadline_ms"] if promise.is_share and not is_confirmed else None
    of_home = promise.home_number if is_confirmed else promise.detail.get("opened_seq", 0)
    home = (promise.detail["home"], of_home) if promise.is_share else None
    return (
        rows[-1].seq, promise.opened_at_ms, promise.date_at(seq), promise.reference, state_of(lines),
        sum(_open_in(line) for line in lines), promise.attempt, deadline_ms, *(home or (None, None)),
        promise.parts or [],
    )  # fmt: skip


def _expected(promise: Promise, seq: int) -> tuple[Fields, list[Fields]]:
    return _row(promise, seq), [_line(line) for line in promise.lines_at(seq)]


def _kept(reservation: Reservation) -> tuple[Fields, list[Fields]]:
    """Return a reservation in memory, its lines beside it."""
    lines = [
        (
            line.site, line.sku, line.requested, line.quantity, line.picked, line.released, line.expired,
            line.short, sum(one.open for one in line.allocations),
            [(one.location, one.lot, one.quantity, one.open) for one in line.allocations],
        )
        for line in reservation.lines
    ]  # fmt: skip
    row = (
        reservation.seq, reservation.opened_at_ms, reservation.expires_at_ms, reservation.reference,
        reservation.state, reservation.open, reservation.attempt, reservation.deadline_ms,
        *(reservation.home or (None, None)), [list(part) for part in reservation.parts],
    )  # fmt: skip
    return row, lines

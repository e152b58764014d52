"""A partition's state as rows, and back: what a snapshot writes behind the ledger and recovery reads.

Rows are also the read model that SQL users see, so that every field is typed and named.
"""

import json
from collections.abc import Iterable
from sys import intern
from typing import Any, NamedTuple

from engine.apply_reservation import add_line
from engine.commands import StockKey
from engine.moving import next_due_ms
from engine.state import NEVER_MS, Allocation, Bin, Line, Lot, Partition, Reservation, Stock


class LotRow(NamedTuple):
    """One lot in one bin. A bin is its lots; one without units stays as a row of zeros."""

    partition: int
    site: str
    sku: str
    location: str
    lot: str
    seq: int
    on_hand: int
    reserved: int
    held: int
    holds: str | None
    """Units held by reason, as JSON text."""
    expires_at_ms: int | None
    age: int


class ReservationRow(NamedTuple):
    """One reservation, or a partition's share of one."""

    partition: int
    number: int
    seq: int
    opened_at_ms: int
    expires_at_ms: int | None
    reference: str | None
    state: str
    open: int
    attempt: str | None
    deadline_ms: int | None
    home_partition: int | None
    home_number: int | None
    parts: str | None
    """[[partition, number, opened_at_ms], ...] as JSON text."""


class LineRow(NamedTuple):
    """One line of a reservation."""

    partition: int
    number: int
    line: int
    site: str
    sku: str
    requested: int
    quantity: int
    picked: int
    released: int
    expired: int
    short: int
    open: int
    allocations: str
    """[[location, lot, quantity, open], ...] as JSON text."""


class Rows(NamedTuple):
    """Rows of stocks and reservations of one or more partitions."""

    lots: list[LotRow]
    reservations: list[ReservationRow]
    lines: list[LineRow]


def capture(partition: Partition, stock_keys: Iterable[StockKey], numbers: Iterable[int]) -> Rows:
    """Return the rows of these stocks and reservations as they are now."""
    rows = Rows([], [], [])
    for key in stock_keys:
        stock = partition.stocks.get(key)
        if stock is not None:
            _capture_stock(partition.number, stock, rows.lots)
    for number in numbers:
        reservation = partition.reservations.get(number)
        if reservation is not None:
            _capture_reservation(partition.number, reservation, rows)
    return rows


def _capture_stock(partition: int, stock: Stock, lots: list[LotRow]) -> None:
    for bin_ in stock.bins.values():
        lots.extend(
            LotRow(
                partition, stock.site, stock.sku, bin_.location, lot.code, lot.seq, lot.on_hand, lot.reserved,
                lot.held, json.dumps(lot.holds) if lot.holds else None, lot.expires_at_ms, lot.age,
            )
            for lot in bin_.lots
        )  # fmt: skip


def reservation_row(partition: int, reservation: Reservation) -> ReservationRow:
    """Return the row of a reservation alone."""
    home = reservation.home or (None, None)
    return ReservationRow(
        partition, reservation.number, reservation.seq, reservation.opened_at_ms,
        reservation.expires_at_ms, reservation.reference, reservation.state, reservation.open,
        reservation.attempt, reservation.deadline_ms, home[0], home[1],
        json.dumps(reservation.parts) if reservation.parts else None,
    )  # fmt: skip


def _capture_reservation(partition: int, reservation: Reservation, rows: Rows) -> None:
    rows.reservations.append(reservation_row(partition, reservation))
    for line in reservation.lines:
        allocations = [[part.location, part.lot, part.quantity, part.open] for part in line.allocations]
        rows.lines.append(
            LineRow(
                partition, reservation.number, line.index, line.site, line.sku, line.requested, line.quantity,
                line.picked, line.released, line.expired, line.short,
                sum(part.open for part in line.allocations), json.dumps(allocations),
            )
        )  # fmt: skip


def restore(partition: Partition, stock_keys: Iterable[StockKey], rows: Rows) -> None:
    """Make these stocks and reservations active from their rows. A stock without rows becomes an empty one.

    `rows` holds all lots of the stocks, and every reservation that is open at any of them with all its lines.
    What is active already is left as it is.

    Raises one of `engine.apply.UNFIT` at rows that `capture` has not made: the state is worth nothing then.
    """
    fresh: dict[StockKey, Stock] = {}
    for site, sku in stock_keys:
        if (site, sku) not in partition.stocks:
            fresh[site, sku] = partition.stocks[site, sku] = Stock(intern(site), sku)
    for row in rows.lots:
        stock = fresh.get((row.site, row.sku))
        if stock is not None:
            _restore_lot(stock, row)
    unknown = {row.number for row in rows.reservations if row.number not in partition.reservations}
    for row_of_one in rows.reservations:
        if row_of_one.number in unknown:
            _restore_reservation(partition, row_of_one)
    for line_row in rows.lines:
        if line_row.number in unknown:
            _restore_line(partition.reservations[line_row.number], line_row)
        if line_row.open:
            _link(partition, fresh.get((line_row.site, line_row.sku)), line_row.number)
    _agree(partition, (row for row in rows.reservations if row.number in unknown))
    for stock in fresh.values():
        if (due_ms := next_due_ms(stock)) < NEVER_MS:
            partition.mark_due(stock, due_ms)


def _agree(partition: Partition, rows: Iterable[ReservationRow]) -> None:
    for row in rows:
        if partition.reservations[row.number].state != row.state:
            raise ValueError("a reservation's state is not what its lines say")


def _link(partition: Partition, stock: Stock | None, number: int) -> None:
    """Let a stock know a reservation that holds units of it."""
    if stock is not None:
        stock.reservations = stock.reservations or {}
        stock.reservations[number] = partition.reservations[number]


def _restore_lot(stock: Stock, row: LotRow) -> None:
    bin_ = stock.bins.get(row.location)
    if bin_ is None:
        location = intern(row.location)
        bin_ = stock.bins[location] = Bin(location)
    bin_.seq = max(bin_.seq, row.seq)
    lot = bin_.add(Lot(row.lot))
    lot.on_hand, lot.reserved, lot.held = row.on_hand, row.reserved, row.held
    lot.holds = _holds(row.holds) if row.holds else None
    lot.expires_at_ms, lot.age, lot.seq = row.expires_at_ms, row.age, row.seq


def _restore_reservation(partition: Partition, row: ReservationRow) -> None:
    reservation = partition.reservations[row.number] = Reservation(row.number, row.opened_at_ms)
    reservation.seq = row.seq
    reservation.expires_at_ms = row.expires_at_ms
    reservation.reference = row.reference
    reservation.open = row.open
    reservation.attempt = row.attempt
    reservation.deadline_ms = row.deadline_ms
    if (row.home_partition is None) != (row.home_number is None):
        raise ValueError("a share names half of its home")
    if row.home_partition is not None and row.home_number is not None:
        reservation.home = (row.home_partition, row.home_number)
    if row.parts:
        reservation.parts = _parts(row.parts)
    if row.deadline_ms is not None and row.open:
        partition.tentative[row.number] = row.deadline_ms
    if row.attempt is not None and row.home_partition is None:
        partition.attempts[row.attempt] = row.number


def _restore_line(reservation: Reservation, row: LineRow) -> None:
    line = Line(row.line, row.site, row.sku)
    line.requested, line.quantity, line.picked = row.requested, row.quantity, row.picked
    line.released, line.expired, line.short = row.released, row.expired, row.short
    line.allocations = _allocations(row.allocations)
    if sum(allocation.open for allocation in line.allocations) != row.open:
        raise ValueError("a line is open for other units than its allocations")
    add_line(reservation, line)


def _holds(text: str) -> dict[str, int]:
    """Return what the column says. The database knows that it is text; what is in it must be looked at."""
    holds = json.loads(text)
    if type(holds) is not dict or not all(_is_count(units) for units in holds.values()):
        raise ValueError("holds are no units by reason")
    return holds


def _parts(text: str) -> tuple[tuple[int, int, int], ...]:
    parts = tuple((partition, number, at_ms) for partition, number, at_ms in json.loads(text))
    if not all(_is_count(value) for part in parts for value in part):
        raise ValueError("parts are no shares")
    return parts


def _allocations(text: str) -> list[Allocation]:
    allocations = []
    for location, lot, quantity, open_units in json.loads(text):
        if type(location) is not str or type(lot) is not str:
            raise ValueError("an allocation is in no lot of a bin")
        if not _is_count(quantity) or not _is_count(open_units) or open_units > quantity:
            raise ValueError("an allocation is of no units")
        allocation = Allocation(location, lot, quantity)
        allocation.open = open_units
        allocations.append(allocation)
    return allocations


def _is_count(value: Any) -> bool:  # noqa: ANN401 - whatever JSON can say
    return type(value) is int and value >= 0


def digest(partition: Partition) -> dict[str, object]:
    """Return the state as plain values to compare: lots without units and resolved reservations left out."""
    rows = capture(partition, sorted(partition.stocks), sorted(partition.reservations))
    return {
        "seq": partition.seq,
        "lots": sorted(row for row in rows.lots if row.on_hand),
        "reservations": [row for row in rows.reservations if row.open],
        "lines": sorted(row for row in rows.lines if row.open),
    }

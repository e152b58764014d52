"""Reading and writing the snapshot tables' rows in bulk."""

# ruff: noqa: S608 - statements are put together from our own columns' names; values travel as parameters

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from engine.commands import StockKey
from engine.images import LineRow, LotRow, ReservationRow, Rows
from persistence.postgres.sessions import Connection

Number = tuple[int, int]
"""(partition, number) of a reservation."""

_Row = TypeVar("_Row", ReservationRow, LineRow)
_AnyRow = TypeVar("_AnyRow", LotRow, ReservationRow, LineRow)

_WRITTEN_MAX = 1_000
"""Rows of one statement: putting them into the wire's form takes 5 ms, and nothing else runs meanwhile."""

_TYPES = {
    "partition": "int",
    "line": "int",
    "home_partition": "int",
    "site": "text",
    "sku": "text",
    "location": "text",
    "lot": "text",
    "holds": "text",
    "reference": "text",
    "state": "text",
    "attempt": "text",
    "parts": "text",
    "allocations": "text",
}
"""Of the columns that are not bigint."""


def _upsert(table: str, columns: Sequence[str], key: Sequence[str]) -> str:
    arrays = ", ".join(f"${i}::{_TYPES.get(name, 'bigint')}[]" for i, name in enumerate(columns, 1))
    changes = ", ".join(f"{name} = excluded.{name}" for name in columns if name not in key)
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT * FROM unnest({arrays})"
        f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changes}"
    )


_UPSERT_LOTS = _upsert("stock_lot", LotRow._fields, ("site", "sku", "location", "lot"))
_UPSERT_RESERVATIONS = _upsert("reservation", ReservationRow._fields, ("partition", "number"))
_UPSERT_LINES = _upsert("reservation_line", LineRow._fields, ("partition", "number", "line"))

LOT_COLUMNS = ", ".join(f"stock_lot.{name}" for name in LotRow._fields)
RESERVATION_COLUMNS = ", ".join(f"reservation.{name}" for name in ReservationRow._fields)
LINE_COLUMNS = ", ".join(f"reservation_line.{name}" for name in LineRow._fields)

_LOTS = f"""\
SELECT {LOT_COLUMNS} FROM unnest($1::text[], $2::text[]) AS wanted (site, sku)
JOIN stock_lot USING (site, sku)
"""
_OPEN_NUMBERS = """\
SELECT DISTINCT partition, number
FROM unnest($1::int[], $2::text[], $3::text[]) AS wanted (partition, site, sku)
JOIN reservation_line USING (partition, site, sku)
WHERE open > 0
"""
_RESERVATIONS = f"""\
SELECT {RESERVATION_COLUMNS} FROM unnest($1::int[], $2::bigint[]) AS wanted (partition, number)
JOIN reservation USING (partition, number)
ORDER BY partition, number
"""
_LINES = f"""\
SELECT {LINE_COLUMNS} FROM unnest($1::int[], $2::bigint[]) AS wanted (partition, number)
JOIN reservation_line USING (partition, number)
ORDER BY partition, number, line
"""


async def read_stocks(
    connection: Connection, stocks: Iterable[tuple[int, StockKey]], named: Iterable[Number] = ()
) -> Rows:
    """Return the rows of stocks, and every reservation open at one of them or named, with all its lines."""
    partitions, sites, skus = [], [], []
    for partition, (site, sku) in stocks:
        partitions.append(partition)
        sites.append(site)
        skus.append(sku)
    lots = await connection.fetch(_LOTS, sites, skus)
    numbers = set(named)
    numbers.update(map(tuple, await connection.fetch(_OPEN_NUMBERS, partitions, sites, skus)))
    reservations = await read_reservations(connection, numbers)
    return Rows(list(map(LotRow._make, lots)), reservations.reservations, reservations.lines)


async def read_lots(connection: Connection, stocks: Iterable[StockKey]) -> list[LotRow]:
    """Return the rows of stocks' lots."""
    wanted = list(stocks)
    rows = await connection.fetch(_LOTS, [site for site, _ in wanted], [sku for _, sku in wanted])
    return list(map(LotRow._make, rows))


async def read_reservations(connection: Connection, numbers: Iterable[Number]) -> Rows:
    """Return the rows of reservations with all their lines, and no lots."""
    wanted = sorted(numbers)
    if not wanted:
        return Rows([], [], [])
    arrays = [partition for partition, _ in wanted], [number for _, number in wanted]
    reservations = await connection.fetch(_RESERVATIONS, *arrays)
    lines = await connection.fetch(_LINES, *arrays)
    return Rows([], list(map(ReservationRow._make, reservations)), list(map(LineRow._make, lines)))


async def write_rows(connection: Connection, rows: Rows, snapshot_seqs: dict[int, int]) -> None:
    """Write rows over those that are there.

    A reservation's number is the sequence number of its first entry: past `snapshot_seqs` it cannot be stored
    yet, and a plain COPY will do, which takes a third of the time.
    """
    for lots in _in_groups(rows.lots):
        await connection.execute(_UPSERT_LOTS, *_arrays(sorted(lots, key=lambda lot: lot[1:5])))
    for reservations in _in_groups(rows.reservations):
        new, old = _split(reservations, snapshot_seqs)
        await _write(connection, "reservation", ReservationRow._fields, new, _UPSERT_RESERVATIONS, old)
    for lines in _in_groups(rows.lines):
        new_lines, old_lines = _split(lines, snapshot_seqs)
        await _write(connection, "reservation_line", LineRow._fields, new_lines, _UPSERT_LINES, old_lines)


async def _write(
    connection: Connection,
    table: str,
    columns: Sequence[str],
    new: Sequence[tuple[object, ...]],
    upsert: str,
    old: Sequence[tuple[object, ...]],
) -> None:
    if old:
        await connection.execute(upsert, *_arrays(old))
    if new:
        await connection.copy_records_to_table(table, records=new, columns=columns)


def _in_groups(rows: list[_AnyRow]) -> Iterator[list[_AnyRow]]:
    """Go through rows some at a time."""
    for start in range(0, len(rows), _WRITTEN_MAX):
        yield rows[start : start + _WRITTEN_MAX]


def _split(rows: list[_Row], seqs: dict[int, int]) -> tuple[list[_Row], list[_Row]]:
    new: list[_Row] = []
    old: list[_Row] = []
    for row in rows:
        (new if row.number > seqs[row.partition] else old).append(row)
    return new, old


def _arrays(rows: Sequence[tuple[object, ...]]) -> list[list[object]]:
    """Return rows as columns."""
    return list(map(list, zip(*rows, strict=True)))

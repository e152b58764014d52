"""Comparing the snapshot's rows with what the ledger gives at the snapshot's sequence number."""

import json
from collections.abc import AsyncIterator, Callable, Hashable
from typing import Any, NamedTuple, TypeVar

from binkeeper.verify.findings import Sort, Tell
from binkeeper.verify.replay import Image
from engine.images import LineRow, LotRow, ReservationRow
from persistence.survey import View

_Row = TypeVar("_Row", LotRow, ReservationRow, LineRow)
_Key = TypeVar("_Key", bound=Hashable)

_JSON = frozenset({"holds", "parts", "allocations"})
"""Fields that hold JSON text: compared by what they say, not by how it is written."""


async def compare_rows(view: View, image: Image, partition: int, tell: Tell) -> int:
    """Tell every row that is missing, too many, or differs; return how many rows there are."""
    return sum(
        [
            await _compare(view.lots(partition), dict(image.lots), lambda row: row[1:5], tell, _of_lot),
            await _compare(
                view.reservations(partition),
                dict(image.reservations),
                lambda row: row.number,
                tell,
                lambda row: f"reservation {row.number}",
            ),
            await _compare(
                view.lines(partition),
                dict(image.lines),
                lambda row: (row.number, row.line),
                tell,
                lambda row: f"reservation {row.number}, line {row.line}",
            ),
        ]
    )


def _of_lot(row: LotRow) -> str:
    return f"{row.site}/{row.sku} at {row.location}" + (f" lot {row.lot}" if row.lot else "")


async def _compare(
    stretches: AsyncIterator[list[_Row]],
    wanted_rows: dict[_Key, _Row],
    key_of: Callable[[_Row], _Key],
    tell: Tell,
    told: Callable[[_Row], str],
) -> int:
    """Compare one table's rows; those that are expected and not seen are left over, and missing."""
    count = 0
    async for stretch in stretches:
        count += len(stretch)
        for row in stretch:
            wanted = wanted_rows.pop(key_of(row), None)
            if wanted is None:
                tell(Sort.SNAPSHOT, _seq_of(row), told(row), "no such row", "one")
            elif row != wanted and (differing := _differing(wanted, row)):
                tell(
                    Sort.SNAPSHOT,
                    _seq_of(wanted),
                    told(row),
                    ", ".join(f"{name} {expected!r}" for name, expected, _ in differing),
                    ", ".join(f"{name} {found!r}" for name, _, found in differing),
                )
    for wanted in wanted_rows.values():
        tell(Sort.SNAPSHOT, _seq_of(wanted), told(wanted), "a row", "none")
    return count


def _seq_of(row: Any) -> int:  # noqa: ANN401 - a row of any of the three tables
    """Return the entry that a row is of; a line has only its reservation's first."""
    return int(row.number if isinstance(row, LineRow) else row.seq)


class _Difference(NamedTuple):
    name: str
    expected: object
    found: object


def _differing(wanted: _Row, row: _Row) -> list[_Difference]:
    return [
        _Difference(name, expected, found)
        for name, expected, found in zip(wanted._fields, wanted, row, strict=True)
        if expected != found and not (name in _JSON and _plain(expected) == _plain(found))
    ]


def _plain(text: object) -> object:
    """Return what JSON text says; lists of lists in any order. Text that is no JSON stands for itself."""
    if not isinstance(text, str):
        return text
    try:
        value = json.loads(text)
        return sorted(value, key=repr) if isinstance(value, list) else value
    except (ValueError, RecursionError):
        return text

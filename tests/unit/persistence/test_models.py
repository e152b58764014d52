"""The models against the tuples that are written to their tables."""

from typing import NamedTuple

import pytest

from engine.entries import EFFECTS, Entry, Kind
from engine.images import LineRow, LotRow, ReservationRow
from persistence.checksums import COLUMNS
from persistence.memory.database import check
from persistence.models import (
    KINDS_WITH_SIGN,
    KINDS_WITHOUT_STOCK,
    LedgerEntry,
    Model,
    ReservationHead,
    ReservationLine,
    StockLot,
)
from persistence.postgres.rows import _TYPES


@pytest.mark.parametrize(
    "model,row",
    [
        (LedgerEntry, Entry),
        (StockLot, LotRow),
        (ReservationHead, ReservationRow),
        (ReservationLine, LineRow),
    ],
)
def test_a_tables_columns_are_its_rows_fields_in_order(model: type[Model], row: type[NamedTuple]) -> None:
    behind = ("checksum",) if model is LedgerEntry else ()
    assert tuple(model.__table__.columns.keys()) == (*row._fields, *behind)
    for column in list(model.__table__.columns)[: len(row._fields)]:
        annotation = str(row.__annotations__[column.name])
        assert column.nullable == ("None" in annotation), column


def test_no_row_of_the_ledger_is_without_a_checksum() -> None:
    column = LedgerEntry.__table__.columns["checksum"]
    assert not column.nullable
    assert column.server_default is None
    assert tuple(LedgerEntry.__table__.columns.keys()) == COLUMNS


@pytest.mark.parametrize("model", [StockLot, ReservationHead, ReservationLine])
def test_rows_are_written_under_their_columns_types(model: type[Model]) -> None:
    sql = {"INTEGER": "int", "BIGINT": "bigint", "TEXT": "text"}
    for column in model.__table__.columns:
        kind = str(column.type).split(" ", maxsplit=1)[0]
        assert _TYPES.get(column.name, "bigint") == sql[kind], column


def test_every_kind_is_one_of_three() -> None:
    assert set(EFFECTS) == set(Kind)
    for kind in KINDS_WITHOUT_STOCK:
        assert EFFECTS[kind] == (0, 0, 0)
    assert not set(KINDS_WITHOUT_STOCK) & set(KINDS_WITH_SIGN)


def test_memory_checks_what_the_table_checks() -> None:
    note = Entry(
        1, 1, 1, "partition_claimed", None, None, 1, None, None, None, None, 0, 0, 0, 0,
        None, None, None, None, None, None, None,
    )  # fmt: skip
    for kind in Kind:
        if kind in KINDS_WITHOUT_STOCK:
            check(note._replace(kind=kind))
        else:
            check(note._replace(kind=kind, site="s", sku="k", location="l", lot="", quantity=1, on_hand=1))

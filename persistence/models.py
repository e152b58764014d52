"""The schema: every table as a SQLAlchemy model. Migrations build it; the hot paths bring their own SQL.

The ledger's columns are the fields of `engine.entries.Entry` and a checksum of them, those of the snapshot
tables the fields of the rows in `engine.images`, each in order, so that tuples are written as they are. The
CHECKs stand behind the engine: what it would never decide, the database refuses to store. Codes sort by their
bytes (`COLLATE "C"`), as Python's strings do.
"""

from typing import Annotated

from sqlalchemy import (
    DDL,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Text,
    event,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from engine.entries import Kind
from engine.limits import PARTITIONS_MAX, QUANTITY_MAX

KINDS_WITHOUT_STOCK = (
    Kind.PARTITION_CLAIMED,
    Kind.RESERVATION_EXTENDED,
    Kind.RESERVATION_CONFIRMED,
    Kind.ATTEMPT_DECIDED,
    Kind.ATTEMPT_ABANDONED,
    Kind.REQUEST_NOTED,
)
KINDS_WITH_SIGN = (Kind.STOCK_ADJUSTED, Kind.STOCK_COUNTED)
"""Their quantity is a difference, which may be negative or, when a count agrees, zero."""

Code = Annotated[str, mapped_column(Text(collation="C"))]
Units = Annotated[int, mapped_column(BigInteger)]
Seq = Annotated[int, mapped_column(BigInteger)]
Instant = Annotated[int, mapped_column(BigInteger)]
"""Milliseconds UTC."""
Part = Annotated[int, mapped_column(Integer, autoincrement=False)]
"""A partition's number."""
Remark = Annotated[str, mapped_column(Text)]
Small = Annotated[int, mapped_column(Integer)]


class Model(DeclarativeBase):
    """All tables of the engine."""

    metadata = MetaData(
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "fk": "%(table_name)s_%(column_0_name)s_fkey",
            "ck": "%(table_name)s_%(constraint_name)s_check",
        }
    )


def _among(kinds: tuple[Kind, ...]) -> str:
    return "(" + ", ".join(f"'{kind.value}'" for kind in kinds) + ")"


_BALANCES = f"0 <= reserved AND 0 <= held AND reserved + held <= on_hand AND on_hand <= {QUANTITY_MAX}"
_KINDS_OF_UNITS = tuple(kind for kind in Kind if kind not in (*KINDS_WITHOUT_STOCK, *KINDS_WITH_SIGN))


class LedgerEntry(Model):
    """One change of one lot in one bin, for ever."""

    __tablename__ = "ledger"
    __table_args__ = (
        CheckConstraint("seq >= 1", "seq"),
        CheckConstraint(_BALANCES, "balances"),
        CheckConstraint(
            "CASE WHEN sku IS NULL THEN site IS NULL AND location IS NULL AND lot IS NULL AND quantity = 0"
            f" AND kind IN {_among(KINDS_WITHOUT_STOCK)}"
            " ELSE site IS NOT NULL AND location IS NOT NULL AND lot IS NOT NULL"
            f" AND (quantity > 0 AND kind IN {_among(_KINDS_OF_UNITS)}"
            f" OR kind IN {_among(KINDS_WITH_SIGN)}) END",
            "kind",
        ),
        Index("ledger_key_idx", "key", unique=True, postgresql_where=text("key IS NOT NULL")),
        # Narrower, and so cheaper to write, than the SKU itself: docs/adr/0002-ledger-indexes.md.
        Index(
            "ledger_sku_idx",
            "partition",
            text("hashtext(sku)"),
            "seq",
            postgresql_where=text("sku IS NOT NULL"),
        ),
        Index(
            "ledger_reservation_idx",
            "partition",
            "reservation",
            "seq",
            postgresql_where=text("sku IS NULL AND reservation IS NOT NULL"),
        ),
    )

    partition: Mapped[Part] = mapped_column(primary_key=True)
    seq: Mapped[Seq] = mapped_column(primary_key=True)
    at_ms: Mapped[Instant]
    kind: Mapped[Code]
    key: Mapped[Code | None]
    fingerprint: Mapped[int | None] = mapped_column(BigInteger)
    span: Mapped[Small]
    site: Mapped[Code | None]
    sku: Mapped[Code | None]
    location: Mapped[Code | None]
    lot: Mapped[Code | None]
    quantity: Mapped[Units]
    on_hand: Mapped[Units]
    reserved: Mapped[Units]
    held: Mapped[Units]
    reservation: Mapped[Seq | None]
    line: Mapped[Small | None]
    counterpart: Mapped[Code | None]
    expires_at_ms: Mapped[Instant | None]
    reference: Mapped[Remark | None]
    reason: Mapped[Remark | None]
    detail: Mapped[Remark | None]
    checksum: Mapped[Small]
    """Of all the others: `persistence.checksums`."""


class StockLot(Model):
    """One lot in one bin as the last snapshot saw it.

    A SKU of a site lies in one partition, so that the key need not name the partition.
    """

    __tablename__ = "stock_lot"
    __table_args__ = (
        CheckConstraint(_BALANCES, "balances"),
        CheckConstraint("seq >= 1", "seq"),
        Index("stock_lot_location_idx", "location", "site", "sku"),
        Index("stock_lot_sku_idx", "sku", "site", "location"),
        Index(
            "stock_lot_expiry_idx",
            "partition",
            "expires_at_ms",
            postgresql_where=text("expires_at_ms IS NOT NULL"),
        ),
        # Room in each page keeps updates of balances away from the indexes.
        {"postgresql_with": {"fillfactor": 80}},
    )

    partition: Mapped[Part]
    site: Mapped[Code] = mapped_column(primary_key=True)
    sku: Mapped[Code] = mapped_column(primary_key=True)
    location: Mapped[Code] = mapped_column(primary_key=True)
    lot: Mapped[Code] = mapped_column(primary_key=True)
    seq: Mapped[Seq]
    on_hand: Mapped[Units]
    reserved: Mapped[Units]
    held: Mapped[Units]
    holds: Mapped[Remark | None]
    expires_at_ms: Mapped[Instant | None]
    age: Mapped[Seq]


class ReservationHead(Model):
    """One reservation, or a partition's share of one, as the last snapshot saw it."""

    __tablename__ = "reservation"
    __table_args__ = (
        CheckConstraint("open >= 0", "open"),
        Index(
            "reservation_attempt_idx", "partition", "attempt", postgresql_where=text("attempt IS NOT NULL")
        ),
        Index(
            "reservation_tentative_idx",
            "partition",
            "deadline_ms",
            postgresql_where=text("deadline_ms IS NOT NULL AND open > 0"),
        ),
        Index(
            "reservation_expiry_idx",
            "partition",
            "number",
            postgresql_where=text("expires_at_ms IS NOT NULL AND open > 0"),
        ),
    )

    partition: Mapped[Part] = mapped_column(primary_key=True)
    number: Mapped[Seq] = mapped_column(primary_key=True, autoincrement=False)
    seq: Mapped[Seq]
    opened_at_ms: Mapped[Instant]
    expires_at_ms: Mapped[Instant | None]
    reference: Mapped[Remark | None]
    state: Mapped[Code]
    open: Mapped[Units]
    attempt: Mapped[Code | None]
    deadline_ms: Mapped[Instant | None]
    home_partition: Mapped[Small | None]
    home_number: Mapped[Seq | None]
    """The whole's number, where `deadline_ms` is null; else how far home was when the attempt opened."""
    parts: Mapped[Remark | None]


class ReservationLine(Model):
    """One line of a reservation as the last snapshot saw it."""

    __tablename__ = "reservation_line"
    __table_args__ = (
        CheckConstraint(
            "open >= 0 AND picked >= 0 AND released >= 0 AND expired >= 0 AND short >= 0", "units"
        ),
        Index("reservation_line_open_idx", "partition", "site", "sku", postgresql_where=text("open > 0")),
    )

    partition: Mapped[Part] = mapped_column(primary_key=True)
    number: Mapped[Seq] = mapped_column(primary_key=True, autoincrement=False)
    line: Mapped[Small] = mapped_column(primary_key=True, autoincrement=False)
    site: Mapped[Code]
    sku: Mapped[Code]
    requested: Mapped[Units]
    quantity: Mapped[Units]
    picked: Mapped[Units]
    released: Mapped[Units]
    expired: Mapped[Units]
    short: Mapped[Units]
    open: Mapped[Units]
    allocations: Mapped[Remark]


class PartitionRecord(Model):
    """One partition: who claimed it last, and up to where its snapshot reaches. All exist from the start."""

    __tablename__ = "partition"
    __table_args__ = (CheckConstraint(f"number >= 0 AND number < {PARTITIONS_MAX}", "number"),)

    number: Mapped[Part] = mapped_column(primary_key=True)
    host: Mapped[Code] = mapped_column(server_default="")
    address: Mapped[Code] = mapped_column(server_default="")
    epoch: Mapped[Seq] = mapped_column(server_default="0")
    snapshot_seq: Mapped[Seq] = mapped_column(server_default="0")
    snapshot_at_ms: Mapped[Instant] = mapped_column(server_default="0")
    claimed_at_ms: Mapped[Instant] = mapped_column(server_default="0")


class CourierCursor(Model):
    """Up to which entry a partition has been published."""

    __tablename__ = "courier_cursor"

    partition: Mapped[Part] = mapped_column(ForeignKey("partition.number"), primary_key=True)
    seq: Mapped[Seq]


class Setting(Model):
    """What is fixed when the database is created."""

    __tablename__ = "setting"

    name: Mapped[Code] = mapped_column(primary_key=True)
    value: Mapped[Remark]


BIN_VIEW = """\
CREATE VIEW bin AS
SELECT site, sku, location,
       max(seq) AS seq,
       sum(on_hand)::bigint AS on_hand,
       sum(reserved)::bigint AS reserved,
       sum(held)::bigint AS held,
       sum(on_hand - reserved - held)::bigint AS available
FROM stock_lot
GROUP BY site, sku, location
"""
"""Bins for people who read with SQL, a few seconds behind the ledger."""

event.listen(Model.metadata, "after_create", DDL(BIN_VIEW))  # type: ignore[no-untyped-call]

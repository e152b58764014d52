"""A world with stock of every sort, and what may be done to its tables behind everybody's back."""

from collections.abc import Callable
from typing import Any

from actors.owned import OwnedPartition
from engine.commands import HoldStock, PickStock, ReserveLine
from persistence.memory.database import PartitionTables
from tests.component.actors.world import World, number_of, until, view_of
from tests.rows import seal


async def fill(w: World) -> None:
    """Leave stock, open and resolved reservations over one and several partitions, and a written snapshot."""
    for sku in ("TEA", "JAM", "RUM"):
        await w.receive(sku, 20)
        await w.receive(sku, 5, "B", lot="L1")
    view_of(await w.reserve("TEA", 3, ttl_s=60))
    done = view_of(await w.reserve("TEA", 4))
    await w.reservations.pick(
        done["id"], quantity=None, sku=None, location=None, lot=None, short_reason=None, key=w.key()
    )
    lines = tuple(ReserveLine("LON", sku, 2, index=index) for index, sku in enumerate(("TEA", "JAM", "RUM")))
    view_of(await w.reservations.reserve(lines, ttl_s=60, reference=None, partial=False, key=w.key()))
    view_of(await w.ask(HoldStock("LON", "JAM", "A", 2, None, "damage")))
    await w.hosts[0].snapshotter.flush()
    view_of(await w.ask(PickStock("LON", "JAM", 1)))


async def replaced(w: World) -> None:
    """Have everything written and broadcast, and a new owner that finds it at rest."""
    await w.hosts[0].snapshotter.flush()
    await until(lambda: w.hosts[0].courier.lag == 0)
    await w.hosts[0].courier._save_cursors()
    await w.kill(w.hosts[0])
    await w.host("second")


def tables_of(w: World, sku: str) -> PartitionTables:
    return w.database.partitions[number_of(sku)]


def rewrite(tables: PartitionTables, of_kind: str, /, **changes: Any) -> int:
    """Change the first entry of a kind behind everybody's back; return its sequence number.

    Its checksum is made anew, so that it has to be found by what it says.
    """
    seq = edit(tables, of_kind, **changes)
    seal(tables)
    return seq


def edit(tables: PartitionTables, of_kind: str, /, **changes: Any) -> int:
    """Change the first entry of a kind as a person does by SQL, who leaves its checksum as it is."""
    index = next(i for i, entry in enumerate(tables.ledger) if entry.kind == of_kind)
    tables.ledger[index] = tables.ledger[index]._replace(**changes)
    return index + 1


def parked(owned: OwnedPartition, kind: type) -> int:
    """Return how many requests of a kind wait at a partition; the courier's may wait beside them."""
    return sum(type(request.command) is kind for request in owned.queue)


Harm = Callable[[PartitionTables], object]


def wrong_units(tables: PartitionTables) -> None:
    lots = tables.lots["LON", "TEA"]
    lots["A", ""] = lots["A", ""]._replace(on_hand=99)


def wrong_hold(tables: PartitionTables) -> None:
    lots = tables.lots["LON", "TEA"]
    lots["A", ""] = lots["A", ""]._replace(holds='{"ghost": 1}')


def ghost_lot(tables: PartitionTables) -> None:
    lots = tables.lots["LON", "TEA"]
    lots["Z", ""] = lots["A", ""]._replace(location="Z")


def wrong_reservation(tables: PartitionTables) -> None:
    number, row = next(iter(tables.reservations.items()))
    tables.reservations[number] = row._replace(expires_at_ms=1)


def changed_lot(**changes: Any) -> Harm:
    """Change columns of TEA's lots that have units."""

    def harm(tables: PartitionTables) -> None:
        lots = tables.lots["LON", "TEA"]
        for place, row in lots.items():
            if row.on_hand:
                lots[place] = row._replace(**changes)

    return harm


def changed_reservation(*, of_attempt: bool = False, **changes: Any) -> Harm:
    """Change columns of the first open reservation, or of the first share of one over several partitions."""

    def harm(tables: PartitionTables) -> None:
        number, row = next(
            (number, row)
            for number, row in tables.reservations.items()
            if row.open and (row.attempt is not None) == of_attempt
        )
        tables.reservations[number] = row._replace(**changes)

    return harm


def changed_line(**changes: Any) -> Harm:
    """Change columns of an open line."""

    def harm(tables: PartitionTables) -> None:
        number, lines = next(
            (number, lines)
            for number, lines in tables.lines.items()
            if any(line.open and line.sku == "TEA" for line in lines.values())
        )
        tables.lines[number] = {index: line._replace(**changes) for index, line in lines.items()}

    return harm


COLUMNS_OF_ENTRIES: list[Harm] = [
    changed_lot(expires_at_ms=1), changed_lot(expires_at_ms=2**61), changed_lot(age=1), changed_lot(age=99),
    *(
        changed_reservation(of_attempt=of_attempt, **{column: value})
        for of_attempt in (False, True)
        for column, value in (
            ("seq", 1), ("seq", 2), ("opened_at_ms", 1), ("expires_at_ms", 1), ("expires_at_ms", 2**61),
            ("expires_at_ms", None), ("reference", "other"), ("attempt", "other"), ("deadline_ms", 1),
            ("deadline_ms", 2**61), ("home_partition", 3), ("parts", "[[1, 2, 3]]"), ("parts", "[[1"),
        )
    ),
    changed_reservation(home_partition=3, home_number=4), changed_reservation(of_attempt=True, attempt=None),
]  # fmt: skip
"""What no balance shows, and an entry says."""
COLUMNS: list[Harm] = [
    *COLUMNS_OF_ENTRIES, changed_reservation(state="picked"),
    changed_line(quantity=9), changed_line(picked=1), changed_line(released=1), changed_line(expired=1),
    changed_line(short=1), changed_line(open=1), changed_line(allocations='[["A", "", 9, 3]]'),
]  # fmt: skip
"""What no balance shows."""


def wrong_line(tables: PartitionTables) -> None:
    lines = next(iter(tables.lines.values()))
    index, row = next(iter(lines.items()))
    lines[index] = row._replace(allocations="[]")


def truncated(tables: PartitionTables) -> None:
    tables.lots.clear()
    tables.reservations.clear()
    tables.lines.clear()


HARM: list[Harm] = [
    wrong_units, wrong_hold, ghost_lot, wrong_reservation, wrong_line, truncated,
    lambda tables: tables.lots["LON", "TEA"].pop(("B", "L1")),
    lambda tables: tables.lots.pop(("LON", "TEA")),
    lambda tables: tables.reservations.popitem(),
    lambda tables: tables.lines.popitem(),
]  # fmt: skip

"""Ledgers that a test breaks while nobody owns them, and hosts that take them over."""

from collections.abc import Callable
from typing import Any

from actors.running_host import RunningHost
from persistence.memory.database import PartitionTables
from tests.component.actors.harm import edit, fill, rewrite, tables_of, truncated
from tests.component.actors.world import World

Break = Callable[[PartitionTables], int]
"""Changes a ledger; returns the sequence number that must be named."""


def changed(of_kind: str, /, **changes: Any) -> Break:
    return lambda tables: rewrite(tables, of_kind, **changes)


def edited(of_kind: str, /, **changes: Any) -> Break:
    return lambda tables: edit(tables, of_kind, **changes)


async def taken_over(w: World, break_: Break, *, written: bool) -> tuple[RunningHost, int]:
    """Break the ledger of a partition while nobody owns it, and have it taken over."""
    if written:
        await w.hosts[0].snapshotter.flush()
    await w.kill(w.hosts[0])
    seq = break_(tables_of(w, "TEA"))
    return await w.host("second"), seq


async def filled(w: World) -> None:
    await fill(w)
    for tables in w.database.partitions:  # The snapshot was written on the way: everything is tail now.
        truncated(tables)
        tables.snapshot_seq = 0

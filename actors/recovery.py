"""A new owner's state: partitions made of their snapshot rows and the ledger's tail."""

from __future__ import annotations

import heapq
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

from actors.rebuilding import Misfit, apply_all, changed_row
from engine.apply import UNFIT
from engine.images import LineRow, LotRow, ReservationRow, Rows, restore

if TYPE_CHECKING:
    from actors.host import Host
    from actors.owned import OwnedPartition
    from engine.commands import StockKey
    from persistence.ports import Recovery


def restore_partitions(host: Host, recovery: Recovery) -> dict[int, Misfit]:
    """Rebuild the state of partitions: snapshot rows, then the tail.

    Returns those where the tail does not follow from the rows, or does not reach the last entry, or where a
    row that was read is not as it was written.
    """
    misfits = {number: changed_row(number, seq) for number, seq in recovery.changed.items()}
    owned_by: dict[int, OwnedPartition] = {}
    for head in recovery.heads:
        owned = host.owned.get(head.partition)
        if owned is not None and owned.epoch == head.epoch and not owned.is_ready:
            owned_by[head.partition] = owned
            owned.state.seq = owned.snapshot_seq = head.snapshot_seq
            owned.complete = head.snapshot_seq == 0
    by_partition = _split(recovery)
    for number, (keys, rows) in by_partition.items():
        owned = owned_by.get(number)
        if owned is not None:
            try:
                restore(owned.state, keys, rows)
            except UNFIT as fault:
                misfits[number] = Misfit(number, owned.snapshot_seq, f"rows cannot be read: {fault!r}")
            if not owned.complete:
                owned.unchecked.update(keys)
    for number, tail in groupby(recovery.tail, key=attrgetter("partition")):
        owned = owned_by.get(number)
        if owned is not None and number not in misfits:
            entries = list(tail)
            misfit = apply_all(owned.state, entries)
            if misfit is not None:
                misfits[number] = misfit
            owned.note(entries)
    for head in recovery.heads:
        owned = owned_by.get(head.partition)
        if owned is not None and head.partition not in misfits and owned.state.seq != head.seq:
            misfits[head.partition] = Misfit(head.partition, owned.state.seq + 1, "the entry is missing")
    _restore_times(owned_by, recovery)
    return misfits


def _restore_times(owned_by: dict[int, OwnedPartition], recovery: Recovery) -> None:
    """Set the partitions' clocks, and what is due at stocks and reservations that rest."""
    for head in recovery.heads:
        owned = owned_by.get(head.partition)
        if owned is not None:
            owned.state.at_ms = max(owned.state.at_ms, head.at_ms)
    for due in recovery.dues:
        owned = owned_by.get(due.partition)
        if owned is not None:
            heapq.heappush(owned.state.due, (due.due_ms, (due.site, due.sku)))
    for number, reservation, deadline_ms in recovery.tentative:
        owned = owned_by.get(number)
        if owned is not None and reservation not in owned.state.reservations:
            owned.state.tentative[reservation] = deadline_ms


def _split(recovery: Recovery) -> dict[int, tuple[list[StockKey], Rows]]:
    """Return the stocks and rows of each partition."""
    split: dict[int, tuple[list[StockKey], Rows]] = {
        head.partition: ([], Rows([], [], [])) for head in recovery.heads
    }
    for number, key in recovery.stocks:
        split[number][0].append(key)
    rows: list[LotRow | ReservationRow | LineRow]
    for index, rows in enumerate(recovery.rows):  # type: ignore[assignment]
        for row in rows:
            if row.partition in split:  # One that says otherwise is wrong, and counts as missing.
                split[row.partition][1][index].append(row)  # type: ignore[arg-type]
    return split

"""Rebuilding a partition from its ledger alone, when its snapshot is not to be trusted.

If the ledger holds, entry for entry, the snapshot is replaced by what it gives, and the partition is served.
If it does not, the partition is refused: nobody serves it, its snapshot stays, and the place is named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

import structlog

from actors.retrying import until_available
from engine.apply import UNFIT, apply
from engine.images import Rows, capture
from engine.state import Partition
from persistence.ports import RowsChanged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from actors.host import Host
    from actors.owned import OwnedPartition
    from engine.entries import Entry
    from persistence.ports import Head

_log = structlog.get_logger()

_Key = TypeVar("_Key")

_STRETCH = 1_000
"""Entries that are applied in one go: 5 ms."""
_CAPTURED_MAX = 200


class Misfit(NamedTuple):
    """The first entry of a partition's ledger that does not follow from those before."""

    partition: int
    seq: int
    why: str

    def __str__(self) -> str:
        where = f"its ledger does not hold at entry {self.seq}: {self.why}"
        return f"Partition {self.partition} is not served: {where}."


def changed_row(partition: int, seq: int) -> Misfit:
    """Return that a row of a ledger is not as it was written."""
    return Misfit(partition, seq, "its row was changed after it was written: its checksum does not hold")


def apply_all(state: Partition, entries: Iterable[Entry]) -> Misfit | None:
    """Apply entries in order; return the first that does not fit, after which the state is worth nothing."""
    for entry in entries:
        if entry.seq != state.seq + 1:
            missing = state.seq + 1
            return Misfit(
                state.number, missing, f"entry {missing} is expected and entry {entry.seq} is there"
            )
        try:
            apply(state, entry)
        except UNFIT as fault:
            row = f"on hand {entry.on_hand}, reserved {entry.reserved}, held {entry.held}"
            return Misfit(state.number, entry.seq, f"{fault} ({entry.kind} of {entry.quantity}; {row})")
    return None


def missing_after(partition: int, seq: int, entries: Sequence[Entry]) -> Misfit | None:
    """Return which entry is missing among those that were read from `seq + 1` on, by sequence number.

    None to read where there must be one is a gap too.
    """
    if entries and entries[0].seq == seq + 1 and entries[-1].seq == seq + len(entries):
        return None
    for entry in entries:
        if entry.seq != seq + 1:
            why = f"entry {seq + 1} is expected and entry {entry.seq} is there"
            return Misfit(partition, seq + 1, why)
        seq = entry.seq
    return Misfit(partition, seq + 1, f"entry {seq + 1} is expected and none is there")


def ends_early(head: Head) -> Misfit:
    """Return that what the snapshot has seen is not in the ledger: acknowledged entries are lost."""
    why = f"it ends here, and the snapshot has seen entry {head.snapshot_seq}"
    return Misfit(head.partition, head.seq + 1, why)


class Rebuilding:
    """Rebuilds a host's partitions, one after another."""

    def __init__(self, host: Host) -> None:
        self._host = host

    async def rebuild(self, owned: OwnedPartition, head: Head) -> Misfit | bool:
        """Make a claimed partition's state and snapshot of its ledger up to the claim.

        Returns True when it can be served, False when it is not ours any more, or why it cannot be served.
        """
        host = self._host
        state = owned.state = Partition(head.partition)
        owned.clean()
        most = _STRETCH
        while state.seq < head.seq:
            after_seq = state.seq
            try:
                entries = await until_available(
                    lambda: host.ledger.read(head.partition, after_seq, most),  # noqa: B023 - awaited at once
                    host.sleep,
                )
            except RowsChanged as fault:
                if not self._is_ours(owned):
                    return False
                if most == 1:
                    return changed_row(head.partition, fault.places[head.partition])
                most //= 2  # Something before it may not fit either.
                continue
            if not self._is_ours(owned):
                return False
            if not entries:
                return Misfit(
                    head.partition, state.seq + 1, f"the ledger ends, and entry {head.seq} is claimed"
                )
            misfit = apply_all(state, entries)
            if misfit is not None:
                return misfit
            await host.sleep(0)
        rows = await self._captured(owned)
        as_of = head._replace(seq=state.seq, at_ms=state.at_ms)
        if not await until_available(lambda: host.snapshots.replace(as_of, rows), host.sleep):
            host.ownership.lost_since({(head.partition, head.epoch)})
            return False
        if not self._is_ours(owned):
            return False
        owned.snapshot_seq = state.seq
        owned.complete = True
        owned.visitors.update(number for number, one in state.reservations.items() if not one.open)
        host.gauges.rebuilds += 1
        _log.warning("snapshot_rebuilt", host=host.options.name, partition=head.partition, seq=state.seq)
        return True

    def _is_ours(self, owned: OwnedPartition) -> bool:
        return self._host.owned.get(owned.state.number) is owned

    async def _captured(self, owned: OwnedPartition) -> Rows:
        """Return all rows of a partition that nobody changes meanwhile."""
        rows, state = Rows([], [], []), owned.state
        for keys in _groups(list(state.stocks)):
            rows.lots.extend(capture(state, keys, ()).lots)
            await self._host.sleep(0)
        for numbers in _groups(list(state.reservations)):
            found = capture(state, (), numbers)
            rows.reservations.extend(found.reservations)
            rows.lines.extend(found.lines)
            await self._host.sleep(0)
        return rows


def _groups(keys: list[_Key]) -> Iterator[list[_Key]]:
    for start in range(0, len(keys), _CAPTURED_MAX):
        yield keys[start : start + _CAPTURED_MAX]

"""Bugs of what is believed of a snapshot and of a ledger.

Each is (name, the promises that it breaks, what is put in place of which attributes).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors import rebuilding
from actors.origins import Origins
from actors.soundness import Soundness
from engine.apply import UNFIT, apply
from persistence.memory import MemorySnapshots
from persistence.memory.database import PartitionTables

if TYPE_CHECKING:
    from collections.abc import Iterable

    from engine.entries import Entry
    from engine.images import Rows
    from engine.state import Partition
    from persistence.ports import Head

_save, _replace = MemorySnapshots.save, MemorySnapshots.replace
_LOST_OF = 3
"""Of so many snapshots one lacks a stock."""


async def _nothing_wrong(*_: object) -> list[Any]:
    return []


async def _sound(*_: object) -> str:
    return ""


def _what_fits(state: Partition, entries: Iterable[Entry]) -> None:
    """Apply what can be applied, and go on behind the rest."""
    for entry in entries:
        try:
            apply(state, entry)
        except UNFIT:
            state.seq, state.at_ms = entry.seq, entry.at_ms


def _as_it_was_written(*_: object) -> list[Any]:
    return []


async def _noted(self: MemorySnapshots, head: Head, rows: Rows) -> bool:
    self._database.__dict__.setdefault("rebuilt", {})[head.partition] = 0
    return await _replace(self, head, rows)


async def _lossy_when_rebuilt(
    self: MemorySnapshots, epochs: dict[int, tuple[int, int, int]], rows: Rows
) -> frozenset[int]:
    rebuilt = self._database.__dict__.get("rebuilt", {})
    stocks = [(lot.partition, lot.sku) for lot in rows.lots if lot.partition in rebuilt]
    if stocks:
        rebuilt[stocks[0][0]] += 1
        if rebuilt[stocks[0][0]] % _LOST_OF == 0:
            left = [lot for lot in rows.lots if (lot.partition, lot.sku) != stocks[0]]
            rows = rows._replace(lots=left)
    return await _save(self, epochs, rows)


SEEDED: tuple[tuple[Any, ...], ...] = (
    ("origins are not looked up", "P5 P7", (Origins, "wrong", _nothing_wrong)),
    ("stocks of a snapshot are not compared", "P2 P5 P7", (Soundness, "of_stocks", _sound)),
    ("a ledger that does not hold is served", "P5 P7 P8", (rebuilding, "apply_all", _what_fits)),
    (
        "what was rebuilt loses a stock at times", "P7",
        (MemorySnapshots, "replace", _noted), (MemorySnapshots, "save", _lossy_when_rebuilt),
    ),
    ("checksums are not looked at", "P7 P8", (PartitionTables, "changed", _as_it_was_written)),
)  # fmt: skip

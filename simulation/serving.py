"""Which lots and bins have to serve a quantity, worked out from the rules alone.

- Nothing past its date serves, and nothing that is reserved or held.
- `fefo`: the first to expire first, what has no date last; then what came in first; then by location.
- `fifo`, `lifo`: what came in first, or last; then by location. Units that moved keep their age.
- `closest`: by location, numbers in it as numbers (A-2 before A-10); in a location as `fefo`.
- `fewest`: from as few bins as possible: the smallest that covers what remains, or else the largest.

What is picked from a reservation leaves it in the order in which it was allocated, what is released the other
way round.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from simulation.plan import SITE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from engine.entries import Entry
    from simulation.clients import Call
    from simulation.model import BinState, LedgerModel
    from simulation.promises import Promise

Taken = tuple[str | None, str | None, int]
"""(location, lot, units)"""
_NEVER_MS = 2**62


class Free(NamedTuple):
    """Units of one lot in one bin that can be promised."""

    location: str
    lot: str
    units: int
    expires_at_ms: int
    age: int


def _by_expiry(free: Free) -> tuple[int, int, str]:
    return free.expires_at_ms, free.age, free.location


def _by_walk(free: Free) -> tuple[list[str | int], int, int]:
    parts = re.split(r"([0-9]+)", free.location)
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], *_by_expiry(free)[:2]


_ORDERS: dict[str, Callable[[Free], tuple[object, ...]]] = {
    "fefo": _by_expiry,
    "fifo": lambda free: (free.age, free.location),
    "lifo": lambda free: (-free.age, free.location),
    "closest": _by_walk,
}


def serving(
    bins: Mapping[str, BinState],
    quantity: int,
    at_ms: int,
    strategy: str = "fefo",
    location: str | None = None,
    lot: str | None = None,
) -> list[Taken]:
    """Return what has to be taken for a quantity, in order; less than that where there is not enough."""
    there = [
        Free(
            where, one.code, one.free, _NEVER_MS if one.expires_at_ms is None else one.expires_at_ms, one.age
        )
        for where, bin_ in bins.items()
        if location in (None, where)
        for one in bin_.lots
        if one.free and lot in (None, one.code)
    ]
    there = [free for free in there if free.expires_at_ms > at_ms]
    in_order = _fewest(there, quantity) if strategy == "fewest" else sorted(there, key=_ORDERS[strategy])
    taken: list[Taken] = []
    for free in in_order:
        if quantity:
            taken.append((free.location, free.lot, min(free.units, quantity)))
            quantity -= taken[-1][2]
    return taken


def _fewest(there: Sequence[Free], quantity: int) -> Iterator[Free]:
    units = {free.location: 0 for free in there}
    for free in there:
        units[free.location] += free.units
    while units:
        covering = {where: held for where, held in units.items() if held >= quantity}
        best = min(covering.values()) if covering else max(units.values())
        where = min(one for one, held in units.items() if held == best)
        yield from sorted((free for free in there if free.location == where), key=_by_expiry)
        quantity -= units.pop(where)


def taken_by(entries: Sequence[Entry]) -> list[Taken]:
    """Return what entries take, in their order."""
    return [(entry.location, entry.lot, entry.quantity) for entry in entries]


def wrong_lots(
    model: LedgerModel, sku: str, entries: Sequence[Entry], at_ms: int, strategy: str, *named: str | None
) -> str | None:
    """Say that units of a SKU are not taken from where they have to be; `named` are the location and lot."""
    taken = taken_by(entries)
    quantity = sum(units for _, _, units in taken)
    rightly = serving(model.bins_of(sku, SITE), quantity, at_ms, strategy, *named)
    return None if taken == rightly else f"{sku} is taken from {taken}, by {strategy} it is {rightly}"


def wrong_places(call: Call, entries: Sequence[Entry], promise: Promise, model: LedgerModel) -> str | None:
    """Say that a pick or release takes units of a reservation from elsewhere than it has to."""
    kind = {"pick": "stock_picked", "release": "stock_released"}[call.operation.kind]
    after_move = [before.kind == "reservation_moved_in" for before in entries[:-1]]
    there = [
        entry
        for entry, is_moved in zip(entries, [False, *after_move], strict=True)
        if entry.kind == kind and not is_moved
    ]
    held = [
        (line["line"], one["location"], one["lot"] or "", one["open"])
        for line in promise.lines_at(promise.rows[-1].seq)
        if call.sku in (None, line["sku"])
        for one in line["allocations"]
        if one["open"] and call.location in (None, one["location"])
    ]
    remaining = sum(entry.quantity for entry in there)
    rightly = []
    for line, location, lot, units in held if call.operation.kind == "pick" else held[::-1]:
        if remaining:
            rightly.append((line, location, lot, min(units, remaining)))
            remaining -= rightly[-1][-1]
    taken = [(entry.line, *one) for entry, one in zip(there, taken_by(there), strict=True)]
    if taken != rightly:
        return f"{taken} leaves it, it should be {rightly}"
    for sku in {entry.sku: None for entry in entries if entry.kind == "reservation_moved_in"}:
        moved = [entry for entry in entries if (entry.kind, entry.sku) == ("reservation_moved_in", sku)]
        wrong = _wrong_moved(call, str(sku), moved, model)
        if wrong is not None:
            return wrong
    return None


def _wrong_moved(call: Call, sku: str, entries: Sequence[Entry], model: LedgerModel) -> str | None:
    """Judge the lots that serve for those that were allocated, one after another."""
    sums: dict[tuple[str | None, str | None], int] = {}
    for location, lot, units in taken_by(entries):
        sums[location, lot] = sums.get((location, lot), 0) + units
    quantity = sum(sums.values())
    rightly = serving(model.bins_of(sku, SITE), quantity, entries[0].at_ms, "fefo", call.location)
    taken = [(*place, units) for place, units in sums.items()]
    return None if taken == rightly else f"{sku} is moved to {taken}, by fefo it is {rightly}"

"""Which lots serve a quantity: the removal strategies.

A strategy is an order over the lots of a SKU; units are taken in that order. `fewest` alone looks at the
quantity as well: the tightest single bin that covers it, else the largest first.
"""

import re
from collections.abc import Callable

from engine.draft import Draft
from engine.state import NEVER_MS, Bin, Lot, Stock

Place = tuple[Bin, Lot]
Taken = tuple[str, str, int]
"""(location, lot, quantity)"""

_DIGITS = re.compile(r"(\d+)")


def _walk(location: str) -> list[tuple[int, str]]:
    """Return a key that sorts A-2 before A-10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in _DIGITS.split(location)]


def _fefo(place: Place) -> tuple[int, int, str]:
    bin_, lot = place
    return (lot.expires_at_ms if lot.expires_at_ms is not None else NEVER_MS, lot.age, bin_.location)


def _fifo(place: Place) -> tuple[int, str]:
    return (place[1].age, place[0].location)


def _lifo(place: Place) -> tuple[int, str]:
    return (-place[1].age, place[0].location)


def _closest(place: Place) -> tuple[list[tuple[int, str]], int, int, str]:
    return (_walk(place[0].location), *_fefo(place))


STRATEGIES: dict[str, Callable[[Place], object]] = {
    "fefo": _fefo,
    "fifo": _fifo,
    "lifo": _lifo,
    "closest": _closest,
    "fewest": _fefo,
}
"""The permanent names of the strategies, with the order that each takes lots in."""


def choose(
    draft: Draft,
    stock: Stock,
    quantity: int,
    now_ms: int,
    *,
    location: str | None = None,
    lot: str | None = None,
    strategy: str = "fefo",
) -> tuple[list[Taken], int]:
    """Choose lots for a quantity.

    Returns what to take, and how many units are available in all lots that qualify (when they are fewer than
    `quantity`, everything is taken). Expired lots never qualify.
    """
    places: list[tuple[Bin, Lot, int]] = []
    available = 0
    if location is None:
        bins = stock.bins.values()
    else:
        named = stock.bins.get(location)
        bins = (named,) if named is not None else ()  # type: ignore[assignment]
    for bin_ in bins:
        for candidate in bin_.lots:
            if lot is not None and candidate.code != lot:
                continue
            if draft.balances:
                free = draft.available(stock, bin_.location, candidate)
            else:  # The same without the call: most commands choose once.
                free = candidate.on_hand - candidate.reserved - candidate.held
            if free <= 0 or (candidate.expires_at_ms is not None and candidate.expires_at_ms <= now_ms):
                continue
            places.append((bin_, candidate, free))
            available += free
    if len(places) == 1:
        return [(places[0][0].location, places[0][1].code, min(places[0][2], quantity))], available
    if places:
        if strategy == "fewest":
            return _fewest(places, quantity), available
        order = STRATEGIES[strategy]
        places.sort(key=lambda place: order(place[:2]))  # type: ignore[arg-type,return-value]
    taken: list[Taken] = []
    for bin_, candidate, free in places:
        if quantity <= 0:
            break
        part = min(free, quantity)
        taken.append((bin_.location, candidate.code, part))
        quantity -= part
    return taken, available


def _fewest(places: list[tuple[Bin, Lot, int]], quantity: int) -> list[Taken]:
    """Take from as few bins as possible; the last is the tightest that covers what remains.

    A bin counts once, whatever lots it holds: its lots are taken first expired first out.
    """
    by_bin: dict[str, list[tuple[Bin, Lot, int]]] = {}
    for place in sorted(places, key=lambda place: _fefo(place[:2])):
        by_bin.setdefault(place[0].location, []).append(place)
    free_of = {location: sum(free for _, _, free in lots) for location, lots in by_bin.items()}
    taken: list[Taken] = []
    while quantity > 0 and free_of:
        covering = [location for location, free in free_of.items() if free >= quantity]
        if covering:
            location = min(covering, key=lambda code: (free_of[code], code))
        else:
            location = min(free_of, key=lambda code: (-free_of[code], code))
        for _, lot, free in by_bin[location]:
            part = min(free, quantity)
            if part:
                taken.append((location, lot.code, part))
                quantity -= part
        del free_of[location]
    return taken

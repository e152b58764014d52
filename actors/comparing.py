"""Comparing a stock with the sum of its ledger: what memory holds, what its rows say, what is promised."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from actors.sums import Balance, Place, Sum, Sums

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from actors.drift import Drift
    from actors.seen import Seen
    from engine.commands import StockKey
    from engine.entries import Entry
    from engine.images import LotRow

_COMPARED_MAX = 1_000
"""Reservations that are added up in one go."""
_NOTHING = Sum()


def compare_stock(
    drift: Drift,
    key: StockKey,
    sums: Sums,
    seen: Seen | None,
    rows: dict[Place, LotRow],
    last: dict[int, Entry] | None,
    snapshot_seq: int,
) -> bool:
    """Compare a stock; False when the last entry of one of its lots could not be read."""
    is_whole = True
    totals = sums.of.get(key, {})
    lots = seen.lots if seen is not None else {}
    for place in totals.keys() | rows.keys() | lots.keys():
        total = totals.get(place, _NOTHING)
        drift.compare(key, place, "entries", total.beyond, (0, 0, 0))
        if seen is not None:
            lot_seq, balance = lots.get(place, (0, (0, 0, 0)))
            if lot_seq <= sums.seq:
                drift.compare(key, place, "memory", balance, total.balance)
            elif last is not None:
                drift.compare(key, place, "memory", balance, _balance_at(last.get(lot_seq), key, place))
            else:
                is_whole = False
        row = rows.get(place)
        is_written = seen is None or total.seq <= snapshot_seq
        if is_written and (row is None or row.seq <= sums.seq):
            balance = (row.on_hand, row.reserved, row.held) if row else (0, 0, 0)
            drift.compare(key, place, "snapshot", balance, total.balance)
    return is_whole


async def compare_reservations(
    drift: Drift, key: StockKey, seen: Seen, sleep: Callable[[float], Awaitable[None]]
) -> None:
    """Compare reserved units with what open reservations held at the same moment."""
    promised: Counter[Place] = Counter()
    for start in range(0, len(seen.promised), _COMPARED_MAX):
        for location, lot, units in seen.promised[start : start + _COMPARED_MAX]:
            promised[location, lot] += units
        if len(seen.promised) > _COMPARED_MAX:
            await sleep(0)
    for place in seen.lots.keys() | promised.keys():
        reserved = seen.lots[place][1][1] if place in seen.lots else 0
        drift.compare(key, place, "reservations", (0, promised[place], 0), (0, reserved, 0))


def _balance_at(entry: Entry | None, key: StockKey, place: Place) -> Balance:
    """Return what an entry says of a lot; nothing when it is about another."""
    if entry is None or (entry.site, entry.sku, entry.location, entry.lot) != (*key, *place):
        return (0, 0, 0)
    return entry.on_hand, entry.reserved, entry.held

"""Bugs of which lots and bins serve a quantity.

Each is (name, the promises that it breaks, what is put in place of which attributes or items of a dict).
"""

from __future__ import annotations

from typing import Any

from actors import owned
from engine import choosing, decide, images, picking, reserving
from engine.choosing import STRATEGIES, choose
from engine.commands import ExpireStock
from engine.finding import stock_of
from engine.reserving import expire, open_allocations
from engine.state import NEVER_MS

_fefo, _fifo = STRATEGIES["fefo"], STRATEGIES["fifo"]


def _latest_first(place: Any) -> tuple[Any, ...]:  # noqa: ANN401
    bin_, lot = place
    return (-(lot.expires_at_ms or 0), lot.age, bin_.location)


def _as_text(place: Any) -> tuple[Any, ...]:  # noqa: ANN401
    return (place[0].location, _fefo(place))


def _smallest_first(places: list[Any], quantity: int) -> list[Any]:
    taken = []
    for bin_, lot, free in sorted(places, key=lambda place: place[2]):
        if quantity:
            taken.append((bin_.location, lot.code, min(free, quantity)))
            quantity -= min(free, quantity)
    return taken


def _whatever_its_date(draft: Any, stock: Any, quantity: int, _: int, **named: Any) -> Any:  # noqa: ANN401
    return choose(draft, stock, quantity, 0, **named)


def _reservations_only(partition: Any, command: ExpireStock, draft: Any) -> None:  # noqa: ANN401
    """Let expire what is promised, and leave lots as they are."""
    stock = stock_of(partition, command.site, command.sku)
    for reservation in list((stock.reservations or {}).values()):
        if reservation.expires_at_ms is not None and reservation.expires_at_ms <= draft.at_ms:
            expire(partition, reservation, draft)


def _of_reservations(stock: Any) -> int:  # noqa: ANN401
    dates = [one.expires_at_ms for one in (stock.reservations or {}).values()]
    return min((date for date in dates if date is not None), default=NEVER_MS)


def _last_first(lines: Any) -> list[Any]:  # noqa: ANN401
    return open_allocations(lines)[::-1]


SEEDED: tuple[tuple[Any, ...], ...] = (
    ("fefo takes the latest date first", "P1", (STRATEGIES, "fefo", _latest_first)),
    ("fefo goes by age alone", "P1", (STRATEGIES, "fefo", _fifo)),
    ("fifo goes by date first", "P1", (STRATEGIES, "fifo", _fefo)),
    ("lifo takes what came in first", "P1", (STRATEGIES, "lifo", _fifo)),
    ("closest takes A-10 before A-2", "P1", (STRATEGIES, "closest", _as_text)),
    ("fewest bins takes the smallest ones", "P1", (choosing, "_fewest", _smallest_first)),
    (
        "an expired lot is reserved", "P1", (reserving, "choose", _whatever_its_date),
        (decide.DECIDERS, ExpireStock, _reservations_only), (owned, "next_due_ms", _of_reservations),
        (images, "next_due_ms", _of_reservations),
    ),
    ("picks take what was allocated last", "P1", (picking, "open_allocations", _last_first)),
)  # fmt: skip

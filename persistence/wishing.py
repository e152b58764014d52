"""What a wish does to all that was wished before, and how both are stored: one text each, in any adapter."""

import json
from typing import Any

from engine.commands import StockKey
from persistence.placement import Granted, Wish

NOTHING_WISHED = Wish(0, (), 0, None)
NOTHING_GRANTED = Granted(0, 0, 0, 0, 0.0)


def isolating(wish: Wish, stock: StockKey) -> Wish:
    """Return the wish with a stock isolated."""
    return wish._replace(number=wish.number + 1, isolated=tuple(sorted({*wish.isolated, stock})))


def joining(wish: Wish, stock: StockKey) -> Wish:
    """Return the wish with a stock not isolated."""
    return wish._replace(number=wish.number + 1, isolated=tuple(k for k in wish.isolated if k != stock))


def spreading(wish: Wish, hosts: int | None) -> Wish:
    """Return the wish with an even spread asked for."""
    number = wish.number + 1
    return wish._replace(number=number, spread=number, hosts=hosts)


def text_of(told: Wish | Granted) -> str:
    """Return what is stored."""
    return json.dumps(told._asdict())


def wish_of(text: str | None) -> Wish:
    """Return a wish that was stored."""
    if text is None:
        return NOTHING_WISHED
    plain: dict[str, Any] = json.loads(text)
    isolated = tuple((site, sku) for site, sku in plain["isolated"])
    return Wish(plain["number"], isolated, plain["spread"], plain["hosts"])


def granted_of(text: str | None) -> Granted:
    """Return what was stored about wishes that were carried out."""
    if text is None:
        return NOTHING_GRANTED
    granted = Granted(**json.loads(text))
    return granted._replace(refused=tuple(granted.refused))

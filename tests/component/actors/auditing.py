"""An auditor that a test drives: it does not rest."""

import asyncio
from typing import Any

from actors.auditor import Auditor
from engine.commands import HoldStock, PickStock
from engine.state import Lot, Stock
from tests.component.actors.world import World, number_of, view_of


async def no_rest(_spent_s: float) -> None:
    await asyncio.sleep(0)


def auditor_of(w: World, **options: Any) -> Auditor:
    """Return an auditor that does not rest."""
    return Auditor(w.hosts[0].host, **{"pace": no_rest, **options})


async def audit(w: World, **options: Any) -> tuple[int, int]:
    """Audit everything; return (stocks compared, drift)."""
    gauges = w.hosts[0].host.gauges
    before = gauges.audits
    await auditor_of(w, **options).round()
    return gauges.audits - before, gauges.drift


async def fill(w: World) -> None:
    await w.receive("TEA", 10)
    await w.receive("TEA", 5, "B", lot="L1")
    await w.receive("JAM", 7)
    view_of(await w.reserve("TEA", 12))
    view_of(await w.ask(HoldStock("LON", "JAM", "A", 2, None, "damage")))
    view_of(await w.ask(PickStock("LON", "JAM", 1)))


def stock_of(w: World, sku: str) -> Stock:
    return w.hosts[0].host.owned[number_of(sku)].state.stocks["LON", sku]


def lot_of(w: World, sku: str) -> Lot:
    lot = stock_of(w, sku).bins["A"].lot("")
    assert lot is not None
    return lot

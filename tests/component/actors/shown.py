"""What callers are shown of a filled world: the same after whatever happened to its snapshot."""

from typing import Any

from actors.queries import ReadReservation, ReadStock
from engine.partitioning import reservation_address
from tests.component.actors.world import World, number_of, view_of

SKUS = ("TEA", "JAM", "RUM")


async def everything(w: World, reservations: list[str]) -> dict[str, Any]:
    """Return what callers are shown, but for sequence numbers, which claims move."""
    shown: dict[str, Any] = {}
    for sku in SKUS:
        view = view_of(await w.gateway.query(number_of(sku), ReadStock("LON", sku)))
        shown[sku] = {**view, "seq": 0}
    for id_ in reservations:
        shown[id_] = await found(w, id_)
    return shown


async def found(w: World, id_: str) -> dict[str, Any]:
    """Return a reservation."""
    partition, number, opened_at_ms = address_of(id_)
    return view_of(await w.gateway.query(partition, ReadReservation(number, opened_at_ms)))


def address_of(id_: str) -> tuple[int, int, int]:
    address = reservation_address(id_)
    assert address is not None
    return address


async def reserved(w: World) -> list[str]:
    """Reserve at the SKU that is harmed: one reservation stays open, one is over."""
    kept = view_of(await w.reserve("TEA", 1))
    over = view_of(await w.reserve("TEA", 2))
    await w.reservations.release(over["id"], quantity=None, sku=None, key=w.key())
    return [kept["id"], over["id"]]

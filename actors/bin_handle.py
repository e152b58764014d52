"""A bin as an actor: a handle on one SKU at one location, from any Ray program on the cluster.

    bin_ = await bin_at("LON", "TEA-1", "A-01")
    outcome = await bin_.reserve(5, ttl_s=900)
    await bin_.pick(outcome.view["id"])

The handle travels the bin's lane; Ray only tells where the lanes are.
"""

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

from actors.gateway import LaneGateway
from actors.outcomes import Outcome
from actors.ports import Gateway
from actors.queries import ExplainStock, ReadBin
from actors.reservations import SpanningReservations
from engine import commands as c
from engine.partitioning import partition_of
from persistence.placement import Placement
from persistence.ports import Unavailable


class BinHandle:
    """One bin. Quantities in units; every method takes the command's `key`, so that a repeat is safe."""

    def __init__(self, gateway: Gateway, site: str, sku: str, location: str) -> None:
        self.site = site
        self.sku = sku
        self.location = location
        self._gateway = gateway
        self._partition = partition_of(site, sku, gateway.partitions)
        self._reservations = SpanningReservations(gateway)

    def __repr__(self) -> str:
        return f"BinHandle({self.site!r}, {self.sku!r}, {self.location!r})"

    async def state(self) -> Outcome:
        """Return the bin."""
        return await self._gateway.query(self._partition, ReadBin(self.site, self.sku, self.location))

    async def explain(self) -> Outcome:
        """Return why the SKU's available quantity is what it is."""
        return await self._gateway.query(self._partition, ExplainStock(self.site, self.sku))

    async def receive(
        self, quantity: int, *, lot: str | None = None, expires_at_ms: int | None = None,
        reference: str | None = None, key: str | None = None,
    ) -> Outcome:  # fmt: skip
        """Put units in."""
        return await self._send(c.ReceiveStock(*self._place, quantity, lot, expires_at_ms, reference), key)

    async def reserve(
        self, quantity: int, *, ttl_s: int | None = None, lot: str | None = None,
        reference: str | None = None, partial: bool = False, key: str | None = None,
    ) -> Outcome:  # fmt: skip
        """Reserve units of this bin: soft with `ttl_s`, hard without. The view has the reservation's `id`."""
        line = c.ReserveLine(self.site, self.sku, quantity, self.location, lot)
        return await self._send(c.ReserveStock((line,), ttl_s, reference, partial), key)

    async def pick(
        self,
        reservation: str,
        quantity: int | None = None,
        *,
        short_reason: str | None = None,
        key: str | None = None,
    ) -> Outcome:
        """Take reserved units out of this bin: all that the reservation has here, or `quantity` of them."""
        return await self._reservations.pick(
            reservation, quantity=quantity, sku=self.sku, location=self.location, lot=None,
            short_reason=short_reason, key=key or _new_key(),
        )  # fmt: skip

    async def release(
        self, reservation: str, quantity: int | None = None, *, key: str | None = None
    ) -> Outcome:
        """Give reserved units of this SKU back."""
        return await self._reservations.release(
            reservation, quantity=quantity, sku=self.sku, key=key or _new_key()
        )

    async def extend(self, reservation: str, ttl_s: int, *, key: str | None = None) -> Outcome:
        """Let a soft reservation live `ttl_s` seconds from now."""
        return await self._reservations.extend(reservation, ttl_s=ttl_s, key=key or _new_key())

    async def take(self, quantity: int, *, lot: str | None = None, key: str | None = None) -> Outcome:
        """Pick units without a reservation."""
        return await self._send(c.PickStock(self.site, self.sku, quantity, self.location, lot), key)

    async def move(
        self, to_location: str, quantity: int, *, lot: str | None = None, key: str | None = None
    ) -> Outcome:
        """Move units to another bin of the SKU."""
        return await self._send(c.MoveStock(*self._place, to_location, quantity, lot), key)

    async def adjust(
        self, delta: int, reason: str, *, lot: str | None = None, key: str | None = None
    ) -> Outcome:
        """Add or take away units with a reason."""
        return await self._send(c.AdjustStock(*self._place, delta, lot, reason), key)

    async def count(
        self, counted: int, *, lot: str | None = None, seen_seq: int | None = None, key: str | None = None
    ) -> Outcome:
        """Record a count, made when the bin was at `seen_seq`."""
        return await self._send(c.CountStock(*self._place, counted, lot, seen_seq), key)

    async def hold(
        self, quantity: int, reason: str, *, lot: str | None = None, key: str | None = None
    ) -> Outcome:
        """Take units off sale."""
        return await self._send(c.HoldStock(*self._place, quantity, lot, reason), key)

    async def unhold(
        self, quantity: int, reason: str, *, lot: str | None = None, key: str | None = None
    ) -> Outcome:
        """Put held units back on sale."""
        return await self._send(c.UnholdStock(*self._place, quantity, lot, reason), key)

    @property
    def _place(self) -> tuple[str, str, str]:
        return (self.site, self.sku, self.location)

    async def _send(self, command: c.Command, key: str | None) -> Outcome:
        return await self._gateway.submit(self._partition, command, key or _new_key())


def _new_key() -> str:
    return secrets.token_urlsafe(16)


class _RayDirectory:
    """Asks the hosts themselves, by Ray, where partitions are."""

    def __init__(self, doors: Callable[[], Any]) -> None:
        self._doors = doors

    async def placements(self) -> list[Placement]:
        """Return the owner of every partition. Raises Unavailable."""
        return [Placement(*placement) for placement in (await self._doors())["placements"]]


_gateways: dict[int, LaneGateway] = {}


async def bin_at(site: str, sku: str, location: str) -> BinHandle:
    """Return a handle on a bin, known or not yet. Raises Unavailable when no host answers.

    Needs `ray.init` to the cluster that Binkeeper runs on. Handles of one event loop share their lanes.
    """
    loop = asyncio.get_running_loop()
    gateway = _gateways.get(id(loop))
    if gateway is None:
        doors = await _doors()
        gateway = LaneGateway(_RayDirectory(_doors), doors["token"], doors["partitions"])
        _gateways[id(loop)] = gateway
    return BinHandle(gateway, site, sku, location)


async def _doors() -> dict[str, Any]:
    """Ask any host for the way in."""
    from actors.ray_doors import doors  # noqa: PLC0415 - Ray is imported only by those who come by Ray

    found = await doors()
    if found is None:
        message = "no Binkeeper host runs on this Ray cluster"
        raise Unavailable(message)
    return found

"""Reservations as the public sees them, whatever partitions their lines lie in.

Lines in one partition are one command. Lines in several are reserved by `actors.attempts`, and changed
together by `actors.shares`.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence

from actors.attempts import Attempts, Order
from actors.outcomes import Answered, Outcome
from actors.ports import Gateway
from actors.queries import ReadReservation
from actors.shares import Change, Shares
from engine.commands import (
    ExtendReservation,
    PickReservation,
    ReleaseReservation,
    ReserveLine,
    ReserveStock,
)
from engine.partitioning import ReservationAddress, partition_of, reservation_address
from engine.refusals import Refusal, Refused, refused


class SpanningReservations:
    """Finds out which partitions a request is about, and who carries it out."""

    def __init__(
        self,
        gateway: Gateway,
        *,
        tentative_ttl_s: float = 10.0,
        random_bytes: Callable[[int], bytes] = os.urandom,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._gateway = gateway
        self._shares = Shares(gateway)
        self._attempts = Attempts(gateway, self._shares, int(tentative_ttl_s * 1000), random_bytes, sleep)
        self._running: dict[str, asyncio.Future[Outcome]] = {}

    async def reserve(
        self,
        lines: Sequence[ReserveLine],
        *,
        ttl_s: int | None,
        reference: str | None,
        partial: bool,
        key: str,
    ) -> Outcome:
        """Reserve all lines or none (with `partial`: what there is). See `actors.ports.Reservations`."""
        by_partition: dict[int, list[ReserveLine]] = {}
        for line in lines:
            number = partition_of(line.site, line.sku, self._gateway.partitions)
            by_partition.setdefault(number, []).append(line)
        if len(by_partition) == 1:
            ((number, own),) = by_partition.items()
            command = ReserveStock(tuple(own), ttl_s, reference, partial)
            return await self._gateway.submit(number, command, key)
        shares = {number: tuple(own) for number, own in sorted(by_partition.items())}
        running = self._running.get(key)
        if running is not None:
            await asyncio.wait([running])  # Then the first answer is there to be given again.
        done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._running[key] = done
        try:
            return await self._attempts.reserve(Order(tuple(lines), shares, ttl_s, reference, partial, key))
        finally:
            if self._running.get(key) is done:
                del self._running[key]
            done.cancel()

    async def find(self, public_id: str) -> Outcome:
        """Return a reservation; refused `reservation_not_found`."""
        address = self._address_of(public_id)
        if address is None:
            return refused(Refusal.RESERVATION_NOT_FOUND)
        query = ReadReservation(address.number, address.opened_at_ms)
        home = await self._gateway.query(address.partition, query)
        return home if isinstance(home, Refused) else await self._shares.now(home)

    async def pick(
        self,
        public_id: str,
        *,
        quantity: int | None,
        sku: str | None,
        location: str | None,
        lot: str | None,
        short_reason: str | None,
        key: str,
    ) -> Outcome:
        """Pick from a reservation; the answer is the reservation."""
        command = PickReservation(0, 0, quantity, sku, location, lot, short_reason)
        return await self._change(public_id, command, key)

    async def release(self, public_id: str, *, quantity: int | None, sku: str | None, key: str) -> Outcome:
        """Release units of a reservation; the answer is the reservation."""
        return await self._change(public_id, ReleaseReservation(0, 0, quantity, sku), key)

    async def extend(self, public_id: str, *, ttl_s: int, key: str) -> Outcome:
        """Extend a soft reservation; the answer is the reservation."""
        return await self._change(public_id, ExtendReservation(0, 0, ttl_s), key)

    async def _change(self, public_id: str, command: Change, key: str) -> Outcome:
        """Change a reservation wherever its units are.

        One in a single partition is changed there and then. One that spans partitions takes the key at home,
        which shows its parts, and nothing is changed yet.
        """
        address = self._address_of(public_id)
        if address is None:
            return refused(Refusal.RESERVATION_NOT_FOUND)
        whole = command._replace(number=address.number, opened_at_ms=address.opened_at_ms)
        outcome = await self._gateway.submit(address.partition, whole, key)
        if isinstance(outcome, Answered) and "parts" in outcome.view:
            return await self._shares.change(outcome, command, key)
        if isinstance(outcome, Refused) and outcome.code == Refusal.RESERVATION_SPANS:
            return refused(Refusal.RESERVATION_NOT_FOUND)  # It is the id of a share.
        return outcome

    def _address_of(self, public_id: str) -> ReservationAddress | None:
        address = reservation_address(public_id)
        return address if address is not None and address.partition < self._gateway.partitions else None

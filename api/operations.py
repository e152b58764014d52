"""From a body to its outcome: commands about stock go to their partition, the rest to the reservations.

The same functions serve the routes and the batch.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct

from actors.ports import Gateway, Outcome, Reservations
from api import bodies as b
from engine import commands as c
from engine.dates import end_of_day_ms
from engine.partitioning import partition_of, partition_of_key


def reserve_lines(body: b.ReserveBody) -> tuple[c.ReserveLine, ...]:
    """Return the lines of a reservation, whichever way they were written."""
    if body.lines is None:
        assert body.site is not None
        assert body.sku is not None
        assert body.quantity is not None
        return (
            c.ReserveLine(
                body.site, body.sku, body.quantity, body.location, body.lot, body.strategy or "fefo", 0
            ),
        )
    return tuple(
        c.ReserveLine(line.site, line.sku, line.quantity, line.location, line.lot, line.strategy, index)
        for index, line in enumerate(body.lines)
    )


def _receive(body: b.ReceiveBody) -> c.Command:
    expires_at_ms = None if body.expires_on is None else end_of_day_ms(body.expires_on)
    return c.ReceiveStock(
        body.site,
        body.sku,
        body.location,
        body.quantity,
        body.lot,
        expires_at_ms,
        body.reference,
        body.reason,
    )


def _pick_stock(body: b.PickStockBody) -> c.Command:
    return c.PickStock(body.site, body.sku, body.quantity, body.location, body.lot, body.reference)


def _move(body: b.MoveBody) -> c.Command:
    return c.MoveStock(body.site, body.sku, body.from_, body.to, body.quantity, body.lot)


def _adjust(body: b.AdjustBody) -> c.Command:
    return c.AdjustStock(body.site, body.sku, body.location, body.delta, body.lot, body.reason)


def _count(body: b.CountBody) -> c.Command:
    return c.CountStock(body.site, body.sku, body.location, body.counted, body.lot, body.seen_seq)


def _hold(body: b.HoldBody) -> c.Command:
    return c.HoldStock(body.site, body.sku, body.location, body.quantity, body.lot, body.reason)


def _unhold(body: b.HoldBody) -> c.Command:
    return c.UnholdStock(body.site, body.sku, body.location, body.quantity, body.lot, body.reason)


COMMANDS: dict[str, Callable[[Any], c.Command]] = {
    "receive": _receive,
    "pick_stock": _pick_stock,
    "move": _move,
    "adjust": _adjust,
    "count": _count,
    "hold": _hold,
    "unhold": _unhold,
}
"""How the command of each operation on stock is made from its body."""

STATUSES = {"reserve": 201, "receive": 201}
"""The status of a success; 200 for the others."""


class Operations:
    """Sends operations to whom they concern."""

    def __init__(self, gateway: Gateway, reservations: Reservations) -> None:
        self._submit = gateway.submit
        self._partitions = gateway.partitions
        self._reservations = reservations

    def reserve(self, body: b.ReserveBody, key: str) -> Awaitable[Outcome]:
        """Reserve; lines of one partition are decided there, without a detour."""
        sent = self.reserve_at_once(body, key)
        if sent is not None:
            return sent
        return self._reservations.reserve(
            reserve_lines(body), ttl_s=body.ttl_s, reference=body.reference, partial=body.partial, key=key
        )

    def reserve_at_once(self, body: b.ReserveBody, key: str) -> Awaitable[Outcome] | None:
        """Send a reservation whose lines lie in one partition; None, nothing sent, when they do not."""
        lines = reserve_lines(body)
        partition = partition_of(lines[0].site, lines[0].sku, self._partitions)
        for line in lines[1:]:
            if partition_of(line.site, line.sku, self._partitions) != partition:
                return None
        return self._submit(partition, c.ReserveStock(lines, body.ttl_s, body.reference, body.partial), key)

    def note(self, fingerprint: int, key: str) -> Awaitable[Outcome]:
        """Take the key of a request of many operations; refused when another request has it."""
        return self._submit(partition_of_key(key, self._partitions), c.NoteRequest(fingerprint), key)

    def on_stock(self, name: str, body: Any, key: str) -> Awaitable[Outcome]:  # noqa: ANN401 - any body with a SKU
        """Send an operation on the stock of one SKU."""
        partition = partition_of(body.site, body.sku, self._partitions)
        return self._submit(partition, COMMANDS[name](body), key)

    def on_reservation(self, public_id: str, body: Struct, key: str) -> Awaitable[Outcome]:
        """Pick, release or extend a reservation."""
        match body:
            case b.PickBody():
                return self._reservations.pick(
                    public_id, quantity=body.quantity, sku=body.sku, location=body.location, lot=body.lot,
                    short_reason=body.short_reason, key=key,
                )  # fmt: skip
            case b.ReleaseBody():
                return self._reservations.release(public_id, quantity=body.quantity, sku=body.sku, key=key)
            case b.ExtendBody():
                return self._reservations.extend(public_id, ttl_s=body.ttl_s, key=key)
            case _:
                raise AssertionError(type(body))

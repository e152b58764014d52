"""The clients: each carries out its operations one after another, and repeats a key until it knows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from actors.outcomes import Answered, Fault, Overloaded, Unavailable
from actors.queries import ExplainStock, ReadBin, ReadStock
from engine import commands as c
from engine.partitioning import partition_of
from engine.refusals import Refused
from simulation.plan import EXPIRE_AFTER_MS, LOCATIONS, LOTS, SITE, Operation
from simulation.shown import address_of
from simulation.world import EPOCH_MS, GatewayDied, SimulatedGateway, World

if TYPE_CHECKING:
    from simulation.loop import Process
    from simulation.referee import Referee

Ask = Callable[[SimulatedGateway], Awaitable[Any]]

_PAUSE_S = (0.01, 0.3)
_READS = frozenset({"read_stock", "read_bin", "read_reservation", "explain"})


@dataclass(slots=True)
class Call:
    """One request and its answer, with what was known when it was sent."""

    operation: Operation
    key: str
    partition: int
    skus: tuple[str, ...]
    location: str | None
    is_command: bool
    is_repeat: bool = False
    """Whether its key was answered before."""
    is_reuse: bool = False
    subject: tuple[int, int] | None = None
    """(home partition, number) of the reservation that it is about."""
    seqs: list[int] = field(default_factory=list)
    """How far each partition's ledger was when it was sent."""
    sku: str | None = None
    """The SKU that a pick or release names."""
    lasted_s: float = 0.0
    """How long it was under way until it was answered, by virtual time."""


@dataclass(slots=True)
class Known:
    """What a client remembers of an operation that ended."""

    call: Call
    ask: Ask
    outcome: object


class Client:
    """Carries out its share of the plan."""

    def __init__(self, number: int, world: World, referee: Referee, random: Random, process: Process) -> None:
        self.number = number
        self.process = process
        self.waits_for: str | None = None
        """The operation under way, for whoever asks why a run does not end."""
        self.waits_since_s = 0.0
        self._world = world
        self._referee = referee
        self._random = random
        self._known: list[Known] = []
        self._reservations: list[tuple[str, int, list[str]]] = []
        """(public id, partition, SKUs) of those that were acknowledged."""

    async def perform(self, place: int, operation: Operation) -> object:
        """Carry out one operation to its end; `place` in the plan makes its key. Returns its outcome."""
        made = self._make(place, operation)
        if made is None:
            return None
        call, ask = made
        self.waits_for = f"{call.key} {operation.kind}"
        self.waits_since_s = self._world.loop.time()
        if operation.twice:
            first, second = await asyncio.gather(self._until_known(call, ask), self._until_known(call, ask))
            outcome = first if isinstance(first, Answered) else second
        else:
            outcome = await self._until_known(call, ask)
        self.waits_for = None
        if call.is_command and not call.is_reuse:
            self._known.append(Known(call, ask, outcome))
        if isinstance(outcome, Answered) and operation.kind.startswith("reserve"):
            skus = sorted({line["sku"] for line in outcome.view["lines"] if line["quantity"]})
            self._reservations.append((outcome.view["id"], call.partition, skus))
        return outcome

    async def _until_known(self, call: Call, ask: Ask) -> object:
        """Send a request until it is answered or refused, and give up only when told that nothing happened.

        Of those some do, and nothing must come of it later. Whoever watches the run blames what else is not
        answered.
        """
        random, referee = self._random, self._referee
        is_sent_before = call.operation.twice or call.is_repeat
        while True:
            sent_s = self._world.loop.time()
            referee.sent(call)
            mine = Call(*(getattr(call, name) for name in Call.__slots__))
            try:
                # The last gateway has little to do: what it knows of who owns what is often old.
                place = call.operation.gateway
                if place is None:
                    place = int(random.random() ** 3 * len(self._world.gateways))
                outcome = await self._world.call(place, ask)
            except (Fault, GatewayDied) as fault:
                outcome = fault
            mine.lasted_s = self._world.loop.time() - sent_s
            referee.judge(mine, outcome)
            if isinstance(outcome, Answered | Refused):
                return outcome
            if isinstance(outcome, Unavailable) and not is_sent_before and call.is_command:
                referee.nothing_happened(mine)
                may_give_up = call.operation.gateway is None and not isinstance(outcome, Overloaded)
                if may_give_up and random.random() < 0.2:
                    referee.given_up(mine)
                    return outcome
            else:
                is_sent_before = True
            await asyncio.sleep(random.uniform(*_PAUSE_S))

    # Making requests

    def _make(self, place: int, operation: Operation) -> tuple[Call, Ask] | None:
        if operation.kind in ("repeat", "reuse"):
            return self._again(operation)
        skus = tuple(f"SKU-{sku}" for sku in operation.skus)
        partition = partition_of(SITE, skus[0], self._world.partitions)
        location = None if operation.location is None else LOCATIONS[operation.location]
        call = Call(operation, f"key-{place}", partition, skus, location, operation.kind not in _READS)
        if operation.kind in ("pick", "release", "extend", "read_reservation"):
            return self._about_reservation(call)
        ask = self._asking(call)
        return call, ask

    def _asking(self, call: Call) -> Ask:
        operation, key, partition = call.operation, call.key, call.partition
        if operation.kind.startswith("reserve"):
            lines = tuple(
                c.ReserveLine(SITE, sku, operation.quantity, call.location, None, operation.strategy, index)
                for index, sku in enumerate(call.skus)
            )
            return lambda gateway: gateway.reservations.reserve(
                lines, ttl_s=operation.ttl_s, reference=key, partial=operation.flag, key=key
            )
        if operation.kind == "read_stock":
            return lambda gateway: gateway.lanes.query(partition, ReadStock(SITE, call.skus[0]))
        if operation.kind == "explain":
            return lambda gateway: gateway.lanes.query(partition, ExplainStock(SITE, call.skus[0]))
        location = call.location or LOCATIONS[0]
        if operation.kind == "read_bin":
            return lambda gateway: gateway.lanes.query(partition, ReadBin(SITE, call.skus[0], location))
        command = _command(operation, call.skus[0], location)
        return lambda gateway: gateway.lanes.submit(partition, command, key)

    def _about_reservation(self, call: Call) -> tuple[Call, Ask] | None:
        if not self._reservations:
            return None
        operation = call.operation
        back = min(operation.back, len(self._reservations) - 1)
        public_id, call.partition, skus = self._reservations[-1 - back]
        call.subject = address_of(public_id)
        call.sku = skus[operation.quantity % len(skus)] if operation.names_sku and skus else None
        call.location = call.location if operation.is_elsewhere else None
        return call, self._asking_about(call, public_id)

    def _asking_about(self, call: Call, public_id: str) -> Ask:
        operation, key, sku, location = call.operation, call.key, call.sku, call.location
        quantity = operation.quantity if operation.flag else None
        if operation.kind == "read_reservation":
            return lambda gateway: gateway.reservations.find(public_id)
        if operation.kind == "extend":
            ttl_s = operation.ttl_s or 1
            return lambda gateway: gateway.reservations.extend(public_id, ttl_s=ttl_s, key=key)
        if operation.kind == "release":
            return lambda gateway: gateway.reservations.release(
                public_id, quantity=quantity, sku=sku, key=key
            )
        reason = "not there" if operation.is_short else None
        return lambda gateway: gateway.reservations.pick(
            public_id, quantity=quantity, sku=sku, location=location, lot=None, short_reason=reason, key=key
        )

    def _again(self, operation: Operation) -> tuple[Call, Ask] | None:
        """Repeat a key, with the same body or another."""
        known = [one for one in self._known if isinstance(one.outcome, Answered)]
        if not known:
            return None
        one = known[-1 - min(operation.back, len(known) - 1)]
        before = one.call
        call = Call(before.operation, before.key, before.partition, before.skus, before.location, True, True)  # noqa: FBT003
        call.subject, call.sku = before.subject, before.sku
        if operation.kind == "repeat":
            return call, one.ask
        call.is_reuse = True
        ttl_s = (before.operation.ttl_s or 0) + 1
        call.operation = before.operation._replace(
            quantity=before.operation.quantity + 7, ttl_s=ttl_s, flag=True
        )
        if before.subject is not None:
            assert isinstance(one.outcome, Answered)
            return call, self._asking_about(call, one.outcome.view["id"])
        return call, self._asking(call)


def _command(operation: Operation, sku: str, location: str) -> c.Command:
    """Return the command of an operation on one SKU."""
    quantity, lot = operation.quantity, LOTS[operation.lot]
    match operation.kind:
        case "receive":
            expires_at_ms = EPOCH_MS + EXPIRE_AFTER_MS[lot] if lot in EXPIRE_AFTER_MS else None
            return c.ReceiveStock(SITE, sku, location, quantity, lot, expires_at_ms)
        case "pick_stock":
            return c.PickStock(SITE, sku, quantity, location)
        case "move":
            return c.MoveStock(SITE, sku, location, LOCATIONS[operation.to], quantity)
        case "adjust":
            return c.AdjustStock(SITE, sku, location, quantity, lot, "found")
        case "count":
            return c.CountStock(SITE, sku, location, quantity, lot)
        case "hold":
            return c.HoldStock(SITE, sku, location, quantity, lot, "damage")
        case "unhold":
            return c.UnholdStock(SITE, sku, location, quantity, lot, "damage")
    raise AssertionError(operation.kind)

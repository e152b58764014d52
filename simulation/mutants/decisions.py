"""Bugs of what is decided: dates, units, attempts.

Each is (name, the promises that it breaks, what is put in place of which attributes or items of a dict).
"""

from __future__ import annotations

import asyncio
import inspect
import textwrap
from typing import Any

from actors.gateway import LaneGateway
from engine import apply, apply_reservation, decide, moving, spanning
from engine.commands import (
    ExpireStock,
    HoldStock,
    ReceiveStock,
    ReserveStock,
    ReserveTentatively,
    ReserveTogether,
)
from engine.draft import Draft
from engine.entries import Kind
from engine.refusals import Refusal, refused
from engine.straight import reserve_straight
from persistence.memory import MemoryDatabase, database
from simulation.world import EPOCH_MS


def _forget(*_: object) -> None:
    pass


_submit = LaneGateway.submit
_leave = apply_reservation._leave
_together = spanning.reserve_together


def _expire_early(partition: Any, command: ExpireStock, draft: Any) -> Any:  # noqa: ANN401
    """Expire what is due within three seconds, and date it right."""
    at_ms = draft.at_ms
    draft.at_ms += 3_000
    moving.expire_stock(partition, command, draft)
    draft.at_ms = at_ms
    draft.entries = [entry._replace(at_ms=at_ms) for entry in draft.entries]


def _keep_open(partition: Any, entry: Any, reservation: Any, line: Any, allocation: Any, stock: Any) -> None:  # noqa: ANN401
    _leave(partition, entry, reservation, line, allocation, stock)
    if entry.kind == Kind.STOCK_PICKED:
        allocation.open += entry.quantity
        reservation.open += entry.quantity


def _after_it_was_closed(partition: Any, command: ReserveTogether, draft: Any) -> Any:  # noqa: ANN401
    if command.opened_seq:
        command = command._replace(opened_seq=partition.seq)
    return _together(partition, command, draft)


def _before_a_strange_deadline(partition: Any, command: ReserveTogether, draft: Any) -> Any:  # noqa: ANN401
    """Refuse what comes after a deadline that was made by a clock which is right."""
    deadline_ms = EPOCH_MS + int(asyncio.get_running_loop().time() * 1_000) + 400
    if draft.at_ms >= deadline_ms:
        return refused(Refusal.ATTEMPT_ABANDONED, attempt=command.attempt, seq=partition.seq)
    return _together(partition, command, draft)


def _unasserted(function: Any) -> Any:  # noqa: ANN401
    """Return a function without its assertions: so the referee alone can see what they would have stopped."""
    source = textwrap.dedent(inspect.getsource(function))
    names: dict[str, Any] = {}
    code = compile(
        f"from __future__ import annotations\n{source}", inspect.getfile(function), "exec", optimize=1
    )
    exec(code, function.__globals__, names)  # noqa: S102 - it is our own code
    return names[function.__name__]


_UNASSERTED = (
    (apply, "_apply_to_lot", _unasserted(apply._apply_to_lot)),
    (apply, "_apply_opening", _unasserted(apply._apply_opening)),
    (Draft, "change", _unasserted(Draft.change)),
    (database, "check", _forget),
    (MemoryDatabase, "write", _unasserted(MemoryDatabase.write)),
)
"""The engine's and the database's own defences, off."""


def _promise_held(*args: Any) -> Any:  # noqa: ANN401
    command, partition = args[1], args[0]
    site, sku = command.lines[0][:2]
    stock = partition.stocks.get((site, sku))
    lots = [lot for bin_ in stock.bins.values() for lot in bin_.lots] if stock is not None else []
    held = [lot.held for lot in lots]
    for lot in lots:
        lot.held = 0
    try:
        entry = reserve_straight(*args)
    finally:
        for lot, units in zip(lots, held, strict=True):
            lot.held = units
    if entry is None:
        return None
    lot = stock.bins[entry.location].lot(entry.lot)
    return entry._replace(held=lot.held)


def _receive_more(partition: Any, command: ReceiveStock, draft: Any) -> Any:  # noqa: ANN401
    return moving.receive(partition, command._replace(quantity=command.quantity + 1), draft)


def _share_less(partition: Any, command: ReserveTentatively, draft: Any) -> Any:  # noqa: ANN401
    lines = tuple(line._replace(quantity=max(1, line.quantity - 1)) for line in command.lines)
    return spanning.reserve_tentatively(partition, command._replace(lines=lines), draft)


def _refuse_at_times(partition: Any, command: HoldStock, draft: Any) -> Any:  # noqa: ANN401
    if partition.seq % 5 == 0:
        return refused(Refusal.INSUFFICIENT_STOCK, requested=command.quantity, available=0)
    return moving.hold(partition, command, draft)


def _by_the_clients_clock(self: LaneGateway, partition: int, command: Any, key: str) -> Any:  # noqa: ANN401
    """Have reservations end when the gateway's clock says, as if it sent an instant instead of a time."""
    if type(command) is ReserveStock and command.ttl_s is not None:
        loop: Any = asyncio.get_running_loop()
        ahead_s = loop.clock_ahead_ms.get(loop.process().name, 0) // 1_000
        command = command._replace(ttl_s=max(1, command.ttl_s + ahead_s))
    return _submit(self, partition, command, key)


SEEDED: tuple[tuple[Any, ...], ...] = (
    ("reservations expire early", "P2", (decide.DECIDERS, ExpireStock, _expire_early)),
    ("reservations expire by the client's clock", "P1", (LaneGateway, "submit", _by_the_clients_clock)),
    ("picked units stay open", "P2 P5", (apply_reservation, "_leave", _keep_open)),
    ("held units are promised", "P2", *_UNASSERTED, (decide, "reserve_straight", _promise_held)),
    ("holds are refused at times", "P5 liveness", (decide.DECIDERS, HoldStock, _refuse_at_times)),
    ("a share holds one unit less", "P1", (decide.DECIDERS, ReserveTentatively, _share_less)),
    ("one unit more is received than asked", "P1", (decide.DECIDERS, ReceiveStock, _receive_more)),
    (
        "an attempt is decided after it was closed",
        "P1",
        (decide.DECIDERS, ReserveTogether, _after_it_was_closed),
    ),
    (
        "attempts are refused by another machine's clock",
        "P5",
        (decide.DECIDERS, ReserveTogether, _before_a_strange_deadline),
    ),
)

"""The decider: what follows from a command. It reads the state and changes nothing.

`decide(partition, command, now_ms) -> entries or a refusal`; `engine.apply.apply` then makes the entries so.
All stocks that the command touches (`engine.touching`) must be active.
"""

from collections.abc import Callable
from typing import Any

from engine import commands as c
from engine import moving, picking, reserving, spanning
from engine.draft import Draft
from engine.entries import Entry
from engine.refusals import Refused
from engine.state import Partition
from engine.straight import reserve_straight

DECIDERS: dict[type[c.Command], Callable[[Partition, Any, Draft], Refused | None]] = {
    c.ReceiveStock: moving.receive,
    c.ReserveStock: reserving.reserve,
    c.ReserveTentatively: spanning.reserve_tentatively,
    c.ReserveTogether: spanning.reserve_together,
    c.ConfirmReservation: spanning.confirm,
    c.AbandonReservation: spanning.abandon,
    c.SettleAttempt: spanning.settle,
    c.NoteRequest: spanning.note_request,
    c.ExtendReservation: spanning.noting(reserving.extend),
    c.ReleaseReservation: spanning.noting(reserving.release),
    c.PickReservation: spanning.noting(picking.pick),
    c.PickStock: moving.pick_stock,
    c.MoveStock: moving.move,
    c.AdjustStock: moving.adjust,
    c.CountStock: moving.count,
    c.HoldStock: moving.hold,
    c.UnholdStock: moving.unhold,
    c.ExpireStock: moving.expire_stock,
}


def decide(
    partition: Partition,
    command: c.Command,
    now_ms: int,
    key: str | None = None,
    fingerprint: int | None = None,
) -> list[Entry] | Refused:
    """Return the entries that the command makes, in order, or why it is refused.

    An empty list is a success that changes nothing. The partition's time never goes back: an earlier `now_ms`
    counts as the time of the last entry.
    """
    if type(command) is c.ReserveStock:
        entry = reserve_straight(partition, command, now_ms, key, fingerprint)
        if entry is not None:
            return [entry]
    draft = Draft(partition, now_ms, key, fingerprint)
    refusal = DECIDERS[type(command)](partition, command, draft)
    return draft.finish() if refusal is None else refusal

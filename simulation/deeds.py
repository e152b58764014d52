"""Compares what was asked with what the ledger says was done under the key."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from simulation.plan import LOCATIONS, LOTS, SITE

if TYPE_CHECKING:
    from engine.entries import Entry
    from simulation.clients import Call
    from simulation.model import LedgerModel

_CHANGES = {
    "receive": "stock_received",
    "pick_stock": "stock_picked",
    "adjust": "stock_adjusted",
    "count": "stock_counted",
    "hold": "stock_held",
    "unhold": "stock_unheld",
}
"""What an operation on one bin leaves in the ledger."""


def wrong_deed(
    call: Call, first: Entry, ledgers: Sequence[Sequence[Entry]], models: Sequence[LedgerModel]
) -> str | None:
    """Say in what the entries from the keyed one on differ from what was asked, or None.

    `ledgers` are the rows of each partition, in order.
    """
    entries = ledgers[first.partition][first.seq - 1 : first.seq - 1 + first.span]
    kind = call.operation.kind
    if any(entry.at_ms != first.at_ms for entry in entries):
        return "its entries are not of one instant"
    if kind.startswith("reserve"):
        return _wrong_reserve(call, first, entries, ledgers)
    if kind in ("pick", "release", "extend"):
        return _wrong_change(call, first, entries, models)
    if any((entry.site, entry.sku) != (SITE, call.skus[0]) for entry in entries if entry.sku is not None):
        return f"not (only) {call.skus[0]} was changed"
    if any(entry.reservation is not None for entry in entries) and kind != "move":
        return "a reservation was changed"
    if kind == "move":
        return _wrong_move(call, entries)
    return _wrong_bin(call, entries)


def _wrong_bin(call: Call, entries: Sequence[Entry]) -> str | None:
    operation, kind = call.operation, call.operation.kind
    extra = {"stock_unheld"} if kind == "count" else set()
    main = [entry for entry in entries if entry.kind == _CHANGES[kind]]
    if not main or {entry.kind for entry in entries} - {_CHANGES[kind]} - extra:
        return f"the entries are {[entry.kind for entry in entries]}"
    if any(entry.location != (call.location or LOCATIONS[0]) for entry in entries):
        return f"another bin than {call.location} was changed"
    lot = LOTS[operation.lot]
    if kind == "pick_stock":
        lot = None  # The clients name none.
    if lot is not None and any(entry.lot != lot for entry in entries):
        return f"another lot than {lot} was changed"
    if kind == "receive" and lot is None and main[0].lot != "":
        return f"stock without a lot went to lot {main[0].lot}"
    if kind == "count":
        is_so = len(main) == 1 and main[0] is entries[-1] and main[0].on_hand == operation.quantity
        return None if is_so else f"{main[-1].on_hand} are on hand, {operation.quantity} were counted"
    return _unequal(sum(entry.quantity for entry in main), operation.quantity)


def _wrong_move(call: Call, entries: Sequence[Entry]) -> str | None:
    source, target = call.location or LOCATIONS[0], LOCATIONS[call.operation.to]
    if source == target:
        return None if [entry.kind for entry in entries] == ["request_noted"] else "units left their bin"
    moved: Counter[tuple[str, str | None, str | None]] = Counter()
    for entry in entries:
        moved[entry.kind, entry.location, entry.counterpart] += entry.quantity
    wanted = call.operation.quantity
    ways = {("stock_moved_out", source, target): wanted, ("stock_moved_in", target, source): wanted}
    return None if moved == ways else f"moved was {dict(moved)}, asked were {wanted} to {target}"


def _wrong_reserve(
    call: Call, first: Entry, entries: Sequence[Entry], ledgers: Sequence[Sequence[Entry]]
) -> str | None:
    operation = call.operation
    expires_at_ms = None if operation.ttl_s is None else first.at_ms + operation.ttl_s * 1000
    if first.expires_at_ms != expires_at_ms:
        return f"it expires at {first.expires_at_ms}, not at {expires_at_ms}"
    held = list(entries)
    if first.kind == "attempt_decided":
        held = [entry for entry in held if entry is not first]
        for partition, number, _ in _parts(first):
            share = ledgers[partition][number - 1]
            held += ledgers[partition][number - 1 : number - 1 + share.span]
    if any(entry.kind != "stock_reserved" for entry in held):
        return f"the entries are {[entry.kind for entry in held]}"
    units: Counter[str] = Counter()
    for entry in held:
        assert entry.sku is not None
        assert entry.line is not None
        units[entry.sku] += entry.quantity
        if entry.site != SITE or call.location not in (None, entry.location):
            return f"units in {entry.site} {entry.location} were reserved"
        if entry.sku not in call.skus or call.skus[entry.line] != entry.sku:
            return f"line {entry.line} got {entry.sku}"
    for sku in call.skus:
        if units[sku] > operation.quantity or (units[sku] < operation.quantity and not operation.flag):
            return f"{units[sku]} of {sku} were reserved, asked were {operation.quantity}"
    return None if units.total() else "nothing was reserved"


def _wrong_change(
    call: Call, first: Entry, entries: Sequence[Entry], models: Sequence[LedgerModel]
) -> str | None:
    operation = call.operation
    assert call.subject is not None
    partition, number = call.subject
    promise = models[partition].promises[number]
    if first.partition != partition or {entry.reservation for entry in entries} != {number}:
        return f"another reservation than {number} of {partition} was changed"
    if "parts" in promise.detail:
        return None if first.kind == "request_noted" else f"a share alone was changed: {first.kind}"
    if operation.kind == "extend":
        due_ms = first.at_ms + (operation.ttl_s or 1) * 1000
        is_extended = first.kind == "reservation_extended" and len(entries) == 1
        return (
            None
            if is_extended and first.expires_at_ms == due_ms
            else f"{first.kind}: it expires at {first.expires_at_ms}, not at {due_ms}"
        )
    units: Counter[str] = Counter()
    for entry in entries:
        units[entry.kind] += entry.quantity
    wanted = {"pick": "stock_picked", "release": "stock_released"}[operation.kind]
    is_short = operation.is_short
    extra = {"stock_shorted"} if is_short else set()
    if call.location is not None:
        extra |= {"reservation_moved_out", "reservation_moved_in"}
    if units.keys() - {wanted} - extra:
        return f"the entries are {dict(units)}"
    if operation.flag:
        wrong = _unequal(units[wanted], operation.quantity)
        if wrong is not None:
            return wrong
    left = models[partition].promise_at(number, entries[-1].seq)[-1]
    if left and call.sku is call.location is None and (is_short or not operation.flag):
        return f"{left} stay open, all were to leave"
    return None


def _parts(decided: Entry) -> list[list[int]]:
    assert decided.detail is not None
    parts: list[list[int]] = json.loads(decided.detail)["parts"]
    return parts


def _unequal(done: int, asked: int) -> str | None:
    return None if done == asked else f"{done} were done, {asked} were asked"

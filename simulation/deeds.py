"""Compares what was asked with the entries that were made of it, in the state that they met.

The models are as they were right before these entries. Whether anybody asked at all is `causes`' matter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from simulation.model import NO_BIN, LedgerModel
from simulation.plan import EXPIRE_AFTER_MS, LOCATIONS, LOTS, SITE
from simulation.promises import Promise
from simulation.serving import wrong_lots
from simulation.world import EPOCH_MS

if TYPE_CHECKING:
    from engine.entries import Entry
    from simulation.clients import Call

_CHANGES = {
    "receive": "stock_received",
    "pick_stock": "stock_picked",
    "adjust": "stock_adjusted",
    "count": "stock_counted",
    "hold": "stock_held",
    "unhold": "stock_unheld",
}
"""What an operation on one bin leaves in the ledger."""
_SHORT = "short"


def wrong_on_stock(call: Call, entries: Sequence[Entry], model: LedgerModel) -> str | None:
    """Say in what entries differ from an operation on one SKU."""
    operation, kind = call.operation, call.operation.kind
    if entries[0].partition != call.partition:
        return f"it was done in partition {entries[0].partition}"
    if any((entry.site, entry.sku) != (SITE, call.skus[0]) for entry in entries if entry.sku is not None):
        return f"not (only) {call.skus[0]} was changed"
    if kind == "move":
        return _wrong_move(call, entries, model)
    if any(entry.reservation is not None for entry in entries):
        return "a reservation was changed"
    extra = {"stock_unheld"} if kind == "count" else set()
    if {entry.kind for entry in entries} - extra != {_CHANGES[kind]}:
        return f"the entries are {[entry.kind for entry in entries]}"
    if kind == "pick_stock":
        if call.location is not None and any(entry.location != call.location for entry in entries):
            return f"another bin than {call.location} was changed"
        wrong = _unequal(sum(entry.quantity for entry in entries), operation.quantity)
        return wrong or wrong_lots(model, call.skus[0], entries, entries[0].at_ms, "fefo", call.location)
    location = call.location or LOCATIONS[0]
    if any(entry.location != location for entry in entries):
        return f"another bin than {location} was changed"
    if kind in ("hold", "unhold"):
        return _wrong_hold(call, entries, model)
    return _wrong_level(call, entries, model)


def _wrong_level(call: Call, entries: Sequence[Entry], model: LedgerModel) -> str | None:
    """Judge what sets or changes how much is on hand in one lot."""
    operation, kind, main = call.operation, call.operation.kind, entries[-1]
    bin_ = model.bins_of(call.skus[0], SITE).get(call.location or LOCATIONS[0], NO_BIN)
    lot = LOTS[operation.lot]
    meant = bin_.lot(lot or "") if kind == "receive" else bin_.meant(lot)
    if meant is None or {entry.lot for entry in entries} != {meant.code}:
        return f"lot {main.lot} was changed, meant was {lot}"
    due_ms = EPOCH_MS + EXPIRE_AFTER_MS[lot] if lot in EXPIRE_AFTER_MS else None
    if kind == "receive" and main.expires_at_ms != due_ms:
        return f"lot {lot} expires at {main.expires_at_ms}"
    if kind != "count":
        reason = "found" if kind == "adjust" else None
        if len(entries) > 1 or main.reason != reason:
            return f"there are {len(entries)} entries, the reason is {main.reason}"
        return _unequal(main.quantity, operation.quantity)
    short = dict(meant.holds).get(_SHORT, 0)
    settled = [(entry.quantity, entry.reason) for entry in entries[:-1]]
    if main.kind != "stock_counted" or settled != ([(short, _SHORT)] if short else []):
        return f"{settled} were settled, {short} were short"
    return _unequal(main.on_hand, operation.quantity)


def _wrong_hold(call: Call, entries: Sequence[Entry], model: LedgerModel) -> str | None:
    lot = LOTS[call.operation.lot]
    if lot is not None and any(entry.lot != lot for entry in entries):
        return f"another lot than {lot} was changed"
    if call.operation.kind == "hold" and any(entry.reason != "damage" for entry in entries):
        return "another reason was written"
    wrong = _unequal(sum(entry.quantity for entry in entries), call.operation.quantity)
    if wrong is not None or call.operation.kind == "unhold":
        return wrong
    location = call.location or LOCATIONS[0]
    return wrong_lots(model, call.skus[0], entries, entries[0].at_ms, "fefo", location, lot)


def _wrong_move(call: Call, entries: Sequence[Entry], model: LedgerModel) -> str | None:
    source, target = call.location or LOCATIONS[0], LOCATIONS[call.operation.to]
    if source == target:
        return None if [entry.kind for entry in entries] == ["request_noted"] else "units left their bin"
    moved = 0
    for out, in_ in zip(entries[::2], entries[1::2], strict=len(entries) % 2 == 0):
        ways = [(entry.kind, entry.location, entry.counterpart) for entry in (out, in_)]
        if ways != [("stock_moved_out", source, target), ("stock_moved_in", target, source)]:
            return f"the units went {ways}, asked was {source} to {target}"
        what = [(entry.lot, entry.quantity, entry.reservation, entry.line) for entry in (out, in_)]
        if what[0] != what[1]:
            return f"{what[0]} left, {what[1]} arrived"
        moved += out.quantity
    free = [entry for entry in entries[::2] if entry.reservation is None]
    reserved = [entry.reservation for entry in entries[::2]][len(free) :]
    if None in reserved or reserved != sorted(filter(None, reserved)):
        return f"units of reservations {reserved} are moved: first those that are free, then the oldest"
    wrong = wrong_lots(model, call.skus[0], free, entries[0].at_ms, "fefo", source)
    return wrong or _unequal(moved, call.operation.quantity)


def wrong_lines(
    call: Call,
    entries: Sequence[Entry],
    model: LedgerModel,
    numbers: Sequence[int],
    missing: Sequence[int] = (),
) -> str | None:
    """Say in what a reservation's entries differ from the lines that lie in their partition.

    `numbers` are the partitions of all lines; of the lines in `missing` nothing was found in theirs.
    """
    operation, first = call.operation, entries[0]
    short = [(index, SITE, call.skus[index], operation.quantity) for index in missing]
    held = [entry for entry in entries if entry.kind != "attempt_decided"]
    if any(entry.kind != "stock_reserved" for entry in held):
        return f"the entries are {[entry.kind for entry in held]}"
    lines: dict[int | None, list[Entry]] = {}
    for entry in held:
        if entry.site != SITE or call.location not in (None, entry.location):
            return f"units in {entry.site} {entry.location} were reserved"
        if entry.line is None or entry.line >= len(call.skus) or call.skus[entry.line] != entry.sku:
            return f"line {entry.line} got {entry.sku}"
        lines.setdefault(entry.line, []).append(entry)
    for index, sku in enumerate(call.skus):
        if numbers[index] != first.partition:
            wanted = 0
        elif operation.flag:
            free = model.free_units((SITE, sku, call.location or ""), first.at_ms)
            wanted = min(operation.quantity, free)
            if wanted < operation.quantity:
                short.append((index, SITE, sku, operation.quantity))
        else:
            wanted = operation.quantity
        reserved = lines.get(index, [])
        units = sum(entry.quantity for entry in reserved)
        if units != wanted:
            return f"{units} of {sku} were reserved, it should be {wanted}"
        wrong = wrong_lots(model, sku, reserved, first.at_ms, operation.strategy, call.location)
        if wrong is not None:
            return wrong
    said = sorted(tuple(line) for line in Promise.said(first).get("requested", ()))
    return None if said == sorted(short) else f"it says that {said} were requested, short are {short}"


def expiry_of(call: Call, entry: Entry) -> int | None:
    """Return when a reservation that is made by this entry has to expire."""
    return None if call.operation.ttl_s is None else entry.at_ms + call.operation.ttl_s * 1000


def wrong_change(call: Call, entries: Sequence[Entry], promise: Promise) -> str | None:
    """Say in what entries differ from what a pick, release or extension does to a reservation or share."""
    operation, first = call.operation, entries[0]
    if first.partition != promise.partition or {entry.reservation for entry in entries} != {promise.number}:
        return f"another reservation than {promise.number} of {promise.partition} was changed"
    if promise.is_tentative:
        return "a tentative share was changed"
    if promise.expires_at_ms is not None and promise.expires_at_ms <= first.at_ms:
        return f"it was changed after {promise.expires_at_ms}, when it expired"
    if call.sku is not None and call.sku not in promise.skus.values():
        is_noted = [entry.kind for entry in entries] == ["request_noted"]
        return None if is_noted else f"it was changed, and has nothing of {call.sku}"
    if operation.kind == "extend":
        due_ms = first.at_ms + (operation.ttl_s or 1) * 1000
        is_extended = first.kind == "reservation_extended" and len(entries) == 1
        if is_extended and first.expires_at_ms == due_ms:
            return None
        return f"{first.kind}: it expires at {first.expires_at_ms}, not at {due_ms}"
    done = {"pick": "stock_picked", "release": "stock_released"}[operation.kind]
    units: Counter[str] = Counter()
    for entry in entries:
        units[entry.kind] += entry.quantity
    held, named = promise.held(call.sku), promise.held(call.sku, call.location)
    wanted = Counter({done: operation.quantity if operation.flag else named or held})
    moved = max(0, wanted[done] - named)  # What a bin has to serve that holds too few of its units.
    wanted["reservation_moved_out"] = wanted["reservation_moved_in"] = moved
    if operation.is_short:  # Whoever picks says that the rest is not there.
        wanted["stock_shorted"] = (named or held) - min(wanted[done], named or held)
    if any(entry.reason != _SHORT for entry in entries if entry.kind == "stock_shorted"):
        return "units are short for another reason"
    if any(entry.sku != call.sku for entry in entries if call.sku is not None):
        return f"not only {call.sku} was changed"
    if any(call.location not in (None, entry.location) for entry in entries if entry.kind == done):
        return f"it was done elsewhere than at {call.location}"
    return None if +units == +wanted else f"done were {dict(units)}, asked were {dict(wanted)}"


def _unequal(done: int, asked: int) -> str | None:
    return None if done == asked else f"{done} were done, {asked} were asked"

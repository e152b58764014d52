"""Which refusals may be, by what the ledger said while the request was under way.

A request is refused in one state. So there has to be a prefix of the ledger, since it was sent, in which the
refusal is right, and what it says of units is so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation.model import BinState, LotState, partition_of
from simulation.plan import EXPIRE_AFTER_MS, LOCATIONS, LOTS, SITE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.refusals import Refused
    from simulation.clients import Call
    from simulation.model import LedgerModel
    from simulation.promises import Promise

_UNKNOWN = frozenset({"stock_not_found", "bin_not_found"})
_SLOW_S = 1.5
"""Six attempts of which each lost its time take longer; six that were refused at once do not."""
_MAKES_BINS = frozenset({"receive", "count"})
_NAMES_LOTS = frozenset({"adjust", "hold", "unhold"})


def wrong_refusal(
    call: Call, refused: Refused, models: Sequence[LedgerModel], since: Sequence[int]
) -> str | None:
    """Say why a refusal cannot be, or None. `since` is how far the ledgers were when it was asked."""
    kind, code, model = call.operation.kind, str(refused.code), models[call.partition]
    if call.subject is not None:
        return _wrong_of_reservation(call, refused, models, since)
    if kind.startswith("reserve"):
        if code == "attempt_abandoned":
            return None if call.lasted_s > _SLOW_S else f"it took {call.lasted_s:.1f} s only"
        return _wrong_units(call, refused, models, since)
    if code in _UNKNOWN:
        known = model.bins_known(SITE, call.skus[0], since[call.partition])
        if code == "stock_not_found":
            is_right = kind not in _MAKES_BINS and not known
        else:
            location = call.location or (LOCATIONS[0] if kind != "pick_stock" else "")
            is_right = bool(location) and location not in known and kind not in _MAKES_BINS
        if kind == "adjust" and call.operation.quantity > 0:
            is_right = False
        return None if is_right else f"{call.skus[0]} was known in {sorted(known)}"
    if kind == "pick_stock":
        return _wrong_units(call, refused, models, since)
    if kind == "receive" and code == "lot_expiry_differs":
        return _wrong_date(call, model, since[call.partition])
    if not call.is_command:
        return "it only reads"
    location = call.location or LOCATIONS[0]
    bins = model.bins_between((SITE, call.skus[0], location), since[call.partition], model.seq)
    reasons = [_refusal(call, bin_) for bin_ in bins]
    said = (code, refused.fields.get("available", refused.fields.get("held")))
    return None if said in reasons else f"it says {said}, right would have been {reasons} at {location}"


def _refusal(call: Call, bin_: BinState) -> tuple[str, int | None] | None:
    """Return the (code, units) with which an operation has to be refused at a bin that is known, or None."""
    operation, kind = call.operation, call.operation.kind
    code, wanted = LOTS[operation.lot], abs(operation.quantity)
    if kind == "move":
        return _short(wanted, bin_.on_hand - bin_.held)
    has_to_be_there = kind in _NAMES_LOTS and (kind != "adjust" or operation.quantity < 0)
    if has_to_be_there and code is not None and all(lot.code != code for lot in bin_.lots):
        return "lot_not_found", None
    if kind in ("hold", "unhold"):
        lots = [lot for lot in bin_.lots if code in (None, lot.code)]
        if kind == "hold":
            return _short(wanted, sum(lot.free for lot in lots))
        held = sum(lot.held for lot in lots)
        return ("exceeds_held", held) if held < wanted else None
    meant = bin_.meant(code)
    if meant is None:
        return "lot_required", None
    if kind == "count":
        return _below(operation.quantity, meant)
    return _short(wanted, meant.free) if operation.quantity < 0 else None


def _short(wanted: int, available: int) -> tuple[str, int] | None:
    return ("insufficient_stock", available) if available < wanted else None


def _below(counted: int, lot: LotState) -> tuple[str, int] | None:
    held = lot.held - dict(lot.holds).get("short", 0)
    return ("below_committed", held) if counted < lot.reserved + held else None


def _wrong_date(call: Call, model: LedgerModel, since: int) -> str | None:
    """A lot has one date, which receipts give; it may be there without one, where it was found."""
    code = LOTS[call.operation.lot]
    if code not in EXPIRE_AFTER_MS:
        return f"lot {code} is given no date"
    for location in LOCATIONS:
        for bin_ in model.bins_between((SITE, call.skus[0], location), since, model.seq):
            lot = bin_.lot(code)
            if lot.on_hand and lot.expires_at_ms is None:
                return None
    return "it was there with no other date"


def _wrong_units(
    call: Call, refused: Refused, models: Sequence[LedgerModel], since: Sequence[int]
) -> str | None:
    """Judge a refusal for units of a SKU: at some prefix there were not enough, and so many as it says."""
    operation, fields = call.operation, refused.fields
    if refused.code != "insufficient_stock" or fields["requested"] != operation.quantity:
        return f"asked were {operation.quantity} units: {fields}"
    named = str(fields.get("sku", call.skus[0]))
    if named not in call.skus:
        return f"{named} was not asked for"
    is_partial = operation.flag and operation.kind.startswith("reserve")
    for sku in call.skus if is_partial else (named,):
        number = partition_of(SITE, sku, len(models))
        place = (SITE, sku, call.location or "")
        units = models[number].available_between(place, since[number], models[number].seq)
        if min(units) >= (1 if is_partial else operation.quantity):
            return f"{min(units)} of {sku} were always there, asked were {operation.quantity}"
        if sku == named and fields["available"] not in units:
            return f"it says that {fields['available']} of {sku} were available, there were {sorted(units)}"
    return None


def _wrong_of_reservation(
    call: Call, refused: Refused, models: Sequence[LedgerModel], since: Sequence[int]
) -> str | None:
    assert call.subject is not None
    code, operation, fields = str(refused.code), call.operation, refused.fields
    home = models[call.subject[0]].promises[call.subject[1]]
    shares = [home, *(models[part[0]].promises[part[1]] for part in home.parts or ())]
    skus = {sku for share in shares for sku in share.skus.values()}
    if home.parts is not None and call.sku is not None:
        shares = [share for share in shares if call.sku in share.skus.values()]
    if code == "reservation_resolved":
        open_units = sum(share.open_units for share in shares)
        is_over = all(any(not state[-1] for _, state in share.states) for share in shares)
        return None if is_over else f"{open_units} units are open"
    if operation.kind == "extend":
        is_hard = code == "reservation_hard" and None in home.dates
        return None if is_hard else f"it expires at {home.expires_at_ms}"
    if operation.kind == "read_reservation":
        return "it only reads"
    if code == "sku_required":
        is_right = operation.flag and call.sku is None and len(skus) > 1
        return None if is_right else "it has a SKU or no quantity"
    if code == "insufficient_stock" and operation.kind == "pick" and call.location is not None:
        return _wrong_elsewhere(call, refused, shares, models, since)
    if code != "exceeds_reserved" or (len(skus) > 1 and call.sku is None):
        return "that is no reason"
    reserved, asked = fields["reserved"], fields["requested"]
    number = shares[0].partition
    known = shares[0].held_between(call.sku, since[number], models[number].seq)
    is_right = reserved in known and asked == (operation.quantity if operation.flag else reserved)
    if is_right and (asked > reserved or not reserved):
        return None
    return f"it says {fields}, there were {known}, asked were {operation.quantity}"


def _wrong_elsewhere(
    call: Call,
    refused: Refused,
    shares: Sequence[Promise],
    models: Sequence[LedgerModel],
    since: Sequence[int],
) -> str | None:
    """Judge a refusal to pick at another place than the one that is reserved.

    Allocations elsewhere are served there one after another: what it says is what those before have left.
    """
    fields, sku = refused.fields, str(refused.fields["sku"])
    number = partition_of(SITE, sku, len(models))
    model, taken = models[number], {0}
    for share in (share for share in shares if share.partition == number):
        for seq in share.seqs_between(since[number], model.seq):
            sums = {0}
            for line in (line for line in share.lines_at(seq) if line["sku"] == sku):
                for one in line["allocations"]:
                    if one["location"] != call.location and one["open"]:
                        sums |= {units + one["open"] for units in sums}
            taken |= sums
    units = model.available_between((SITE, sku, call.location or ""), since[number], model.seq)
    known = {there - before for there in units for before in taken if there >= before}
    is_right = fields["available"] in known and fields["available"] < fields["requested"]
    return None if is_right else f"it says {fields}, there were {units} and allocations left {known}"

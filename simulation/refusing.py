"""Which refusals may be, by what the ledger said while the request was under way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation.plan import LOCATIONS, SITE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulation.clients import Call
    from simulation.model import LedgerModel

_UNKNOWN = frozenset({"stock_not_found", "bin_not_found"})
_LOTS = frozenset({"lot_required", "lot_not_found", "lot_expired", "lot_expiry_differs"})
_CHANGE = frozenset({"reservation_resolved", "reservation_pending"})
_SLOW_S = 1.5
"""Six attempts of which each lost its time take longer; six that were refused at once do not."""
_CODES: dict[str, frozenset[str]] = {
    "read_stock": frozenset({"stock_not_found"}),
    "read_bin": _UNKNOWN,
    "read_reservation": frozenset(),
    "receive": frozenset({"lot_expiry_differs"}),
    "reserve": frozenset({"insufficient_stock"}),
    "reserve_several": frozenset({"insufficient_stock", "attempt_abandoned"}),
    "pick": _CHANGE | {"sku_required", "exceeds_reserved", "insufficient_stock"},
    "release": _CHANGE | {"sku_required", "exceeds_reserved"},
    "extend": _CHANGE | {"reservation_hard"},
    "pick_stock": _UNKNOWN | {"insufficient_stock"},
    "move": _UNKNOWN | {"insufficient_stock"},
    "adjust": _UNKNOWN | _LOTS | {"insufficient_stock"},
    "count": _UNKNOWN | _LOTS | {"below_committed"},
    "hold": _UNKNOWN | _LOTS | {"insufficient_stock"},
    "unhold": _UNKNOWN | _LOTS | {"exceeds_held"},
}
"""What each operation may be refused for at all; the clients name no lots but those of SKU 0."""


def wrong_refusal(call: Call, code: str, models: Sequence[LedgerModel], latest_ms: int) -> str | None:
    """Say why a fresh refusal cannot be, or None. `latest_ms` is what the clock that is most ahead shows."""
    kind = call.operation.kind
    if code not in _CODES[kind]:
        return "that is no reason to refuse it"
    if code == "attempt_abandoned":
        return None if call.lasted_s > _SLOW_S else f"it took {call.lasted_s:.1f} s only"
    if code in _LOTS and call.operation.skus[0] != 0:
        return "its SKU has no lots"
    if code in _UNKNOWN:
        return _wrong_unknown(call, code, models[call.partition])
    if call.subject is not None:
        return _wrong_of_reservation(call, code, models, latest_ms)
    if call.operation.skus[0] != 0 and len(call.skus) == 1:
        return _wrong_units(call, code, models[call.partition])
    return None


def _wrong_unknown(call: Call, code: str, model: LedgerModel) -> str | None:
    seq, sku = call.seqs[call.partition], call.skus[0]
    known = model.bins_known(SITE, sku, seq)
    if code == "stock_not_found":
        return f"{sku} was known in {known}" if known else None
    location = call.location or LOCATIONS[0]
    return f"{sku} was known in {location}" if location in known else None


def _wrong_units(call: Call, code: str, model: LedgerModel) -> str | None:
    """Judge a refusal for units: at no prefix since the request began were there enough."""
    operation, first_seq = call.operation, call.seqs[call.partition]
    if operation.kind == "reserve":
        place = (SITE, call.skus[0], call.location or "")
        least, wanted = model.least_available(place, first_seq, model.seq), operation.quantity
        if operation.flag:
            wanted = 1
    else:
        place = (SITE, call.skus[0], call.location or LOCATIONS[0])
        bins = model.bins_between(place, first_seq, model.seq)
        if code == "below_committed":
            most = max(reserved + held for _, _, reserved, held in bins)
            return f"only {most} were ever committed" if operation.quantity >= most else None
        if code == "exceeds_held":
            least = min(held for *_, held in bins)
        elif operation.kind == "move":
            least = min(on_hand - held for _, on_hand, _, held in bins)
        else:
            least = min(on_hand - reserved - held for _, on_hand, reserved, held in bins)
        wanted = abs(operation.quantity)
    return f"{least} were always there in {place}, asked were {wanted}" if least >= wanted else None


def _wrong_of_reservation(call: Call, code: str, models: Sequence[LedgerModel], latest_ms: int) -> str | None:
    assert call.subject is not None
    partition, number = call.subject
    promise = models[partition].promises[number]
    shares = [promise]
    shares += [models[share[0]].promises[share[1]] for share in promise.detail.get("parts", ())]
    if code == "reservation_hard":
        return None if promise.expires_at_ms is None else f"it expires at {promise.expires_at_ms}"
    if code == "insufficient_stock":
        return None if call.location is not None else "it takes what it has reserved"
    if code == "reservation_pending":
        return None if len(shares) > 1 else "it does not span partitions"
    if code == "sku_required":
        skus = promise.skus | {line[2] for line in promise.detail.get("requested", ())}
        is_one = len(shares) == 1 and len(skus) == 1
        return "it is of one SKU" if is_one else None
    if code == "reservation_resolved":
        is_due = promise.expires_at_ms is not None and promise.expires_at_ms <= latest_ms
        is_spent = all(any(not state[-1] for _, state in share.states) for share in shares)
        is_spent |= call.sku is not None and len(promise.skus) + len(shares) > 2  # That SKU's units are.
        return None if is_due or is_spent else f"{sum(share.open_units for share in shares)} units are open"
    if len(shares) == 1 and call.sku is call.location is None:  # Exceeds what is reserved.
        states = models[partition].promise_states(number, call.seqs[partition], models[partition].seq)
        least = min(state[-1] for state in states)
        if least >= call.operation.quantity or not call.operation.flag:
            return f"{least} units were always open"
    return None

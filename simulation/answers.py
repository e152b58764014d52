"""Compares what callers are shown with what the ledger says: all of it, to the last field.

The answer to a command shows the state right after its entries, also when it is given again. A read shows one
prefix that is no older than the read. A reservation over several partitions shows a prefix of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from simulation.explaining import wrong_explanation
from simulation.plan import LOCATIONS, SITE
from simulation.shown import View, bin_shown, promise_shown, stock_shown

if TYPE_CHECKING:
    from simulation.causes import Causes, Wrong
    from simulation.clients import Call
    from simulation.model import LedgerModel
    from simulation.promises import Promise

Choice = tuple["Promise", list[int]]
"""A share, and the prefixes that may be shown of it, the likeliest first."""


def wrong_answer(call: Call, view: View, models: Sequence[LedgerModel], causes: Causes) -> Wrong | None:
    """Say what is wrong with what a command's caller is shown, or None."""
    made = causes.made.get(call.key)
    if made is None:
        return "P1", "it is acknowledged and not in the ledger"
    model = models[made.partition]
    if call.subject is None and not call.operation.kind.startswith("reserve"):
        expected = _shown_of_stock(call, model, made.first.seq, made.last_seq)
        return None if view == expected else ("P5", f"it is told {view}, the ledger says {expected}")
    number = made.first.reservation
    promise = model.promises.get(number) if number is not None else None
    if promise is None:
        return "P1", "its reservation is not in the ledger"
    choices: list[Choice] = [(promise, [made.last_seq])]
    if call.subject is None:
        for share in _shares(promise, models):
            held = causes.made[f"{promise.attempt} hold {share.partition}"]
            choices.append((share, [held.last_seq]))
    elif promise.parts is not None:
        choices = []
        for share in (promise, *_shares(promise, models)):
            step = causes.made.get(f"{call.key} {share.partition}")
            if step is not None:
                choices.append((share, [step.last_seq]))
                continue
            # A share that is over is left as it is, and no other.
            state = share.states_between(call.seqs[share.partition], models[share.partition].seq)
            if state and min(one[-1] for one in state) > 0:
                return "P1", f"it is acknowledged, but not done in partition {share.partition}"
            choices.append((share, _window(call, share, models)))
    return _wrong_choice(view, choices)


def wrong_read(call: Call, view: View, models: Sequence[LedgerModel]) -> Wrong | None:
    """Say what is wrong with what a reader is shown, or None."""
    model, since = models[call.partition], call.seqs[call.partition]
    if call.operation.kind == "read_reservation":
        assert call.subject is not None
        promise = models[call.subject[0]].promises[call.subject[1]]
        shares = [promise, *_shares(promise, models)]
        return _wrong_choice(view, [(share, _window(call, share, models)) for share in shares])
    seq = view["seq"]
    if call.operation.kind in ("read_stock", "explain"):
        if not since <= seq <= model.seq:
            return "P5", f"it is shown at {seq}, the ledger was at {since} and is at {model.seq}"
        if call.operation.kind == "explain":
            wrong = wrong_explanation(view, model, SITE, call.skus[0])
            return None if wrong is None else ("P5", f"it is explained wrongly: {wrong}")
        expected = stock_shown(model, SITE, call.skus[0], seq)
    else:
        place = (SITE, call.skus[0], call.location or LOCATIONS[0])
        if seq < model.bin_at(place, since).seq:
            return "P5", f"{place} is shown at {seq}, it was at {model.bin_at(place, since).seq}"
        expected = bin_shown(place, model.bin_at(place, seq))
    return None if view == expected else ("P5", f"it is shown {view}, the ledger says {expected}")


def _shares(promise: Promise, models: Sequence[LedgerModel]) -> list[Promise]:
    return [models[part[0]].promises[part[1]] for part in promise.parts or ()]


def _window(call: Call, share: Promise, models: Sequence[LedgerModel]) -> list[int]:
    """Return the prefixes of a share since a call began, one for each time at which it changed."""
    return share.seqs_between(call.seqs[share.partition], models[share.partition].seq)


def _wrong_choice(view: View, choices: Sequence[Choice]) -> Wrong | None:
    """Say that no prefixes of the shares are what is shown."""
    shown = {line["line"]: line for line in view["lines"]}
    chosen: list[tuple[Promise, int]] = []
    for promise, seqs in choices:
        for seq in seqs:
            is_home = not chosen
            lines = promise.lines_at(seq)
            if all(shown.get(line["line"]) == line for line in lines) and (
                len(seqs) == 1 or not is_home or promise_shown([(promise, seq)])["expires_at"]
                == view["expires_at"]
            ):  # fmt: skip
                chosen.append((promise, seq))
                break
        else:
            known = [promise.lines_at(seq) for seq in seqs]
            return "P5", f"it is shown as {view}, partition {promise.partition} says {known}"
    expected = promise_shown(chosen)
    return None if view == expected else ("P5", f"it is shown as {view}, the ledger says {expected}")


def _shown_of_stock(call: Call, model: LedgerModel, first_seq: int, last_seq: int) -> View:
    """Return what the caller of an operation on one SKU has to be told."""
    operation, sku = call.operation, call.skus[0]

    def bin_(location: str) -> View:
        place = (SITE, sku, location)
        return bin_shown(place, model.bin_at(place, last_seq))

    location = call.location or LOCATIONS[0]
    if operation.kind == "move":
        return {"from": bin_(location), "to": bin_(LOCATIONS[operation.to])}
    if operation.kind == "count":
        return {"bin": bin_(location), "variance": model.rows[last_seq - 1].quantity}
    if operation.kind != "pick_stock":
        return bin_(location)
    rows = model.rows[first_seq - 1 : last_seq]
    return {
        "site": SITE,
        "sku": sku,
        "quantity": operation.quantity,
        "reference": None,
        "allocations": [
            {"location": row.location, "lot": row.lot or None, "quantity": row.quantity} for row in rows
        ],
        "bins": [bin_(str(where)) for where in dict.fromkeys(row.location for row in rows)],
    }

"""What an explanation of a SKU's available units has to say at a prefix: what each number consists of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation.shown import View, instant, public_id, stock_shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from simulation.model import LedgerModel

_LISTS = ("reservations", "holds", "lots")


def wrong_explanation(view: View, model: LedgerModel, site: str, sku: str) -> str | None:
    """Say what is wrong with an explanation as of its number, or None. It may list in any order."""
    seq = view["seq"]
    expected = _explained(model, site, sku, seq)
    for name, sums in (("reservations", "reserved"), ("holds", "held")):
        units = sum(one["quantity"] for one in view[name])
        if units != view[sums]:
            return f"its {name} are {units} units, and {view[sums]} are {sums}"
    shown = {**view, **{name: _sorted(view[name]) for name in _LISTS}}
    wrong = next((name for name in expected if shown.get(name) != expected[name]), None)
    if wrong is not None:
        return f"{wrong} at {seq} is {shown.get(wrong)}, the ledger says {expected[wrong]}"
    return None if shown.keys() == expected.keys() else f"it says {sorted(shown)}"


def _explained(model: LedgerModel, site: str, sku: str, seq: int) -> View:
    view = stock_shown(model, site, sku, seq)
    lots = [{**lot, "location": bin_["location"]} for bin_ in view["bins"] for lot in bin_["lots"]]
    words = (f"{view[name]} {name.replace('_', ' ')}" for name in ("on_hand", "reserved", "held"))
    return {
        **view,
        "explanation": f"{' - '.join(words)} = {view['available']} available",
        "reservations": _sorted(_open_at(model, site, sku, seq)),
        "holds": _sorted(
            {"location": lot["location"], "lot": lot["lot"], "reason": reason, "quantity": units}
            for lot in lots
            for reason, units in lot.get("holds", {}).items()
        ),
        "lots": _sorted(lot for lot in lots if lot["expires_on"] is not None),
    }


def _open_at(model: LedgerModel, site: str, sku: str, seq: int) -> Iterable[View]:
    """Return what reservations hold of a SKU at a prefix."""
    for promise in model.promises.values():
        if promise.number > seq or not promise.open_at(seq):
            continue
        rows = [row for row in promise.rows if row.seq <= seq]
        is_confirmed = any(row.kind == "reservation_confirmed" for row in rows)
        for line in promise.lines_at(seq):
            if (line["site"], line["sku"]) == (site, sku):
                for allocation in line["allocations"]:
                    if allocation["open"]:
                        yield {
                            "id": public_id(promise),
                            "reference": promise.reference,
                            "location": allocation["location"],
                            "lot": allocation["lot"],
                            "quantity": allocation["open"],
                            "expires_at": instant(promise.date_at(seq)),
                            "tentative": promise.is_share and not is_confirmed,
                        }


def _sorted(views: Iterable[View]) -> list[View]:
    return sorted(
        views, key=lambda one: (one["location"], one["lot"] or "", one.get("id", ""), one.get("reason", ""))
    )

"""What callers have to be shown of a prefix of the ledger: the contract's shapes, made from the model."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulation.model import BinState, LedgerModel, Place
    from simulation.promises import Promise

View = dict[str, Any]

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_DAY_MS = 86_400_000


@lru_cache(maxsize=1_000)
def instant(at_ms: int | None) -> str | None:
    """Return an instant as RFC 3339 text in UTC."""
    if at_ms is None:
        return None
    text = (_EPOCH + dt.timedelta(milliseconds=at_ms)).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


@lru_cache(maxsize=1_000)
def _last_day(at_ms: int | None) -> str | None:
    """Return the last day on which a lot is good: that before the day on which it expires."""
    return None if at_ms is None else str((_EPOCH + dt.timedelta(milliseconds=at_ms - _DAY_MS)).date())


def public_id(promise: Promise) -> str:
    """Return a reservation's UUIDv7 (RFC 9562): instant, 12 + 4 bits of partition, 58 of number."""
    partition = promise.partition
    value = promise.opened_at_ms << 80 | 7 << 76 | (partition & 0xFFF) << 64
    value |= 0b10 << 62 | (partition >> 12) << 58 | promise.number
    text = f"{value:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def address_of(public_id_: str) -> tuple[int, int]:
    """Return the (partition, number) that an id says."""
    value = int(public_id_.replace("-", ""), 16)
    low = value & (1 << 62) - 1
    return (low >> 58) << 12 | value >> 64 & 0xFFF, low & (1 << 58) - 1


def bin_shown(place: Place, bin_: BinState) -> View:
    """Return a bin, with its lots that have units."""
    lots = []
    for lot in bin_.lots:
        if lot.on_hand:
            view: View = {
                "lot": lot.code or None,
                "on_hand": lot.on_hand,
                "reserved": lot.reserved,
                "held": lot.held,
                "available": lot.free,
                "expires_on": _last_day(lot.expires_at_ms),
            }
            if lot.holds:
                view["holds"] = dict(lot.holds)
            lots.append(view)
    return {
        "site": place[0],
        "sku": place[1],
        "location": place[2],
        "on_hand": bin_.on_hand,
        "reserved": bin_.reserved,
        "held": bin_.held,
        "available": bin_.on_hand - bin_.reserved - bin_.held,
        "seq": bin_.seq,
        "lots": lots,
    }


def stock_shown(model: LedgerModel, site: str, sku: str, seq: int) -> View:
    """Return all bins of a SKU at a prefix, and their sums."""
    places = [(site, sku, location) for location in sorted(model.bins_known(site, sku, seq))]
    bins = [bin_shown(place, model.bin_at(place, seq)) for place in places]
    sums = {name: sum(bin_[name] for bin_ in bins) for name in ("on_hand", "reserved", "held", "available")}
    return {"site": site, "sku": sku, **sums, "seq": seq, "bins": bins}


def state_of(lines: Sequence[View]) -> str:
    """Return the word for what became of a reservation."""
    picked = any(line["picked"] for line in lines)
    if any(allocation["open"] for line in lines for allocation in line["allocations"]):
        return "part_picked" if picked else "held"
    if picked:
        return "picked"
    return "expired" if any(line["expired"] for line in lines) else "released"


def promise_shown(promises: Sequence[tuple[Promise, int]]) -> View:
    """Return a reservation: each of its shares at a prefix, home's first."""
    home, seq = promises[0]
    lines = home.lines_at(seq)
    for share, at_seq in promises[1:]:
        lines += share.lines_at(at_seq)
    lines.sort(key=lambda line: line["line"])
    return {
        "id": public_id(home),
        "state": state_of(lines),
        "reference": home.reference,
        "expires_at": instant(home.date_at(seq)),
        "lines": lines,
    }

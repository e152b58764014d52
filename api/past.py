"""Stock as it was: the ledger's balances at an instant or at a sequence number."""

import datetime as dt
import re
from typing import Any

from api.problems import Code, Problem, parameter_problem
from engine.dates import rfc3339
from engine.entries import Entry
from engine.limits import QUANTITY_MAX
from engine.refusals import Refusal, Refused, refused
from persistence.ports import Ledger

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_RFC3339 = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[+-]\d{2}:\d{2})", re.ASCII)
_SUMS = ("on_hand", "reserved", "held", "available")


class Past:
    """Reads past states of a SKU from the ledger. Nothing that is not committed is in it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def stock(
        self, partition: int, site: str, sku: str, as_of: str, now_ms: int
    ) -> dict[str, Any] | Refused:
        """Return all bins of a SKU as they were, with `as_of: {seq, at}`.

        Refused `stock_not_found` when nothing was ever recorded of the SKU. Raises Problem (422) when the
        instant is none, lies in the future, or lies before the SKU's first entry. A lot's date is not told.
        """
        seq, at_ms = _asked_for(as_of)
        first = await self._ledger.history(partition, (site, sku), 0, 1)
        if not first:
            return refused(Refusal.STOCK_NOT_FOUND, site=site, sku=sku)
        head_seq, head_at_ms = await self._ledger.head(partition)
        if (seq is not None and seq > head_seq) or (at_ms is not None and at_ms > max(now_ms, head_at_ms)):
            raise Problem(
                Code.AS_OF_IN_FUTURE, f"The ledger is at {head_seq}, recorded at {rfc3339(head_at_ms)}.",
                head_seq=head_seq, head_at=rfc3339(head_at_ms),
            )  # fmt: skip
        if seq is None:
            assert at_ms is not None
            seq = await self._ledger.seq_at(partition, at_ms)
        if seq < first[0].seq:
            raise Problem(
                Code.AS_OF_TOO_EARLY,
                f"The first entry of SKU {sku} is {first[0].seq}, recorded at {rfc3339(first[0].at_ms)}.",
                first_seq=first[0].seq, first_at=rfc3339(first[0].at_ms),
            )  # fmt: skip
        entries = await self._ledger.balances(partition, (site, sku), seq)
        latest_ms = max(entry.at_ms for entry in entries)
        bins = _bins(site, sku, entries)
        sums = {name: sum(bin_[name] for bin_ in bins) for name in _SUMS}
        at = rfc3339(latest_ms if at_ms is None else at_ms)
        return {"site": site, "sku": sku, **sums, "seq": seq, "bins": bins, "as_of": {"seq": seq, "at": at}}


def _bins(site: str, sku: str, entries: list[Entry]) -> list[dict[str, Any]]:
    """Return the bins that these last entries of their lots lead to."""
    by_location: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.location is not None:
            by_location.setdefault(entry.location, []).append(entry)
    bins = []
    for location in sorted(by_location):
        lots = [_lot(entry) for entry in by_location[location] if entry.on_hand]
        sums = {name: sum(lot[name] for lot in lots) for name in _SUMS}
        seq = max(entry.seq for entry in by_location[location])
        bins.append({"site": site, "sku": sku, "location": location, **sums, "seq": seq, "lots": lots})
    return bins


def _lot(entry: Entry) -> dict[str, Any]:
    return {
        "lot": entry.lot or None,
        "on_hand": entry.on_hand,
        "reserved": entry.reserved,
        "held": entry.held,
        "available": entry.on_hand - entry.reserved - entry.held,
        "expires_on": None,
    }


def _asked_for(as_of: str) -> tuple[int | None, int | None]:
    """Return (sequence number, None) or (None, milliseconds UTC)."""
    if as_of.isascii() and as_of.isdecimal() and len(as_of) <= 16:
        seq = int(as_of)
        if seq <= QUANTITY_MAX:
            return seq, None
    # A plus sign that was not percent-encoded arrives as a space.
    text = as_of.replace(" ", "+").upper()
    try:
        instant = dt.datetime.fromisoformat(text) if _RFC3339.fullmatch(text) else None
    except ValueError:  # Such as the 30th of February.
        instant = None
    if instant is None:
        raise parameter_problem(
            "as_of", "Expected a sequence number or an RFC 3339 instant such as 2026-11-20T08:00:00Z."
        )
    try:
        return None, (instant - _EPOCH) // dt.timedelta(milliseconds=1)
    except OverflowError:
        raise parameter_problem("as_of", "The instant is out of range.") from None

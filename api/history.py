"""The ledger's entries of one SKU as people read them."""

import json
from typing import Any

from engine.commands import StockKey
from engine.dates import date_of_expiry, rfc3339
from engine.entries import Entry, Kind
from engine.partitioning import reservation_id
from persistence.ports import Ledger

_IDS_MAX = 100_000
_OF_LOTS = frozenset({Kind.STOCK_RECEIVED, Kind.STOCK_MOVED_IN})
_UNTIL_END = 2**53


class History:
    """Reads pages of entries, and the public ids of the reservations in them, which it remembers."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._ids: dict[tuple[int, int], str] = {}

    async def page(self, partition: int, stock: StockKey, after_seq: int, limit: int) -> dict[str, Any]:
        """Return `{items, next_cursor}`, oldest first; the cursor is the `after` of the next page."""
        entries = await self._ledger.history(partition, stock, after_seq, limit + 1)
        items = [await self._item(entry) for entry in entries[:limit]]
        return {"items": items, "next_cursor": entries[limit - 1].seq if len(entries) > limit else None}

    async def _item(self, entry: Entry) -> dict[str, Any]:
        expires_on = expires_at = None
        if entry.expires_at_ms is not None:
            if entry.kind in _OF_LOTS:
                expires_on = date_of_expiry(entry.expires_at_ms)
            else:
                expires_at = rfc3339(entry.expires_at_ms)
        return {
            "partition": entry.partition,
            "seq": entry.seq,
            "at": rfc3339(entry.at_ms),
            "kind": str(entry.kind),
            "key": entry.key,
            "site": entry.site,
            "sku": entry.sku,
            "location": entry.location,
            "lot": entry.lot or None,
            "quantity": entry.quantity,
            "on_hand": entry.on_hand,
            "reserved": entry.reserved,
            "held": entry.held,
            "reservation": await self._public_id(entry.partition, entry.reservation),
            "line": entry.line,
            "counterpart": entry.counterpart,
            "expires_on": expires_on,
            "expires_at": expires_at,
            "reference": entry.reference,
            "reason": entry.reason,
        }

    async def _public_id(self, partition: int, number: int | None) -> str | None:
        if number is None:
            return None
        known = self._ids.get((partition, number))
        if known is None:
            known, is_final = await self._find_id(partition, number)
            if is_final:
                if len(self._ids) >= _IDS_MAX:
                    self._ids.clear()
                self._ids[partition, number] = known
        return known

    async def _find_id(self, partition: int, number: int) -> tuple[str, bool]:
        """Return a reservation's id, and whether it stays: a share has its own until it is confirmed."""
        first = (await self._ledger.of_reservation(partition, number, number))[0]
        own = reservation_id(partition, number, first.at_ms)
        detail = json.loads(first.detail) if first.detail else {}
        if "home" not in detail:
            return own, True
        for entry in await self._ledger.of_reservation(partition, number, _UNTIL_END):
            if entry.kind == Kind.RESERVATION_CONFIRMED and entry.detail:
                home, home_number = int(detail["home"]), int(json.loads(entry.detail)["home_number"])
                opened = (await self._ledger.of_reservation(home, home_number, home_number))[0]
                return reservation_id(home, home_number, opened.at_ms), True
        return own, False

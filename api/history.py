"""The ledger's entries of one SKU as people read them."""

import json
from typing import Any

from engine.commands import StockKey
from engine.dates import date_of_expiry, rfc3339
from engine.entries import Entry, Kind
from engine.partitioning import reservation_id
from persistence.ports import Ledger

_IDS_MAX = 100_000
_OF_LOTS = frozenset({Kind.STOCK_RECEIVED, Kind.STOCK_MOVED_IN, Kind.STOCK_ADJUSTED, Kind.STOCK_COUNTED})
"""Their time is the end of their lot's date; that of others is a reservation's."""

Place = tuple[int, int]
"""(partition, sequence number)"""


class History:
    """Reads pages of entries, and the public ids of the reservations in them, which it remembers."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._ids: dict[Place, str] = {}

    async def page(self, partition: int, stock: StockKey, after_seq: int, limit: int) -> dict[str, Any]:
        """Return `{items, next_cursor}`, oldest first; the cursor is the `after` of the next page, if any."""
        entries = await self._ledger.history(partition, stock, after_seq, limit + 1)
        numbers = {entry.reservation for entry in entries[:limit] if entry.reservation is not None}
        ids = await self._public_ids(partition, numbers)
        items = [_item(entry, ids) for entry in entries[:limit]]
        return {"items": items, "next_cursor": entries[limit - 1].seq if len(entries) > limit else None}

    async def _public_ids(self, partition: int, numbers: set[int]) -> dict[int, str]:
        """Return the ids of reservations, by three questions at most, however many they are.

        A share goes by the id of the whole. Before it is confirmed it has its own, which is not remembered.
        """
        ids = {number: id_ for number in numbers if (id_ := self._ids.get((partition, number))) is not None}
        homes: dict[int, int] = {}
        for first in await self._firsts({(partition, number) for number in numbers - ids.keys()}):
            ids[first.seq] = reservation_id(partition, first.seq, first.at_ms)
            home = json.loads(first.detail).get("home") if first.detail else None
            if home is None:
                self._remember((partition, first.seq), ids[first.seq])
            else:
                homes[first.seq] = int(home)
        wholes: dict[Place, int] = {}
        if homes:
            for entry in await self._ledger.confirmations(partition, sorted(homes)):
                assert entry.reservation is not None
                number = int(json.loads(entry.detail or "{}")["home_number"])
                wholes[homes[entry.reservation], number] = entry.reservation
        for first in await self._firsts(set(wholes)):
            number = wholes[first.partition, first.seq]
            ids[number] = reservation_id(first.partition, first.seq, first.at_ms)
            self._remember((partition, number), ids[number])
        return ids

    async def _firsts(self, places: set[Place]) -> list[Entry]:
        return await self._ledger.at(sorted(places)) if places else []

    def _remember(self, place: Place, public_id: str) -> None:
        if len(self._ids) >= _IDS_MAX:
            self._ids.clear()
        self._ids[place] = public_id


def _item(entry: Entry, ids: dict[int, str]) -> dict[str, Any]:
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
        "reservation": None if entry.reservation is None else ids[entry.reservation],
        "line": entry.line,
        "counterpart": entry.counterpart,
        "expires_on": expires_on,
        "expires_at": expires_at,
        "reference": entry.reference,
        "reason": entry.reason,
    }

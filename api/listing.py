"""Pages of bins across SKUs and sites, from the read model after the hosts have written what they know."""

import base64
import binascii
import json
from typing import Any

from api.problems import Code, Problem
from engine.images import Rows, restore
from engine.limits import CODE_LENGTH_MAX
from engine.state import Partition
from engine.views import bin_view
from persistence.read_model import BinRecord, ReadModel

Place = tuple[str, str, str]
"""(site, sku, location)"""


class Listing:
    """Reads pages of bins in the order of (site, sku, location)."""

    def __init__(self, read_model: ReadModel) -> None:
        self._read_model = read_model

    async def page(
        self, *, site: str | None, sku: str | None, location: str | None, cursor: str | None, limit: int
    ) -> dict[str, Any]:
        """Return `{items, next_cursor}`. Raises Problem (422) when the cursor is not one of ours."""
        after = None if cursor is None else read_cursor(cursor)
        records = await self._read_model.bins(
            site=site, sku=sku, location=location, after=after, limit=limit + 1
        )
        next_cursor = None
        if len(records) > limit:
            last = records[limit - 1]
            next_cursor = make_cursor((last.site, last.sku, last.location))
        return {"items": [_view(record) for record in records[:limit]], "next_cursor": next_cursor}


def _view(record: BinRecord) -> dict[str, Any]:
    partition = Partition(0)
    key = (record.site, record.sku)
    restore(partition, [key], Rows(record.rows.lots, [], []))
    return bin_view(partition.stocks[key], record.location)


def make_cursor(place: Place) -> str:
    """Return the opaque cursor that continues after a bin."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> Place:
    """Return the bin that a cursor continues after. Raises Problem (422)."""
    try:
        place = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        raise _invalid() from None
    # Only what codes may be goes to the database, which takes neither zero bytes nor surrogates.
    if not isinstance(place, list) or len(place) != 3 or not all(map(_is_code, place)):
        raise _invalid()
    site, sku, location = place
    return site, sku, location


def _is_code(found: object) -> bool:
    return isinstance(found, str) and 0 < len(found) <= CODE_LENGTH_MAX and found.isprintable()


def _invalid() -> Problem:
    return Problem(
        Code.INVALID_CURSOR, "cursor: Send `next_cursor` as it was.", errors=[{"parameter": "cursor"}]
    )

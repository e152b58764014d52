"""The read model: what lists and sums over all partitions are answered from, which is the snapshots.

It is as old as they are. Whoever needs it to the moment has all hosts flush theirs before.
"""

from typing import NamedTuple, Protocol

from engine.images import Rows


class BinRecord(NamedTuple):
    """A bin of the read model: its lots' rows."""

    site: str
    sku: str
    location: str
    rows: Rows


class ReadModel(Protocol):
    """Questions across partitions, answered from the snapshots."""

    async def bins(
        self,
        *,
        site: str | None,
        sku: str | None,
        location: str | None,
        after: tuple[str, str, str] | None,
        limit: int,
    ) -> list[BinRecord]:
        """Return bins that match, by (site, sku, location), from past `after`; `limit` at most."""

    async def totals(self) -> dict[str, int]:
        """Return sums of `on_hand`, `reserved`, `held`; counts of `bins`, `stocks`, `open_reservations`."""

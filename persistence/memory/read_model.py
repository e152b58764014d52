"""Questions across partitions, in memory."""

from itertools import groupby

from engine.images import LotRow, Rows
from persistence.memory.database import MemoryDatabase
from persistence.read_model import BinRecord


class MemoryReadModel:
    """Bins and sums as of the snapshots."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def bins(
        self,
        *,
        site: str | None,
        sku: str | None,
        location: str | None,
        after: tuple[str, str, str] | None,
        limit: int,
    ) -> list[BinRecord]:
        """See `ReadModel.bins`."""
        found = []
        for bin_, rows in groupby(self._lots(), key=lambda lot: (lot.site, lot.sku, lot.location)):
            matches = all(
                wanted in (None, is_) for wanted, is_ in zip((site, sku, location), bin_, strict=True)
            )
            if matches and (after is None or bin_ > after):
                found.append(BinRecord(*bin_, Rows(list(rows), [], [])))
        return found[:limit]

    async def totals(self) -> dict[str, int]:
        """See `ReadModel.totals`."""
        lots = self._lots()
        return {
            "on_hand": sum(lot.on_hand for lot in lots),
            "reserved": sum(lot.reserved for lot in lots),
            "held": sum(lot.held for lot in lots),
            "bins": len({(lot.site, lot.sku, lot.location) for lot in lots}),
            "stocks": len({(lot.site, lot.sku) for lot in lots}),
            "open_reservations": sum(
                row.open > 0 for tables in self._database.partitions for row in tables.reservations.values()
            ),
        }

    def _lots(self) -> list[LotRow]:
        lots = (
            lot
            for tables in self._database.partitions
            for by_place in tables.lots.values()
            for lot in by_place.values()
        )
        return sorted(lots, key=lambda lot: (lot.site, lot.sku, lot.location, lot.lot))

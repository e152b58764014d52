"""Questions across partitions, answered from the snapshot tables."""

# ruff: noqa: S608 - statements are put together from our own columns' names; values travel as parameters

from itertools import groupby

from engine.images import LotRow, Rows
from persistence.postgres.rows import LOT_COLUMNS
from persistence.postgres.sessions import Sessions
from persistence.read_model import BinRecord

_TOTALS = """\
SELECT coalesce(sum(on_hand), 0)::bigint AS on_hand,
       coalesce(sum(reserved), 0)::bigint AS reserved,
       coalesce(sum(held), 0)::bigint AS held,
       count(*) AS bins,
       (SELECT count(*) FROM (SELECT DISTINCT site, sku FROM stock_lot) AS stock) AS stocks,
       (SELECT count(*) FROM reservation WHERE open > 0) AS open_reservations
FROM bin
"""


class PostgresReadModel:
    """Bins and sums as of the snapshots."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

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
        arguments: list[object] = [limit]
        conditions = ["true"]
        for column, wanted in (("site", site), ("sku", sku), ("location", location)):
            if wanted is not None:
                arguments.append(wanted)
                conditions.append(f"{column} = ${len(arguments)}")
        if after is not None:
            arguments.extend(after)
            last = len(arguments)
            conditions.append(f"(site, sku, location) > (${last - 2}, ${last - 1}, ${last})")
        query = f"""\
            WITH page AS (
                SELECT DISTINCT site, sku, location FROM stock_lot
                WHERE {" AND ".join(conditions)}
                ORDER BY site, sku, location LIMIT $1
            )
            SELECT {LOT_COLUMNS} FROM page JOIN stock_lot USING (site, sku, location)
            ORDER BY site, sku, location, lot"""
        async with self._sessions.session() as connection:
            lots = map(LotRow._make, await connection.fetch(query, *arguments))
            grouped = groupby(lots, key=lambda lot: (lot.site, lot.sku, lot.location))
            return [BinRecord(*bin_, Rows(list(rows), [], [])) for bin_, rows in grouped]

    async def totals(self) -> dict[str, int]:
        """See `ReadModel.totals`."""
        async with self._sessions.session() as connection:
            return dict(await connection.fetchrow(_TOTALS))

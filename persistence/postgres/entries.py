"""What is read of the ledger on Postgres: questions to one table, through the pool.

Each walks an index, since the ledger only grows.
"""

# ruff: noqa: S608 - statements are put together from our own columns' names; values travel as parameters

from collections.abc import Mapping, Sequence

from engine.commands import StockKey
from engine.entries import Entry, Kind
from persistence.balances import LotBalance, LotSum
from persistence.checksums import COLUMNS, checked, firsts, sift
from persistence.postgres.sessions import Sessions
from persistence.postgres.sums import read_missing, read_sums
from persistence.traced import Traced

ROW = ", ".join(f"ledger.{name}" for name in COLUMNS)
"""A row as `checked` takes it."""

_SEQ_AT = f"""\
WITH RECURSIVE search (low, high, seen) AS (
    SELECT 0::bigint, coalesce((SELECT max(seq) FROM ledger WHERE partition = $1), 0), NULL::bigint
    UNION ALL
    SELECT CASE WHEN middle.at_ms <= $2 THEN middle.seq ELSE low END,
           CASE WHEN middle.at_ms <= $2 THEN high ELSE middle.seq - 1 END,
           middle.seq
    FROM search
    CROSS JOIN LATERAL (
        SELECT seq, at_ms FROM ledger WHERE partition = $1 AND seq = (low + high + 1) / 2
    ) AS middle
    WHERE low < high
)
SELECT search.low, search.high, {ROW} FROM search
LEFT JOIN ledger ON ledger.partition = $1 AND ledger.seq = seen
"""
"""Sequence numbers have no gaps and times never fall: halving finds the place without an index on time.

With each step comes the row that it looked at."""
_SEQ_AT_SLOWLY = "SELECT coalesce(max(seq), 0) FROM ledger WHERE partition = $1 AND at_ms <= $2"

SETTLED = f"""\
SELECT settled.* FROM unnest($2::bigint[]) AS number
CROSS JOIN LATERAL (
    SELECT {ROW} FROM ledger
    WHERE partition = $1 AND seq > number AND reservation = number
    AND kind IN ('{Kind.RESERVATION_CONFIRMED}', '{Kind.STOCK_RELEASED}', '{Kind.RESERVATION_EXPIRED}')
    ORDER BY seq LIMIT 1
) AS settled
"""
"""The entry that settled each tentative share: confirmed, given back, or expired, whichever came first."""
IN_ORDER = "SET LOCAL enable_sort = off"
"""Has the index walked in order up to the first that fits; else all that follow may be read and sorted."""

_LAST = """\
SELECT DISTINCT ON (partition, site, sku, location, lot)
       partition, site, sku, location, lot, seq, on_hand, reserved, held
FROM unnest($1::int[], $2::text[], $3::text[], $4::bigint[]) AS wanted (number, of_site, of_sku, until_seq)
CROSS JOIN LATERAL (
    SELECT partition, site, sku, location, lot, seq, on_hand, reserved, held FROM ledger
    WHERE partition = number AND hashtext(sku) = hashtext(of_sku) AND site = of_site AND sku = of_sku
    AND seq <= until_seq
    ORDER BY seq DESC LIMIT $5
) AS newest
ORDER BY partition, site, sku, location, lot, seq DESC
"""

_LAST_OF = f"""\
SELECT changed.*
FROM unnest($1::int[], $2::bigint[], $3::bigint[]) AS wanted (of_partition, number, until_seq)
CROSS JOIN LATERAL (
    SELECT {ROW} FROM ledger
    WHERE partition = of_partition AND reservation = number AND sku IS NULL AND seq <= until_seq
    ORDER BY seq DESC LIMIT 1
) AS changed
UNION ALL (
    SELECT DISTINCT ON (partition, site, sku, reservation) {", ".join(COLUMNS)}
    FROM unnest($4::int[], $5::text[], $6::text[], $7::bigint[], $8::bigint[])
        AS wanted (number, of_site, of_sku, after_seq, until_seq)
    CROSS JOIN LATERAL (
        SELECT {ROW} FROM ledger
        WHERE partition = number AND hashtext(sku) = hashtext(of_sku) AND site = of_site AND sku = of_sku
        AND seq > after_seq AND seq <= until_seq
        ORDER BY seq DESC LIMIT $9
    ) AS newest
    WHERE reservation IS NOT NULL
    ORDER BY partition, site, sku, reservation, seq DESC
)
"""
"""Entries of a stock are walked from the newest to what is known of its reservations: at rest, to none."""

_STRETCH = f"SELECT {ROW} FROM ledger WHERE partition = $1 AND seq > $2 AND seq <= $3 ORDER BY seq"
_OF_STOCK = "partition = $1 AND hashtext(sku) = hashtext($3) AND site = $2 AND sku = $3"


def _is_asked(entry: Entry, known: Mapping[tuple[int, int | None], Traced]) -> bool:
    """Whether an entry that touches a stock is one of a reservation that was asked for, and later."""
    asked = known.get((entry.partition, entry.reservation))
    return asked is not None and (entry.sku is None or entry.seq > asked.seq)


class StoredEntries:
    """The ledger's entries, to be read."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def read(self, partition: int, after_seq: int, limit: int) -> list[Entry]:
        """See `Ledger.read`."""
        return await self._entries(
            "WHERE partition = $1 AND seq > $2 ORDER BY seq LIMIT $3", partition, after_seq, limit
        )

    async def history(self, partition: int, stock: StockKey, after_seq: int, limit: int) -> list[Entry]:
        """See `Ledger.history`."""
        return await self._entries(
            f"WHERE {_OF_STOCK} AND seq > $4 ORDER BY seq LIMIT $5", partition, *stock, after_seq, limit
        )

    async def of_reservation(self, partition: int, number: int, until_seq: int) -> list[Entry]:
        """See `Ledger.of_reservation`."""
        return await self._entries(
            "WHERE partition = $1 AND seq BETWEEN $2 AND $3 AND reservation = $2 ORDER BY seq",
            partition,
            number,
            until_seq,
        )

    async def last_of(self, reservations: Sequence[Traced], depth: int) -> list[Entry]:
        """See `Ledger.last_of`."""
        known: dict[tuple[int, int | None], Traced] = {}
        stocks: dict[tuple[int, StockKey, int], int] = {}
        for asked in reservations:
            known[asked.partition, asked.number] = asked
            for stock in asked.stocks:
                place = (asked.partition, stock, asked.until_seq)
                stocks[place] = min(asked.seq, stocks.get(place, asked.seq))
        async with self._sessions.session() as connection:
            rows = await connection.fetch(
                _LAST_OF,
                [asked.partition for asked in reservations],
                [asked.number for asked in reservations],
                [asked.until_seq for asked in reservations],
                [partition for partition, _, _ in stocks],
                [site for _, (site, _), _ in stocks],
                [sku for _, (_, sku), _ in stocks],
                list(stocks.values()),
                [until_seq for _, _, until_seq in stocks],
                depth,
            )
        return [entry for entry in checked(rows) if _is_asked(entry, known)]

    async def at(self, places: Sequence[tuple[int, int]]) -> list[Entry]:
        """See `Ledger.at`."""
        return await self._entries(
            "JOIN (SELECT DISTINCT * FROM unnest($1::int[], $2::bigint[]) AS u (partition, seq)) AS ours"
            " USING (partition, seq) ORDER BY partition, seq",
            [partition for partition, _ in places],
            [seq for _, seq in places],
        )

    async def confirmations(self, partition: int, numbers: Sequence[int]) -> list[Entry]:
        """See `Ledger.confirmations`. Looks no further than where each share was settled: seconds later."""
        if not numbers:
            return []
        async with self._sessions.view() as connection:
            await connection.execute(IN_ORDER)
            rows = await connection.fetch(SETTLED, partition, sorted(set(numbers)))
        settled = sorted(checked(rows), key=lambda entry: entry.seq)
        return [entry for entry in settled if entry.kind == Kind.RESERVATION_CONFIRMED]

    async def with_keys(self, keys: Sequence[str]) -> list[Entry]:
        """See `Ledger.with_keys`."""
        return await self._entries("WHERE key = ANY($1::text[]) ORDER BY partition, seq", list(keys))

    async def balances(self, partition: int, stock: StockKey, until_seq: int) -> list[Entry]:
        """See `Ledger.balances`."""
        return await self._entries(
            f"WHERE {_OF_STOCK} AND seq <= $4 ORDER BY location, lot, seq DESC",
            partition,
            *stock,
            until_seq,
            distinct="DISTINCT ON (location, lot)",
        )

    async def last(self, stocks: Sequence[tuple[int, StockKey, int]], depth: int) -> list[LotBalance]:
        """See `Ledger.last`."""
        async with self._sessions.session() as connection:
            rows = await connection.fetch(
                _LAST,
                [partition for partition, _, _ in stocks],
                [site for _, (site, _), _ in stocks],
                [sku for _, (_, sku), _ in stocks],
                [until_seq for _, _, until_seq in stocks],
                depth,
            )
        return list(map(LotBalance._make, rows))

    async def sums(self, partition: int, after_seq: int, until_seq: int) -> list[LotSum]:
        """See `Ledger.sums`."""
        async with self._sessions.session() as connection:
            return await read_sums(connection, partition, after_seq, until_seq)

    async def missing(self, partition: int, after_seq: int, until_seq: int) -> int | None:
        """See `Ledger.missing`."""
        async with self._sessions.session() as connection:
            return await read_missing(connection, partition, after_seq, until_seq)

    async def changed(self, partition: int, after_seq: int, until_seq: int) -> int | None:
        """See `Ledger.changed`."""
        async with self._sessions.session() as connection:
            rows = await connection.fetch(_STRETCH, partition, after_seq, until_seq)
        return firsts(sift(rows)[1]).get(partition)

    async def seq_at(self, partition: int, at_ms: int) -> int:
        """See `Ledger.seq_at`."""
        async with self._sessions.session() as connection:
            steps = await connection.fetch(_SEQ_AT, partition, at_ms)
            checked(step[2:] for step in steps if step[2] is not None)
            found = next((low for low, high, *_ in steps if low == high), None)
            if found is None:  # An entry is missing where the search looked: all must be looked at.
                found = await connection.fetchval(_SEQ_AT_SLOWLY, partition, at_ms)
            return int(found)

    async def head(self, partition: int) -> tuple[int, int]:
        """See `Ledger.head`."""
        last = await self._entries("WHERE partition = $1 ORDER BY seq DESC LIMIT 1", partition)
        return (last[0].seq, last[0].at_ms) if last else (0, 0)

    async def _entries(self, condition: str, *arguments: object, distinct: str = "") -> list[Entry]:
        async with self._sessions.session() as connection:
            rows = await connection.fetch(f"SELECT {distinct} {ROW} FROM ledger {condition}", *arguments)
        return checked(rows)

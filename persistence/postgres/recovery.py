"""What the new owner of partitions starts from, read at one instant."""

# ruff: noqa: S608 - statements are put together from our own columns' names; values travel as parameters

from collections.abc import Iterable, Sequence
from operator import itemgetter

from engine.commands import StockKey
from engine.entries import Entry
from persistence.checksums import COLUMNS, Changed, firsts, sift
from persistence.ports import TIMES_SOUGHT, Due, Head, Recovery
from persistence.postgres.entries import ROW
from persistence.postgres.rows import Number, read_stocks
from persistence.postgres.sessions import Connection

_HEADS = f"""\
SELECT number, epoch, snapshot_seq, {", ".join(f"last.{name}" for name in COLUMNS)} FROM partition
LEFT JOIN LATERAL (
    SELECT {ROW} FROM ledger WHERE ledger.partition = number ORDER BY seq DESC LIMIT 1
) AS last ON true
WHERE number = ANY($1::int[])
ORDER BY number
"""

_BEFORE = f"SELECT {ROW} FROM ledger WHERE partition = $1 AND seq < $2 ORDER BY seq DESC LIMIT {TIMES_SOUGHT}"
"""Where a partition's last row is not as it was written: those before it."""

# The sub-select's own order keeps the planner at one range of the primary key for each partition. Rows come
# in order without being promised to; Python's sort of what is sorted already costs next to nothing.
_TAIL = f"""\
SELECT tail.* FROM (
    SELECT number, snapshot_seq FROM partition WHERE number = ANY($1::int[]) ORDER BY number
) AS owned
CROSS JOIN LATERAL (
    SELECT {ROW} FROM ledger
    WHERE ledger.partition = owned.number AND seq > owned.snapshot_seq
    ORDER BY seq
) AS tail
"""

_KEYED_BEFORE = f"""\
SELECT keyed.* FROM (SELECT number, snapshot_seq FROM partition WHERE number = ANY($1::int[])) AS owned
CROSS JOIN LATERAL (
    SELECT {ROW} FROM ledger
    WHERE ledger.partition = owned.number AND key IS NOT NULL
        AND seq > owned.snapshot_seq - $3 AND seq <= owned.snapshot_seq
    ORDER BY seq DESC LIMIT $2
) AS keyed
"""

_STOCKS_OF_RESERVATIONS = """\
SELECT DISTINCT partition, site, sku FROM unnest($1::int[], $2::bigint[]) AS named (partition, number)
JOIN reservation_line USING (partition, number)
WHERE open > 0
"""

_DUES = """\
SELECT partition, site, sku, min(due_ms) FROM (
    SELECT partition, site, sku, expires_at_ms AS due_ms FROM stock_lot
    WHERE partition = ANY($1::int[]) AND expires_at_ms IS NOT NULL AND on_hand > reserved + held
    UNION ALL
    SELECT line.partition, line.site, line.sku, expires_at_ms
    FROM reservation JOIN reservation_line AS line USING (partition, number)
    WHERE reservation.partition = ANY($1::int[]) AND expires_at_ms IS NOT NULL
        AND reservation.open > 0 AND line.open > 0
) AS due
GROUP BY partition, site, sku
"""

_TENTATIVE = """\
SELECT partition, number, deadline_ms FROM reservation
WHERE partition = ANY($1::int[]) AND deadline_ms IS NOT NULL AND open > 0
ORDER BY partition, number
"""

_SETTINGS = "SET LOCAL work_mem = '64MB'; SET LOCAL enable_memoize = off; SET LOCAL jit = off"
"""Sorts and joins stay in memory. Remembering inner rows is of no use where none comes twice."""

_PARTITION, _SEQ, _AT_MS = map(Entry._fields.index, ("partition", "seq", "at_ms"))
_PLACE = itemgetter(_PARTITION, _SEQ)
_AGE = itemgetter(_AT_MS, _PARTITION, _SEQ)

_SPARSE = 8
"""Keyed entries are looked for among this many times as many entries."""


async def read_heads(connection: Connection, partitions: Sequence[int]) -> list[Head]:
    """Return partitions as a new owner finds them, by number, with their last entries."""
    heads = []
    for row in await connection.fetch(_HEADS, partitions):
        number, epoch, snapshot_seq, *last = row
        seq, at_ms = last[_SEQ] or 0, last[_AT_MS] or 0
        if seq and sift([tuple(last)])[1]:
            # A changed time must not go into the claim, and from there into all that follows.
            entries, changed = sift(await connection.fetch(_BEFORE, number, seq))
            wrong = {place.seq for place in changed}
            at_ms = next((entry.at_ms for entry in entries if entry.seq not in wrong), 0)
        heads.append(Head(number, epoch, snapshot_seq, seq, at_ms))
    return heads


async def read_recovery(connection: Connection, partitions: Sequence[int], recent_keys: int) -> Recovery:
    """Read all of it on a session that sees one instant."""
    owned = sorted(set(partitions))
    await connection.execute(_SETTINGS)
    heads = await read_heads(connection, owned)
    tail, changed = sift(await connection.fetch(_TAIL, owned))
    tail.sort(key=_PLACE)
    snapshot_seqs = {head.partition: head.snapshot_seq for head in heads}
    named = {
        (entry.partition, entry.reservation)
        for entry in tail
        if entry.reservation is not None and entry.reservation <= snapshot_seqs[entry.partition]
    }
    touched = _stocks_of(tail)
    touched.update(await _stocks_of_changed(connection, tail, named))
    rows = await read_stocks(connection, touched, named)
    resting = {(row[0], (row[1], row[2])): row[3] for row in await connection.fetch(_DUES, owned)}
    for stock in touched:
        resting.pop(stock, None)
    recent, changed_before = await _recent_keys(connection, owned, tail, recent_keys)
    changed += changed_before
    return Recovery(
        heads=heads,
        tail=tail,
        stocks=list(touched),
        rows=rows,
        recent_keys=_without(recent, changed),
        dues=[Due(partition, *stock, due_ms) for (partition, stock), due_ms in resting.items()],
        tentative=[(row[0], row[1], row[2]) for row in await connection.fetch(_TENTATIVE, owned)],
        changed=firsts(changed),
    )


def _stocks_of(tail: Iterable[Entry]) -> dict[tuple[int, StockKey], None]:
    return {
        (entry.partition, (entry.site, entry.sku)): None
        for entry in tail
        if entry.site is not None and entry.sku is not None
    }


async def _stocks_of_changed(
    connection: Connection, tail: Iterable[Entry], named: set[Number]
) -> dict[tuple[int, StockKey], None]:
    """Return where reservations are open that the tail changes without touching stock: some end sooner."""
    changed = {
        (entry.partition, entry.reservation)
        for entry in tail
        if entry.sku is None and entry.reservation is not None
    } & named
    if not changed:
        return {}
    arrays = [partition for partition, _ in changed], [number for _, number in changed]
    rows = await connection.fetch(_STOCKS_OF_RESERVATIONS, *arrays)
    return {(row[0], (row[1], row[2])): None for row in rows}


async def _recent_keys(
    connection: Connection, owned: list[int], tail: list[Entry], limit: int
) -> tuple[list[Entry], list[Changed]]:
    """Return the newest keyed entries: the tail's, then as many of each partition from before it.

    With them come those from before the tail that are not as they were written.
    """
    keyed = [entry for entry in tail if entry.key is not None]
    changed: list[Changed] = []
    if limit > 0 and len(keyed) < limit:
        share = -((len(keyed) - limit) // len(owned)) if owned else 0
        rows = await connection.fetch(_KEYED_BEFORE, owned, share, share * _SPARSE)
        before, changed = sift(rows)
        keyed.extend(before)
    keyed.sort(key=_AGE)
    return keyed[-limit:] if limit else [], changed


def _without(entries: list[Entry], changed: list[Changed]) -> list[Entry]:
    places = {(one.partition, one.seq) for one in changed}
    return [entry for entry in entries if _PLACE(entry) not in places] if places else entries

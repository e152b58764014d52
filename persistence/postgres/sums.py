"""What stretches of the ledger add up to: the sum of its entries, made by the database; what they lack.

It looks at kinds and quantities alone, and never at balances to get a sum, so that what the engine computed
and what the rows say of themselves can be held against it.
"""

# ruff: noqa: S608 - statements are put together from our own kinds' names; values travel as parameters

from engine.entries import EFFECTS
from engine.limits import QUANTITY_MAX
from persistence.balances import SUMMED_MAX, LotSum
from persistence.postgres.sessions import Connection


def _effect(index: int) -> str:
    """Return SQL for what one unit of a row adds to on hand (0), reserved (1) or held (2)."""
    whens = " ".join(
        f"WHEN '{kind}' THEN {effects[index]}" for kind, effects in EFFECTS.items() if effects[index]
    )
    return f"CASE kind {whens} ELSE 0 END"


# No quantity is beyond what a lot can hold. If a broken row's is, it counts as that much: the sum differs all
# the same, and stays within 64 bits.
_SUMS = f"""\
SELECT site, sku, location, lot, max(seq),
       sum(on_hand_by)::bigint, sum(reserved_by)::bigint, sum(held_by)::bigint,
       min(on_hand - on_hand_sum), min(reserved - reserved_sum), min(held - held_sum),
       max(on_hand - on_hand_sum), max(reserved - reserved_sum), max(held - held_sum)
FROM (
    SELECT *,
           (sum(on_hand_by) OVER upto)::bigint AS on_hand_sum,
           (sum(reserved_by) OVER upto)::bigint AS reserved_sum,
           (sum(held_by) OVER upto)::bigint AS held_sum
    FROM (
        SELECT seq, site, sku, location, lot, on_hand, reserved, held,
               units * {_effect(0)} AS on_hand_by,
               CASE WHEN reservation IS NULL THEN 0 ELSE units * {_effect(1)} END AS reserved_by,
               units * {_effect(2)} AS held_by
        FROM ledger
        CROSS JOIN LATERAL (
            SELECT least(greatest(quantity, -{QUANTITY_MAX}), {QUANTITY_MAX}) AS units
        ) AS bounded
        WHERE partition = $1 AND seq > $2 AND seq <= $3 AND sku IS NOT NULL
    ) AS change
    WINDOW upto AS (PARTITION BY site, sku, location, lot ORDER BY seq)
) AS summed
GROUP BY site, sku, location, lot
"""


_NEXT = """\
SELECT coalesce(min(place) FILTER (WHERE seq <> place), $2::bigint + count(*) + 1)
FROM (
    SELECT seq, $2::bigint + row_number() OVER (ORDER BY seq) AS place FROM ledger
    WHERE partition = $1 AND seq > $2 AND seq <= $3
) AS numbered
"""
"""The first sequence number after $2 without a row: one after $3 where none is missing."""


async def read_sums(connection: Connection, partition: int, after_seq: int, until_seq: int) -> list[LotSum]:
    """Return what a stretch of the ledger adds up to, lot by lot."""
    assert until_seq - after_seq <= SUMMED_MAX, "too many entries to be added up at once"
    rows = await connection.fetch(_SUMS, partition, after_seq, until_seq)
    return [LotSum._make((*row[:8], row[8:11], row[11:14])) for row in rows]


async def read_missing(connection: Connection, partition: int, after_seq: int, until_seq: int) -> int | None:
    """Return the first sequence number of a stretch of the ledger that has no row, if any."""
    found = int(await connection.fetchval(_NEXT, partition, after_seq, until_seq))
    return found if found <= until_seq else None

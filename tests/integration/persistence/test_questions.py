"""Questions to a ledger with many rows, and to one with gaps, on a real Postgres."""

import asyncpg
import pytest

from engine.entries import Entry
from persistence.ports import Ledger
from persistence.postgres import PostgresLedger, Sessions
from persistence.postgres.entries import _LAST_OF
from persistence.traced import Traced
from tests.contract.keeper import NOON_MS, received
from tests.integration.persistence.filled import execute
from tests.rows import copy

_MANY = 40_000


async def filled(url: str, *statements: str) -> None:
    """Write many reserves of a thousand SKUs into one partition."""
    connection = await asyncpg.connect(url)
    await copy(
        connection,
        (
            received(1, seq, sku=f"SKU-{seq % 1000}", location="A", kind="stock_reserved", reservation=seq)
            for seq in range(1, _MANY + 1)
        ),
    )
    await connection.close()
    await execute(url, *statements)


@pytest.mark.parametrize("is_analyzed", [False, True])
async def test_what_changed_a_reservation_last_is_found_without_reading_the_partition(
    postgres_url: str, is_analyzed: bool
) -> None:
    """Fresh tables have no statistics: the plan must not need them."""
    await filled(postgres_url, *(["ANALYZE ledger"] if is_analyzed else []))
    seqs = list(range(10, 1_000, 10))
    count = len(seqs)
    connection = await asyncpg.connect(postgres_url)
    plan = await connection.fetch(
        f"EXPLAIN (ANALYZE, BUFFERS, FORMAT TEXT) {_LAST_OF}",
        [1] * count, seqs, [_MANY] * count,
        [1] * count, ["LDN"] * count, [f"SKU-{seq}" for seq in seqs], [_MANY - 1000] * count, [_MANY] * count,
        200,
    )  # fmt: skip
    await connection.close()
    text = "\n".join(row[0] for row in plan)
    assert "ledger_reservation_idx" in text, text
    assert "ledger_sku_idx" in text, text
    assert "ledger_pkey" not in text, text
    assert "Seq Scan" not in text, text


async def test_a_hundred_reservations_are_one_question(postgres_url: str) -> None:
    await filled(postgres_url)
    sessions = Sessions(postgres_url, "h1")
    ledger = await PostgresLedger.open(sessions)
    stock = ("LDN", "SKU-7")
    try:
        last = _MANY + 1
        await ledger.append(
            [received(1, last, sku="SKU-7", location="A", kind="stock_picked", reservation=7)]
        )
        asked = [Traced(1, seq, (stock,), seq, last) for seq in range(7, _MANY, 1000)]
        assert [entry.seq for entry in await ledger.last_of(asked, 200)] == [last]
    finally:
        await ledger.close()
        await sessions.close()


async def test_an_instant_is_found_where_entries_are_missing(postgres_url: str) -> None:
    """Wherever halving looks: who has to find the gap can still ask what was before it."""
    sessions = Sessions(postgres_url, "h1")
    ledger: Ledger = await PostgresLedger.open(sessions)
    try:
        entries: list[Entry] = [received(1, seq) for seq in range(1, 34)]
        await ledger.append(entries)
        await execute(postgres_url, "DELETE FROM ledger WHERE partition = 1 AND seq IN (1, 9, 17, 18, 25)")
        left = [entry.seq for entry in await ledger.read(1, 0, 100)]
        for seq in range(35):
            expected = max((one for one in left if one <= seq), default=0)
            assert await ledger.seq_at(1, NOON_MS + seq) == expected, seq
    finally:
        await ledger.close()
        await sessions.close()

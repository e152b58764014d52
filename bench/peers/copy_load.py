"""The bare limits of the ledger: COPY into a table made as the product makes it, and a one-row commit.

Nothing decides, nothing answers, nothing is broadcast: rows that are ready are written and are durable.
"""

from collections import Counter
from time import perf_counter, time_ns
from typing import Any

import asyncpg

from bench.samples import percentile
from bench.workloads import ON_HAND, Workload, key_from, keys_of
from engine.entries import Entry, Kind
from persistence.checksums import COLUMNS, with_checksums

_INSERT = (
    f"INSERT INTO ledger ({', '.join(COLUMNS)})"  # noqa: S608 - our own columns' names
    f" VALUES ({', '.join(f'${number}' for number in range(1, len(COLUMNS) + 1))})"
)


class CopyLoad:
    """Writes rows as the engine makes them for a workload, on one connection; each batch is a commit."""

    def __init__(self, connection: Any, partitions: int) -> None:  # noqa: ANN401 - asyncpg ships no types
        self._connection = connection
        self._partitions = partitions
        self._heads: Counter[int] = Counter()

    @classmethod
    async def connect(cls, postgres_url: str, partitions: int) -> "CopyLoad":
        """Return a load on a database that the product's migration made and nobody else writes to."""
        return cls(await asyncpg.connect(postgres_url), partitions)

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()

    async def copy(self, workload: Workload, salt: int, *, batches: int, batch_rows: int) -> dict[str, Any]:
        """Write batches by COPY; only the writing is timed."""
        rows = self._rows(workload, salt, batches * batch_rows)
        parts = [rows[start : start + batch_rows] for start in range(0, len(rows), batch_rows)]
        began_s = perf_counter()
        for part in parts:
            await self._copy(part)
        return {"rows": len(rows), "rows_s": len(rows) / (perf_counter() - began_s)}

    async def commits(self, workload: Workload, salt: int, *, commits: int) -> dict[str, Any]:
        """Write row by row, by COPY and by a prepared INSERT in turn; each by itself is a commit."""
        statement = await self._connection.prepare(_INSERT)
        copies, inserts = [], []
        rows = self._rows(workload, salt, 2 * commits)
        for first, second in zip(rows[::2], rows[1::2], strict=True):
            began_s = perf_counter()
            await self._copy([first])
            between_s = perf_counter()
            await statement.fetch(*second)
            copies.append(between_s - began_s)
            inserts.append(perf_counter() - between_s)
        return {
            "rows": len(rows),
            "copy_p50_ms": percentile(sorted(copies), 0.5) * 1000,
            "insert_p50_ms": percentile(sorted(inserts), 0.5) * 1000,
        }

    async def _copy(self, rows: list[tuple[Any, ...]]) -> None:
        await self._connection.copy_records_to_table("ledger", records=rows, columns=COLUMNS)

    def _rows(self, workload: Workload, salt: int, count: int) -> list[tuple[Any, ...]]:
        """Return what the product would write for `count` reserves, with its checksums."""
        sequence = workload.sequence(salt)
        keys = keys_of(salt)
        at_ms = time_ns() // 1_000_000
        rows = []
        for number in range(count):
            index = sequence[number % len(sequence)]
            partition = workload.partition(index, self._partitions)
            self._heads[partition] += 1
            seq = self._heads[partition]
            rows.append(
                Entry(
                    partition=partition,
                    seq=seq,
                    at_ms=at_ms,
                    kind=Kind.STOCK_RESERVED.value,
                    key=key_from(keys),
                    fingerprint=keys.getrandbits(63),
                    span=1,
                    site=workload.name,
                    sku=workload.sku(index),
                    location=workload.location(index),
                    lot="",
                    quantity=1,
                    on_hand=ON_HAND,
                    reserved=seq,
                    held=0,
                    reservation=seq,
                    line=0,
                    counterpart=None,
                    expires_at_ms=None,
                    reference=None,
                    reason=None,
                    detail=None,
                )
            )
        return with_checksums(rows)

"""Rows of the ledger that a test writes or changes behind the product's back, with checksums that hold.

Who changes a row to show what else would notice it seals it: else its checksum is noticed first.
"""

from collections.abc import Iterable
from typing import Any

import asyncpg

from engine.entries import Entry
from persistence.checksums import COLUMNS, checksum, sift, with_checksums
from persistence.memory.database import PartitionTables


def seal(tables: PartitionTables) -> None:
    """Give every entry of a partition in memory the checksum of what it says now."""
    tables.checksums.update((entry.seq, checksum(entry)) for entry in tables.ledger)


async def seal_database(url: str) -> None:
    """Do the same with every row on Postgres."""
    connection = await asyncpg.connect(url)
    rows = await connection.fetch(f"SELECT {', '.join(COLUMNS)} FROM ledger")  # noqa: S608 - our own columns
    await connection.executemany(
        "UPDATE ledger SET checksum = $3 WHERE partition = $1 AND seq = $2",
        [(one.partition, one.seq, one.own) for one in sift(rows)[1]],
    )
    await connection.close()


async def copy(connection: Any, entries: Iterable[Entry]) -> None:
    """Write entries as an owner does, on a connection of the test's own."""
    await connection.copy_records_to_table("ledger", records=with_checksums(entries), columns=COLUMNS)

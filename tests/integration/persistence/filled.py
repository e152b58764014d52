"""A database with a ledger, a snapshot behind it and a tail in one partition; and SQL to change it by."""

import asyncpg

from engine.commands import ExtendReservation, HoldStock, PickReservation
from engine.partitioning import partition_of
from persistence.postgres import PostgresLedger, PostgresSnapshots, Sessions
from tests.conftest import PARTITIONS
from tests.contract.keeper import Keeper

NUMBER = partition_of("LDN", "tea", PARTITIONS)
OTHER = next(
    sku for sku in map(str, range(999)) if sku != "tea" and partition_of("LDN", sku, PARTITIONS) == NUMBER
)


async def fill(url: str) -> None:
    """Leave a ledger with a snapshot behind it and a tail."""
    sessions = Sessions(url, "h1")
    ledger = await PostgresLedger.open(sessions)
    keeper = Keeper(NUMBER, ledger, PostgresSnapshots(sessions))
    try:
        await keeper.take_over()
        await keeper.receive(9, key="first")
        await keeper.receive(4, OTHER, "B-2", lot="L1", key="second")
        one = await keeper.reserve(("tea", 3), (OTHER, 2), ttl_s=60)
        await keeper.do(PickReservation(one.number, one.opened_at_ms, 1, "tea"))
        await keeper.do(HoldStock("LDN", "tea", "A-1", 2, None, "damage"))
        await keeper.save()
        await keeper.do(ExtendReservation(one.number, one.opened_at_ms, 90))
        await keeper.receive(1)
    finally:
        await ledger.close()
        await sessions.close()


async def execute(url: str, *statements: str) -> None:
    """Do what only a superuser at a prompt does."""
    connection = await asyncpg.connect(url)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()

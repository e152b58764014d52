"""Loading for all partitions together: what belongs to whom."""

import asyncio

from actors.loader import Loader
from engine.partitioning import partition_of
from persistence.memory import MemoryDatabase, MemoryLedger, MemorySnapshots
from tests.component.actors.harm import fill
from tests.component.actors.world import PARTITIONS, number_of, world

TEA = ("LON", "TEA")


async def test_a_partition_that_was_claimed_again_meanwhile_gets_an_answer_of_its_own_time() -> None:
    """Its former owner asks up to an earlier entry: neither is told what is the other's."""
    async with world() as w:
        await fill(w)
        number = number_of("TEA")
        loader = Loader(w.snapshots[0], w.ledgers[0], w.hosts[0].host.spawn)
        last = len(w.database.partitions[number].ledger)
        before, now = await asyncio.gather(
            loader.load(number, (), {TEA}, 3), loader.load(number, (), {TEA}, last)
        )
        assert max(lot.seq for lot in before.last[TEA]) == 3
        assert {lot.location: lot.seq for lot in now.last[TEA]} != {}
        assert len(now.last[TEA]) == len({(lot.location, lot.lot) for lot in now.last[TEA]})
        assert max(lot.seq for lot in now.last[TEA]) > 3


async def test_several_partitions_are_one_question() -> None:
    async with world() as w:
        await fill(w)
        await w.hosts[0].snapshotter.flush()
        loader = Loader(w.snapshots[0], w.ledgers[0], w.hosts[0].host.spawn)
        asked = w.snapshots[0].loads
        keys = [("LON", sku) for sku in ("TEA", "JAM", "RUM")]
        numbers = [partition_of(*key, PARTITIONS) for key in keys]
        found = await asyncio.gather(
            *(loader.load(number, {key}, {key}, 99) for number, key in zip(numbers, keys, strict=True))
        )
        assert w.snapshots[0].loads == asked + 1
        for key, loaded in zip(keys, found, strict=True):
            assert {(row.site, row.sku) for row in loaded.rows.lots} == {key}
            assert set(loaded.last) == {key}


async def test_nothing_is_known_of_what_never_was() -> None:
    database = MemoryDatabase(1)
    tasks: list[asyncio.Task[None]] = []
    loader = Loader(
        MemorySnapshots(database),
        MemoryLedger(database),
        lambda work: tasks.append(asyncio.ensure_future(work)),
    )
    loaded = await loader.load(0, {TEA}, {TEA}, 0)
    assert (loaded.rows.lots, loaded.last) == ([], {})
    await asyncio.gather(*tasks)

"""What every store of wishes keeps to."""

import asyncio

from persistence.placement import Granted, Wish
from tests.contract.conftest import Storage


async def test_nothing_is_wished_and_nothing_granted_at_first(storage: Storage) -> None:
    assert await storage.wishes.wished() == Wish(0, (), 0, None)
    assert await storage.wishes.granted() == Granted(0, 0, 0, 0, 0.0)


async def test_each_wish_adds_to_those_before(storage: Storage) -> None:
    assert await storage.wishes.isolate(("LON", "TEA")) == 1
    assert await storage.wishes.isolate(("LON", "MUG")) == 2
    assert await storage.wishes.spread(4) == 3
    assert await storage.wishes.join(("LON", "TEA")) == 4
    assert await storage.wishes.join(("LON", "TEA")) == 5
    assert await storage.wishes.wished() == Wish(5, (("LON", "MUG"),), 3, 4)


async def test_wishes_of_the_same_moment_are_all_kept(storage: Storage) -> None:
    numbers = await asyncio.gather(*(storage.wishes.isolate(("LON", f"SKU-{n}")) for n in range(4)))
    assert sorted(numbers) == [1, 2, 3, 4]
    assert len((await storage.wishes.wished()).isolated) == 4


async def test_what_is_granted_is_what_was_told_last(storage: Storage) -> None:
    await storage.wishes.grant(Granted(0, 1, 0, 0, 0.0))
    await storage.wishes.grant(Granted(1, 1, 5, 3, 12.5))
    assert await storage.wishes.granted() == Granted(1, 1, 5, 3, 12.5)

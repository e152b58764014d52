"""What every directory keeps to."""

from persistence.placement import Placement
from tests.contract.conftest import Storage
from tests.contract.keeper import NOON_MS


async def test_a_partition_is_where_it_was_claimed_last(storage: Storage) -> None:
    assert await storage.directory.placements() == []
    await storage.snapshots.claim("h1", "here:1", [1, 2], NOON_MS)
    await storage.snapshots.claim("h2", "there:2", [2], NOON_MS)
    assert await storage.directory.placements() == [
        Placement(1, "h1", "here:1", 1),
        Placement(2, "h2", "there:2", 2),
    ]

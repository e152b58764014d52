"""What every store of cursors keeps to."""

from tests.contract.conftest import Storage


async def test_a_cursor_starts_at_nothing_and_moves_on(storage: Storage) -> None:
    assert await storage.cursors.cursors([1, 2]) == {1: 0, 2: 0}
    await storage.cursors.move_cursors({1: 5})
    assert await storage.cursors.cursors([1, 2]) == {1: 5, 2: 0}


async def test_a_cursor_goes_back_only_when_told(storage: Storage) -> None:
    await storage.cursors.move_cursors({1: 5, 2: 5})
    await storage.cursors.move_cursors({1: 3, 2: 7})
    assert await storage.cursors.cursors([1, 2]) == {1: 5, 2: 7}
    await storage.cursors.move_cursors({1: 3}, back=True)
    assert await storage.cursors.cursors([1]) == {1: 3}


async def test_nothing_moves_when_nothing_is_given(storage: Storage) -> None:
    await storage.cursors.move_cursors({})
    assert await storage.cursors.cursors([]) == {}

"""Keys that are older than the host's window: repeats get the first answer, whatever the stock is by now."""

import pytest

from actors.outcomes import Answered
from engine.commands import PickStock
from tests.component.actors.world import World, code_of, view_of, world


async def forget_all(w: World) -> None:
    for _ in range(20):
        await w.receive("OTHER", 1)


@pytest.fixture
async def w() -> World:
    async with world(key_window=8) as made:
        yield made


async def test_a_reservation_of_what_is_sold_out_by_now(w: World) -> None:
    await w.receive("TEA", 5)
    first = view_of(await w.reserve("TEA", 5, key="old"))
    await forget_all(w)
    again = await w.reserve("TEA", 5, key="old")
    assert isinstance(again, Answered)
    assert again.replayed
    assert again.view == first


async def test_a_pick_of_what_is_picked_already(w: World) -> None:
    await w.receive("TEA", 5)
    await w.receive("MUG", 5)
    alone = view_of(await w.reserve("TEA", 5))["id"]

    async def pick(key: str) -> object:
        return await w.reservations.pick(
            alone, quantity=None, sku=None, location=None, lot=None, short_reason=None, key=key
        )

    first = await pick("old")
    await forget_all(w)
    again = await pick("old")
    assert isinstance(first, Answered)
    assert isinstance(again, Answered)
    assert again.replayed
    assert again.view == first.view
    assert code_of(await pick("new")) == "reservation_resolved"


async def test_units_that_are_taken_once_and_asked_for_twice_at_the_same_time(w: World) -> None:
    await w.receive("TEA", 1)
    await forget_all(w)
    take = PickStock("LON", "TEA", 1)
    await w.ask(take, "old")
    await forget_all(w)
    asked = [w.ask(take, "old"), w.ask(take, "old"), w.ask(take, "new"), w.ask(take, "new")]
    outcomes = [await one for one in asked]
    assert [isinstance(outcome, Answered) for outcome in outcomes] == [True, True, False, False]


async def test_a_refusal_stays_a_refusal_and_other_bodies_are_refused(w: World) -> None:
    await w.receive("TEA", 5)
    await w.reserve("TEA", 5, key="old")
    await forget_all(w)
    assert code_of(await w.reserve("TEA", 4, key="old")) == "idempotency_key_reused"
    assert code_of(await w.reserve("TEA", 1, key="other")) == "insufficient_stock"
    assert code_of(await w.reserve("TEA", 1, key="other")) == "insufficient_stock"

"""The repeat of a reservation over several partitions is its first answer, whatever has become of it."""

import pytest

from actors.outcomes import Answered
from actors.queries import RecallReservation
from engine.commands import MoveStock, ReserveLine
from engine.partitioning import reservation_address
from engine.refusals import Refusal, Refused
from tests.component.actors.world import World, number_of, skus_in, view_of, world

SKUS = [skus_in(number, 1)[0] for number in (2, 5, 9)]
LINES = [ReserveLine("LON", sku, 3, index=index) for index, sku in enumerate(SKUS)]


async def reserve(w: World) -> Answered:
    outcome = await w.reservations.reserve(LINES, ttl_s=60, reference="r", partial=False, key="first")
    assert isinstance(outcome, Answered)
    return outcome


@pytest.mark.parametrize("fails_over", [False, True])
async def test_what_has_moved_and_was_picked_since_is_shown_as_it_was(fails_over: bool) -> None:
    async with world() as w:
        for sku in SKUS:
            await w.receive(sku, 3)
        first = await reserve(w)
        for sku in SKUS:
            view_of(await w.ask(MoveStock("LON", sku, "A", "B", 2)))
        picked = await w.reservations.pick(
            first.view["id"], quantity=1, sku=SKUS[1], location=None, lot=None, short_reason=None, key="pick"
        )
        assert view_of(picked)["state"] == "part_picked"
        if fails_over:
            await w.hosts[0].snapshotter.flush()
            await w.host("second", recovered_keys=0)
        assert await reserve(w) == Answered(first.view, True)


async def test_only_a_reservation_is_recalled() -> None:
    async with world() as w:
        await w.receive(SKUS[0], 3)
        made = reservation_address(view_of(await w.reserve(SKUS[0], 1))["id"])
        assert made is not None
        number = number_of(SKUS[0])
        for query in (
            RecallReservation(made.number + 1, made.opened_at_ms),
            RecallReservation(made.number - 1, made.opened_at_ms),
            RecallReservation(made.number, made.opened_at_ms + 1),
        ):
            outcome = await w.gateway.query(number, query)
            assert isinstance(outcome, Refused)
            assert outcome.code == Refusal.RESERVATION_NOT_FOUND
        found = view_of(await w.gateway.query(number, RecallReservation(made.number, made.opened_at_ms)))
        assert found["state"] == "held"

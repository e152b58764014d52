"""Reservations over several partitions that only other undecided attempts stand against."""

import asyncio
from collections.abc import Awaitable, Callable

from actors.outcomes import Outcome
from actors.reservations import SpanningReservations
from engine.commands import AbandonReservation, Command, ReserveLine, ReserveTentatively, ReserveTogether
from engine.partitioning import reservation_address
from tests.component.actors.spanning import SKUS, fill, lines_of, reserve, reserved
from tests.component.actors.world import World, code_of, number_of, view_of, world


def questions(w: World) -> list[Command]:
    """Have the questions to home noted from now on, by which an attempt opens."""
    submit, asked = w.gateway.submit, []

    def noted(partition: int, command: Command, key: str) -> asyncio.Future[Outcome]:
        if isinstance(command, ReserveTogether) and not command.opened_seq:
            asked.append(command)
        return submit(partition, command, key)

    w.gateway.submit = noted  # type: ignore[method-assign]
    return asked


def resting(w: World, sleep: Callable[[float], Awaitable[None]]) -> SpanningReservations:
    return SpanningReservations(w.gateway, tentative_ttl_s=600.0, sleep=sleep)


async def undecided(w: World, sku: str, quantity: int) -> tuple[int, int]:
    """Hold units for an attempt whose coordinator takes its time; return how the share is named."""
    line = ReserveLine("LON", sku, quantity)
    share = ReserveTentatively("other", number_of(SKUS[0]), 1, (line,), ttl_ms=600_000)
    view = view_of(await w.gateway.submit(number_of(sku), share, "other hold"))
    address = reservation_address(view["id"])
    assert address is not None
    return address[1:]


async def test_home_is_asked_once_for_each_attempt_and_once_more_before_the_caller_is_refused() -> None:
    async with world() as w:
        await fill(w, 4)
        await undecided(w, SKUS[1], 4)
        asked, slept = questions(w), []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)

        outcome = await resting(w, sleep).reserve(
            lines_of(), ttl_s=None, reference=None, partial=False, key="mine"
        )
        assert code_of(outcome) == "insufficient_stock"
        assert len(slept) == 5
        assert len(asked) == 7
        assert await reserved(w) == [0, 4, 0]


async def test_an_attempt_that_succeeds_after_another_was_given_up_asked_home_twice() -> None:
    async with world() as w:
        await fill(w, 4)
        other = await undecided(w, SKUS[1], 4)
        asked = questions(w)

        async def given_up(_: float) -> None:
            view_of(await w.gateway.submit(number_of(SKUS[1]), AbandonReservation(*other), "other abandon"))

        outcome = await resting(w, given_up).reserve(
            lines_of(), ttl_s=None, reference=None, partial=False, key="mine"
        )
        view_of(outcome)
        assert len(asked) == 2
        assert await reserved(w) == [1, 1, 1]


async def test_what_the_same_key_has_got_meanwhile_is_its_answer() -> None:
    """A repeat that came by another API has got through while this one rested."""
    async with world() as w:
        await fill(w, 4)
        other = await undecided(w, SKUS[1], 4)

        async def overtaken(_: float) -> None:
            view_of(await w.gateway.submit(number_of(SKUS[1]), AbandonReservation(*other), "other abandon"))
            view_of(await reserve(w, lines_of(), "mine"))

        again = await resting(w, overtaken).reserve(
            lines_of(), ttl_s=None, reference=None, partial=False, key="mine"
        )
        view_of(again)
        assert again.replayed
        assert await reserved(w) == [1, 1, 1]


async def test_a_shortage_that_no_attempt_will_mend_is_refused_at_once() -> None:
    async with world() as w:
        await fill(w, 4)
        asked = questions(w)
        outcome = await reserve(w, [*lines_of()[:2], ReserveLine("LON", SKUS[2], 5, index=2)], "mine")
        assert code_of(outcome) == "insufficient_stock"
        assert len(asked) == 2

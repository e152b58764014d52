"""Reservations that span partitions: all lines or none, whoever dies when."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from actors.outcomes import Answered, Outcome
from actors.reservations import SpanningReservations
from engine.commands import Command, ReserveLine, ReserveTogether
from tests.component.actors.spanning import (
    SKUS,
    KilledError,
    MortalGateway,
    fill,
    lines_of,
    reserve,
    reserved,
    sweep,
)
from tests.component.actors.world import (
    World,
    code_of,
    until,
    view_of,
    world,
)


async def with_its_decision_held_up(w: World, lines: list[ReserveLine], key: str) -> asyncio.Task[Outcome]:
    """Reserve, and return when the commit of the decision waits at the first ledger's gate."""
    submit, gate = w.gateway.submit, w.ledgers[0].gate

    def submit_and_hold(partition: int, command: Command, key: str) -> asyncio.Future[Outcome]:
        if isinstance(command, ReserveTogether) and command.opened_seq:
            gate.hold()
        return submit(partition, command, key)

    w.gateway.submit = submit_and_hold  # type: ignore[method-assign]
    asked = asyncio.create_task(reserve(w, lines, key))
    await until(lambda: gate.waiting == 1)
    return asked


async def test_the_steps_of_a_coordinator_are_known() -> None:
    async with world() as w:
        await fill(w)
        gateway = MortalGateway(w, dies_at=100, sends_it=True)
        coordinator = SpanningReservations(gateway)
        outcome = await coordinator.reserve(lines_of(), ttl_s=None, reference=None, partial=False, key="all")
        view_of(outcome)
        # Ask for the key, hold, hold, decide, confirm, confirm: the tests below kill it at each.
        assert len(gateway.sent) == 6


@pytest.mark.parametrize("sends_it", [True, False])
@pytest.mark.parametrize("dies_at", [1, 2, 3, 4, 5, 6])
async def test_a_coordinator_killed_at_any_step_leaves_all_lines_or_none(
    dies_at: int, sends_it: bool
) -> None:
    async with world() as w:
        await fill(w)
        gateway = MortalGateway(w, dies_at=dies_at, sends_it=sends_it)
        coordinator = SpanningReservations(gateway, tentative_ttl_s=2.0)
        with contextlib.suppress(KilledError):  # Confirmations are not waited for one by one.
            await coordinator.reserve(lines_of(4), ttl_s=None, reference=None, partial=False, key="all")
        assert gateway.is_dead
        await asyncio.gather(*gateway.sent)
        await sweep(w)
        is_decided = dies_at > 4 or (dies_at == 4 and sends_it)
        assert await reserved(w) == ([4, 4, 4] if is_decided else [0, 0, 0])
        # Whoever asks again with the same key gets a definite answer, and everything once.
        again = await reserve(w, lines_of(4), "all")
        assert isinstance(again, Answered)
        assert again.replayed == is_decided
        assert await reserved(w) == [4, 4, 4]


@pytest.mark.parametrize("dies_at", [3, 4, 5])
async def test_a_takeover_after_the_coordinator_died_leaves_all_lines_or_none(dies_at: int) -> None:
    async with world() as w:
        await fill(w)
        gateway = MortalGateway(w, dies_at=dies_at, sends_it=True)
        coordinator = SpanningReservations(gateway, tentative_ttl_s=2.0)
        with contextlib.suppress(KilledError):  # Confirmations are not waited for one by one.
            await coordinator.reserve(lines_of(4), ttl_s=None, reference=None, partial=False, key="all")
        assert gateway.is_dead
        await asyncio.gather(*gateway.sent)
        await w.hosts[0].snapshotter.flush()
        await w.host("second")
        w.now_ms += 2_001
        await until(lambda: not w.hosts[1].host.in_flight)
        await sweep(w)
        assert await reserved(w) in ([4, 4, 4], [0, 0, 0])


async def test_a_decision_whose_answer_was_lost_is_confirmed_not_abandoned() -> None:
    async with world() as w:
        await fill(w)
        asked = await with_its_decision_held_up(w, lines_of(4), "all")
        for lane in list(w.hosts[0].lanes.lanes):
            lane.close()  # The answer has nowhere to go: the gateway sends the decision again.
        await until(lambda: w.hosts[0].host.in_flight >= 2)
        w.ledgers[0].gate.release()
        assert view_of(await asked)["state"] == "held"
        await sweep(w)
        assert await reserved(w) == [4, 4, 4]


@pytest.mark.parametrize("overload", [True, False])
async def test_a_decision_that_may_have_happened_is_not_undone_by_a_host_that_is_busy(overload: bool) -> None:
    async with world() as w:
        await fill(w)
        asked = await with_its_decision_held_up(w, lines_of(4), "all")
        host = w.hosts[0].host
        if overload:
            object.__setattr__(host.options, "max_in_flight", 0)
        else:
            host.is_stopping = True
        for lane in list(w.hosts[0].lanes.lanes):
            lane.close()
        with pytest.raises(Exception, match="may have happened"):
            await asked
        w.ledgers[0].gate.release()
        object.__setattr__(host.options, "max_in_flight", 1_000)
        host.is_stopping = False
        await sweep(w)
        assert await reserved(w) == [4, 4, 4]


async def test_two_that_want_the_same_last_units_do_not_both_fail_and_do_not_both_win() -> None:
    async with world() as w:
        for round_ in range(5):
            await fill(w, 1)
            outcomes = await asyncio.gather(
                *(reserve(w, lines_of(1), f"round {round_} caller {caller}") for caller in range(2))
            )
            assert sorted(isinstance(outcome, Answered) for outcome in outcomes) == [False, True]
            assert await reserved(w) == [round_ + 1] * 3


async def test_one_that_waited_for_an_attempt_that_gave_up_wins() -> None:
    async with world() as w:
        await fill(w, 1)
        await w.receive("EXTRA", 0 + 1)
        losing = reserve(w, [*lines_of(1), ReserveLine("LON", "NONE", 1, index=3)], "loser")
        lost, won = await asyncio.gather(losing, reserve(w, lines_of(1), "winner"))
        assert code_of(lost) == "insufficient_stock"
        assert view_of(won)["state"] == "held"
        assert await reserved(w) == [1, 1, 1]


async def test_a_refused_request_may_succeed_later_under_its_key() -> None:
    async with world() as w:
        await fill(w, 1)
        for sku in SKUS:
            assert code_of(await reserve(w, lines_of(2), "later")) == "insufficient_stock"
            await w.receive(sku, 1)
        assert view_of(await reserve(w, lines_of(2), "later"))["state"] == "held"
        assert await reserved(w) == [2, 2, 2]


async def test_a_repeat_gets_the_first_answer_and_another_body_is_refused() -> None:
    async with world() as w:
        await fill(w)
        first = await reserve(w, lines_of(2), "all", reference="order")
        assert await reserve(w, lines_of(2), "all", reference="order") == Answered(view_of(first), True)
        assert code_of(await reserve(w, lines_of(3), "all", reference="order")) == "idempotency_key_reused"
        await w.hosts[0].snapshotter.flush()
        await w.host("second")
        assert await reserve(w, lines_of(2), "all", reference="order") == Answered(view_of(first), True)
        assert await reserved(w) == [2, 2, 2]


async def test_the_same_request_sent_many_times_at_once_reserves_once() -> None:
    async with world() as w:
        await fill(w)
        outcomes = await asyncio.gather(*(reserve(w, lines_of(2), "all") for _ in range(10)))
        assert len({view_of(outcome)["id"] for outcome in outcomes}) == 1
        await sweep(w)
        assert await reserved(w) == [2, 2, 2]


@pytest.mark.parametrize("empty", range(3))
async def test_a_partial_one_takes_what_there_is(empty: int) -> None:
    async with world() as w:
        for position, sku in enumerate(SKUS):
            if position != empty:
                await w.receive(sku, position + 1)
        view = view_of(await reserve(w, lines_of(5), "part", partial=True))
        expected = [0 if position == empty else position + 1 for position in range(3)]
        await sweep(w)
        have = [(await w.stock(sku))[1] if position != empty else 0 for position, sku in enumerate(SKUS)]
        assert have == expected
        assert sum(line["quantity"] for line in view["lines"]) == sum(expected)
        assert code_of(await reserve(w, lines_of(5), "none", partial=True)) == "insufficient_stock"


Change = Callable[[World, str], Awaitable[Outcome]]

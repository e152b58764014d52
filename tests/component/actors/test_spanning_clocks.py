"""Reservations that span partitions do not depend on what clocks say, nor on who owns home when."""

import asyncio
import contextlib
from typing import Any

import pytest

from actors.outcomes import Outcome
from actors.queries import Query
from actors.reservations import SpanningReservations
from engine.commands import Command, ReserveTogether
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
from tests.component.actors.world import World, number_of, until, view_of, world

HOUR_MS = 3_600_000


@pytest.mark.parametrize("ahead", [0, 1, 2])
async def test_a_partition_whose_time_is_an_hour_ahead_reserves_with_the_others(ahead: int) -> None:
    async with world() as w:
        await fill(w)
        w.now_ms += HOUR_MS
        await w.receive(SKUS[ahead], 1)
        w.now_ms -= HOUR_MS
        for n in range(3):
            assert view_of(await reserve(w, lines_of(), f"all {n}"))["state"] == "held"
        assert await reserved(w) == [3, 3, 3]


@pytest.mark.parametrize("step_ms", [HOUR_MS, -HOUR_MS])
@pytest.mark.parametrize("at", [2, 4])
async def test_a_clock_that_steps_during_an_attempt_refuses_nobody(at: int, step_ms: int) -> None:
    async with world() as w:
        await fill(w)
        submit, sent = w.gateway.submit, 0

        def submit_and_step(partition: int, command: Command, key: str) -> asyncio.Future[Outcome]:
            nonlocal sent
            sent += 1
            if sent == at:
                w.now_ms += step_ms
                w.hosts[0].clockwork.settle_overdue()
            return submit(partition, command, key)

        w.gateway.submit = submit_and_step  # type: ignore[method-assign]
        assert view_of(await reserve(w, lines_of(), "all"))["state"] == "held"
        await sweep(w)
        assert await reserved(w) == [1, 1, 1]


async def leave_undecided(w: World, ttl_s: float) -> None:
    """Hold two shares for a coordinator that is killed before it decides."""
    gateway = MortalGateway(w, dies_at=4, sends_it=False)
    coordinator = SpanningReservations(gateway, tentative_ttl_s=ttl_s)
    with contextlib.suppress(KilledError):
        await coordinator.reserve(lines_of(), ttl_s=None, reference=None, partial=False, key="all")
    await asyncio.gather(*gateway.sent)


async def test_shares_are_given_back_in_time_though_the_clock_was_set_back() -> None:
    async with world(tentative_sweep_s=0.01) as w:
        await fill(w)
        await leave_undecided(w, 0.5)
        w.now_ms -= HOUR_MS
        assert [(await w.stock(sku))[1] for sku in SKUS] == [0, 1, 1]
        state = w.hosts[0].host.owned[number_of(SKUS[1])].state
        await until(lambda: not state.tentative)
        await until(lambda: not w.hosts[0].clockwork._settling)
        assert await reserved(w) == [0, 0, 0]


async def test_an_attempt_is_closed_by_a_new_owner_of_home_and_tried_again() -> None:
    async with world() as w:
        await fill(w)
        submit, home = w.gateway.submit, number_of(SKUS[0])
        decisions: list[int] = []

        async def submit_after_takeover(partition: int, command: Command, key: str) -> Outcome:
            if isinstance(command, ReserveTogether) and command.opened_seq:
                decisions.append(command.opened_seq)
                if len(decisions) == 1:
                    await w.host("second", [home])
            return await submit(partition, command, key)

        w.gateway.submit = submit_after_takeover  # type: ignore[assignment, method-assign]
        assert view_of(await reserve(w, lines_of(), "all"))["state"] == "held"
        assert len(decisions) == 2
        await sweep(w)
        assert await reserved(w) == [1, 1, 1]


@pytest.mark.parametrize("takes_over", [True, False])
async def test_a_decision_that_comes_after_the_shares_were_given_back_is_refused(*, takes_over: bool) -> None:
    async with world() as w:
        await fill(w)
        submit, home = w.gateway.submit, number_of(SKUS[0])
        late: list[tuple[int, Command, str]] = []

        def submit_or_keep(partition: int, command: Command, key: str) -> asyncio.Future[Outcome]:
            if isinstance(command, ReserveTogether) and command.opened_seq:
                late.append((partition, command, key))
                raise KilledError
            return submit(partition, command, key)

        w.gateway.submit = submit_or_keep  # type: ignore[method-assign]
        with pytest.raises(KilledError):
            await reserve(w, lines_of(), "all")
        await sweep(w)
        if takes_over:
            await w.hosts[0].snapshotter.flush()  # The entry that closed the attempt is in no tail any more.
            await w.host("second", [home])
        (kept,) = late
        assert getattr(await submit(*kept), "code", None) == "attempt_abandoned"
        assert await reserved(w) == [0, 0, 0]


class HeldUp(MortalGateway):
    """A gateway whose reads are answered only once `go_on` is set."""

    def __init__(self, w: World) -> None:
        super().__init__(w, dies_at=-1, sends_it=True)
        self.go_on = asyncio.Event()

    async def query(self, partition: int, query: Query) -> Outcome:
        """See `Gateway.query`."""
        await self.go_on.wait()
        return await super().query(partition, query)


async def test_a_request_that_its_repeat_overtakes_is_shown_what_the_repeat_was() -> None:
    async with world() as w:
        await fill(w)
        made = view_of(await reserve(w, lines_of(), "all", ttl_s=60))
        slow = HeldUp(w)
        wish: dict[str, Any] = {"quantity": None, "sku": SKUS[0], "key": "give"}
        first = asyncio.create_task(SpanningReservations(slow).release(made["id"], **wish))
        await until(lambda: len(slow.sent) == 1 and slow.sent[0].done())  # It has noted its key at home.
        repeat = view_of(await w.reservations.release(made["id"], **wish))
        w.now_ms += 60_001
        w.hosts[0].clockwork.expire_due()
        assert await reserved(w) == [0, 0, 0]
        slow.go_on.set()
        assert view_of(await first) == repeat

"""One timer serves all waits: each that is late is cancelled, and no other."""

import asyncio

import pytest

from api.time_limit import TimeLimit


class Clock:
    """The time of the running loop, and so of its timers, held by the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loop = asyncio.get_running_loop()
        self.now_s = 0.0
        monkeypatch.setattr(self.loop, "time", lambda: self.now_s)

    async def reach(self, now_s: float) -> None:
        """Let everybody go on who can, then let it be so late, and again."""
        await self.turns()
        self.now_s = now_s
        await self.turns()

    async def turns(self) -> None:
        """Let everybody go on who can."""
        for _ in range(10):
            await asyncio.sleep(0)


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


async def waits(limit: TimeLimit, event: asyncio.Event) -> str:
    task = limit.begin()
    try:
        await event.wait()
    except asyncio.CancelledError:
        if limit.end(task):
            return "late"
        raise
    limit.end(task)
    return "in time"


async def test_each_is_late_at_its_own_deadline_and_not_at_an_earlier_ones(clock: Clock) -> None:
    limit, never = TimeLimit(10), asyncio.Event()
    first = asyncio.create_task(waits(limit, never))
    await clock.reach(4)
    second = asyncio.create_task(waits(limit, never))
    await clock.reach(9.9)
    assert not first.done()
    await clock.reach(10)
    assert first.done()
    assert first.result() == "late"
    assert not second.done()
    assert second.cancelling() == 0
    await clock.reach(13.9)
    assert not second.done()
    await clock.reach(14)
    assert second.done()
    assert second.result() == "late"


async def test_what_comes_in_time_is_left_alone_and_the_limit_goes_on_for_the_others(clock: Clock) -> None:
    limit, here, never = TimeLimit(10), asyncio.Event(), asyncio.Event()
    in_time = asyncio.create_task(waits(limit, here))
    await clock.reach(1)
    late = asyncio.create_task(waits(limit, never))
    await clock.reach(2)
    here.set()
    await clock.reach(10)
    assert in_time.result() == "in time"
    assert not late.done()
    await clock.reach(11)
    assert late.result() == "late"


async def test_when_nobody_waited_for_a_while_the_limit_begins_anew(clock: Clock) -> None:
    limit, here, never = TimeLimit(10), asyncio.Event(), asyncio.Event()
    here.set()
    assert await waits(limit, here) == "in time"
    await clock.reach(50)
    late = asyncio.create_task(waits(limit, never))
    await clock.reach(59.9)
    assert not late.done()
    await clock.reach(60)
    assert late.result() == "late"


async def test_a_task_that_somebody_else_cancels_is_cancelled(clock: Clock) -> None:
    limit = TimeLimit(10)
    task = asyncio.create_task(waits(limit, asyncio.Event()))
    await clock.reach(9.9)
    task.cancel()
    await clock.reach(10)
    assert task.cancelled()


@pytest.mark.parametrize("is_limit_first", [False, True])
async def test_a_task_that_somebody_else_cancels_at_the_same_time_is_cancelled(
    clock: Clock, is_limit_first: bool
) -> None:
    limit = TimeLimit(10)
    task = asyncio.create_task(waits(limit, asyncio.Event()))
    await clock.turns()
    clock.now_s = 10
    if not is_limit_first:
        task.cancel()
    limit._look(clock.loop)
    if is_limit_first:
        task.cancel()
    assert task.cancelling() == 2
    await clock.turns()
    assert task.cancelled()

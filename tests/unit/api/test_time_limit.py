"""One timer serves all waits: each that is late is cancelled, and no other."""

import asyncio

import pytest

from api.time_limit import TimeLimit


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


async def test_each_that_is_late_is_told_so_also_one_that_began_later() -> None:
    limit, never = TimeLimit(0.02), asyncio.Event()
    first = asyncio.create_task(waits(limit, never))
    await asyncio.sleep(0.01)
    second = asyncio.create_task(waits(limit, never))
    async with asyncio.timeout(5):
        assert await first == await second == "late"


async def test_what_comes_in_time_is_left_alone_and_the_limit_goes_on_for_the_others() -> None:
    limit, here, never = TimeLimit(0.05), asyncio.Event(), asyncio.Event()
    in_time, late = (asyncio.create_task(waits(limit, event)) for event in (here, never))
    here.set()
    async with asyncio.timeout(5):
        assert await in_time == "in time"
        assert await late == "late"
        assert await waits(limit, here) == "in time"


async def test_a_task_that_somebody_else_cancels_is_cancelled() -> None:
    limit, never = TimeLimit(30), asyncio.Event()
    task = asyncio.create_task(waits(limit, never))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

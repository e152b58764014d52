"""The simulated loop: time that jumps, processes that end, connections that break."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import pytest

from actors.frames import LANE_VERSION, encode, frame
from actors.lane_client import Lane
from actors.outcomes import Unavailable
from simulation.loop import Process, SimulatedLoop, Stuck
from simulation.network import Network, Weather


def simulated(play: Callable[[SimulatedLoop], Awaitable[object]]) -> object:
    loop = SimulatedLoop()
    loop.network = Network(loop, Random(1))
    return loop.run_until_complete(play(loop))


def test_an_hour_takes_no_time() -> None:
    async def play(loop: SimulatedLoop) -> float:
        await asyncio.gather(asyncio.sleep(3600), asyncio.sleep(60))
        return loop.time()

    assert simulated(play) == 3600


def test_a_run_in_which_nothing_can_happen_any_more_is_stuck() -> None:
    async def play(loop: SimulatedLoop) -> None:
        await loop.create_future()

    with pytest.raises(Stuck):
        simulated(play)


def test_a_process_that_is_killed_runs_nothing_more_not_even_its_last_words() -> None:
    said: list[str] = []

    async def speak() -> None:
        try:
            for n in range(10):
                said.append(str(n))
                await asyncio.sleep(1)
        finally:
            said.append("finally")

    async def play(loop: SimulatedLoop) -> None:
        process = Process("one")
        loop.spawn(process, speak())
        await asyncio.sleep(2.5)
        loop.kill(process)
        await asyncio.sleep(10)
        assert said == ["0", "1", "2"]

    simulated(play)


def test_a_paused_process_goes_on_where_it_was_and_its_timers_are_late() -> None:
    at_s: list[float] = []

    async def tick(loop: SimulatedLoop) -> None:
        for _ in range(3):
            await asyncio.sleep(1)
            at_s.append(loop.time())

    async def play(loop: SimulatedLoop) -> None:
        process = Process("one")
        task = loop.spawn(process, tick(loop))
        await asyncio.sleep(1.5)
        loop.pause(process)
        await asyncio.sleep(8.5)
        loop.go_on(process)
        await task

    simulated(play)
    assert at_s == [1, 10, 11]


def test_an_error_that_nobody_looks_at_is_told_unless_its_process_was_killed() -> None:
    async def fail(what: str, after_s: float) -> None:
        await asyncio.sleep(after_s)
        raise ValueError(what)

    async def play(loop: SimulatedLoop) -> None:
        killed = Process("killed")
        tasks = [loop.spawn(Process("one"), fail("unseen", 1)), loop.spawn(killed, fail("killed", 1))]
        seen = loop.spawn(None, fail("seen", 1))
        with pytest.raises(ValueError, match="seen"):
            await seen
        loop.kill(killed)
        assert all(task.done() for task in tasks)
        assert loop.errors(5.0) == []  # Somebody may still look.
        await asyncio.sleep(5)
        assert [str(fault) for fault in loop.errors(5.0)] == ["unseen"]
        assert loop.errors(0.0) == []
        assert not any(task in (*tasks, seen) for _, task in loop._tasks)

    simulated(play)


class Greeter(asyncio.Protocol):
    """Says welcome and leaves."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(frame(encode(["welcome", LANE_VERSION, "host"])))
        transport.close()


def test_a_lane_that_breaks_right_after_the_welcome_is_none() -> None:
    # Seed 62 of the first simulations: such a lane stayed open, and swallowed what was sent on it.
    async def play(loop: SimulatedLoop) -> None:
        loop.network.weather = Weather(jitter_s=0.0)  # Welcome and end arrive in the same turn.
        listener = await loop.create_server(Greeter, "127.0.0.1", 0)
        with pytest.raises(Unavailable, match="closed after the welcome"):
            await Lane.connect(f"127.0.0.1:{listener.port}", "token", lambda *_: None, lambda _: None)

    simulated(play)

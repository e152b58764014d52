"""Two ways to make load of anything that sends: closed loop and open loop.

In a closed loop so many requests are under way all the time: what is answered in a second is the capacity. It
slows down with its server and so hides what waiting costs. In an open loop each request is due at a time,
whatever became of those before it, and its latency counts from then: also while it waits for the generator,
for a connection, or in a full socket (Gil Tene's "coordinated omission" is counting from later).
"""

import asyncio
from abc import ABC, abstractmethod
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from bench.latency import Latencies
from bench.workloads import Workload

ACCEPTED, REFUSED, UNAVAILABLE, UNKNOWN, OPEN = b"arun."
"""How a request ended: done, not enough stock, turned away with nothing done, nobody knows, not yet."""

Draws = Sequence[tuple[int, ...]] | Sequence[int]
"""The bins of each request, or its only one; whoever needs more begins anew."""

Send = Callable[[int], None]
"""Sends the request of a number, and says later, by `Drive.ended`, how it ended. Never in the same call."""

_TICK_S = 0.0005
_DRAIN_S_MAX = 60.0


class Sender(Protocol):
    """What makes requests of a workload."""

    draws: Draws

    def send(self, number: int) -> None:
        """Send the request of a number."""


class Drive:
    """One load: when each request began, and how it ended."""

    def __init__(self) -> None:
        self.began_s = array("d")
        self.ended_s = array("d")
        self.outcomes = bytearray()
        self._under_way = 0
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._send: Send
        self._is_closed = False
        self._is_over = False

    def ended(self, number: int, outcome: int) -> None:
        """Note how a request ended; in a closed loop the next one follows."""
        self.ended_s[number] = perf_counter()
        self.outcomes[number] = outcome
        if self._is_closed and not self._is_over:
            self._begin(perf_counter())
        else:
            self._under_way -= 1
            if not self._under_way and self._is_over and not self._ended.done():
                self._ended.set_result(None)

    def failed(self, fault: BaseException) -> None:
        """End the load: what is measured did what it must not do."""
        if not self._ended.done():
            self._ended.set_exception(fault)

    def _begin(self, began_s: float) -> None:
        number = len(self.began_s)
        self.began_s.append(began_s)
        self.ended_s.append(0.0)
        self.outcomes.append(OPEN)
        self._send(number)

    async def closed(self, send: Send, *, in_flight: int, warm_s: float, seconds: float) -> "Window":
        """Keep so many requests under way: for `warm_s`, which do not count, then for `seconds`."""
        self._send, self._is_closed, self._under_way = send, True, in_flight
        for _ in range(in_flight):
            self._begin(perf_counter())
        await self._pass(warm_s)
        from_s = perf_counter()
        await self._pass(seconds)
        until_s = perf_counter()
        await self._drain()
        return Window(self, self.ended_s, from_s, until_s)

    async def open(self, send: Send, *, rate: float, warm_s: float, seconds: float, seed: int) -> "Window":
        """Send `rate` requests a second on average, at random times (Poisson), whatever becomes of them."""
        self._send = send
        wanted = int((warm_s + seconds) * rate)
        gaps = np.random.default_rng(seed).exponential(1 / rate, wanted)
        due_s = (perf_counter() + 0.01 + np.cumsum(gaps)).tolist()
        start_s = due_s[0]
        while (number := len(self.began_s)) < wanted and not self._ended.done():
            now_s = perf_counter()
            while number < wanted and due_s[number] <= now_s:
                self._under_way += 1
                self._begin(due_s[number])
                number += 1
            await asyncio.sleep(_TICK_S)
        await self._drain()
        return Window(self, self.began_s, start_s + warm_s, start_s + warm_s + seconds)

    async def _pass(self, seconds: float) -> None:
        await asyncio.wait([self._ended], timeout=seconds)
        if self._ended.done():
            self._ended.result()

    async def _drain(self) -> None:
        """Wait for what is under way; what has no answer in a minute is unknown."""
        self._is_over = True
        if self._under_way:
            await self._pass(_DRAIN_S_MAX)


class Window:
    """What became of a load; those of its requests count that ended, or were due, in the window."""

    def __init__(self, drive: Drive, times_s: Sequence[float], from_s: float, until_s: float) -> None:
        self._drive = drive
        self._times_s = times_s
        self._from_s = from_s
        self._until_s = until_s

    def holds(self, at_s: float) -> bool:
        """Whether a time lies in the window."""
        return self._from_s < at_s <= self._until_s

    def plain(self, draws: Draws) -> dict[str, Any]:
        """Return counts of all by bin, and of those in the window the rate and the latencies.

        `operations` are accepted requests; `offered` are those that fell into the window.
        """
        drive = self._drive
        outcomes = Counter(drive.outcomes)
        inside = [number for number, at_s in enumerate(self._times_s) if self._from_s < at_s <= self._until_s]
        accepted = [number for number in inside if drive.outcomes[number] == ACCEPTED]
        latencies = Latencies.of(drive.ended_s[number] - drive.began_s[number] for number in accepted)
        return {
            "acknowledged": self._by_bin(draws, ACCEPTED),
            "unknown": self._by_bin(draws, UNKNOWN, OPEN),
            "refused": outcomes[REFUSED],
            "unavailable": outcomes[UNAVAILABLE],
            "offered": len(inside),
            "operations": len(accepted),
            "ops_s": len(accepted) / (self._until_s - self._from_s),
            "histogram": latencies.text(),
            **latencies.figures(),
        }

    def _by_bin(self, draws: Draws, *wanted: int) -> Counter[int]:
        units: Counter[int] = Counter()
        for number, outcome in enumerate(self._drive.outcomes):
            if outcome in wanted:
                bins = draws[number % len(draws)]
                units.update((bins,) if isinstance(bins, int) else bins)
        return units


class Driven(ABC):
    """A load that can be asked for in both ways."""

    @abstractmethod
    def sending(
        self, workload: Workload, salt: int, drive: Drive, width: int
    ) -> AbstractAsyncContextManager[Sender]:
        """Connect what sends requests of a workload, at most `width` of them at once where that matters."""

    async def closed(
        self, workload: Workload, salt: int, *, in_flight: int, warm_s: float, seconds: float
    ) -> dict[str, Any]:
        """Keep `in_flight` requests under way; return what became of them (see `Window.plain`)."""
        drive = Drive()
        async with self.sending(workload, salt, drive, in_flight) as sender:
            window = await drive.closed(sender.send, in_flight=in_flight, warm_s=warm_s, seconds=seconds)
        return window.plain(sender.draws)

    async def paced(
        self, workload: Workload, salt: int, *, rate: float, width: int, warm_s: float, seconds: float
    ) -> dict[str, Any]:
        """Send `rate` requests a second, whatever becomes of them; return it (see `Window.plain`)."""
        drive = Drive()
        async with self.sending(workload, salt, drive, width) as sender:
            window = await drive.open(sender.send, rate=rate, warm_s=warm_s, seconds=seconds, seed=salt)
        return window.plain(sender.draws)


def draws_of(workload: Workload, salt: int) -> Draws:
    """Return what requests of a workload ask for, one after another."""
    return workload.sequence(salt) if workload.lines_max == 1 else workload.orders(salt)

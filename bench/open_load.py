"""Open-loop load: each request has a time at which it is due, whatever became of those before it.

A closed loop slows down with its server and so hides what an overload does. Here latency counts from the time
at which a request was due: one that waits for a connection, or in a full socket, waits all the same.
"""

import asyncio
from array import array
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from typing import Any

from bench.samples import percentile
from bench.workloads import Workload

ACCEPTED, REFUSED, UNKNOWN, UNSENT, SILENT = b"a", b"r", b"u", b"n", b"."
"""How a request ended. UNSENT: its caller had no connection free; SILENT: no answer came in time."""

LINES = 6
"""SKUs of one partition that each request reserves: much work for little to send, so that one generator can
offer several times what the product carries."""
TTL_S = 1
"""Reservations expire, so that as many come as go: memory that grows all the same is a leak. By the second
second after an overload, what it reserved has expired."""
_WARM_S = TTL_S + 1.0
"""Until as many reservations expire as come: before, each is done at half of what it costs."""

_TICK_S = 0.002


class Schedule:
    """When each request of a load is due: phases of (requests a second, seconds), one after another."""

    def __init__(self, phases: Sequence[tuple[float, float]]) -> None:
        self.phases = phases
        self.counts = [int(rate * seconds) for rate, seconds in phases]
        self.total = sum(self.counts)

    def due(self, elapsed_s: float) -> int:
        """Return how many requests are due after so many seconds."""
        due = 0
        for (rate, seconds), count in zip(self.phases, self.counts, strict=True):
            due += max(0, min(count, int(elapsed_s * rate)))
            elapsed_s -= seconds
        return due

    def intended_s(self) -> "array[float]":
        """Return the time from the start at which each request is due."""
        times = array("d")
        began_s = 0.0
        for (rate, seconds), count in zip(self.phases, self.counts, strict=True):
            times.extend(began_s + index / rate for index in range(count))
            began_s += seconds
        return times


class ClosedRun:
    """So many requests under way all the time: what is answered in a second is the capacity."""

    def __init__(self) -> None:
        self._send: Callable[[int], None]
        self._next = 0
        self._accepted = 0
        self._open = 0
        self._is_over = False
        self._ended = asyncio.Event()

    def ended(self, number: int, outcome: bytes) -> None:  # noqa: ARG002 - as of an open run
        """Send the next one."""
        self._accepted += outcome == ACCEPTED
        self._open -= 1
        if not self._is_over:
            self._begin()
        elif not self._open:
            self._ended.set()

    def _begin(self) -> None:
        number, self._next, self._open = self._next, self._next + 1, self._open + 1
        self._send(number)

    async def run(self, send: Callable[[int], None], *, in_flight: int, seconds: float) -> dict[str, Any]:
        """Return the rate after a time that does not count, and how many were accepted altogether."""
        self._send = send
        for _ in range(in_flight):
            self._begin()
        await asyncio.sleep(_WARM_S)
        began_s, before = perf_counter(), self._accepted
        await asyncio.sleep(seconds)
        rate = (self._accepted - before) / (perf_counter() - began_s)
        self._is_over = True
        await self._ended.wait()
        return {"ops_s": rate, "accepted": self._accepted}


class OpenRun:
    """One load: what became of each request, and when."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.intended_s = schedule.intended_s()
        self.outcomes = bytearray(SILENT * schedule.total)
        self.spent_s = array("d", bytes(8 * schedule.total))
        self.late_s = 0.0
        """How late the generator itself was at worst."""
        self._open = schedule.total
        self._began_s = 0.0
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def ended(self, number: int, outcome: bytes) -> None:
        """Note how a request ended."""
        self.outcomes[number] = outcome[0]
        self.spent_s[number] = perf_counter() - self._began_s - self.intended_s[number]
        self._open -= 1
        if not self._open and not self._ended.done():
            self._ended.set_result(None)

    async def run(self, send: Callable[[int], None], *, drain_s: float) -> None:
        """Send every request when it is due, then wait at most `drain_s` for what is open."""
        self._began_s = perf_counter()
        number = 0
        while number < self.schedule.total:
            elapsed_s = perf_counter() - self._began_s
            due = self.schedule.due(elapsed_s)
            if due > number:
                self.late_s = max(self.late_s, elapsed_s - self.intended_s[number] - _TICK_S)
            for index in range(number, due):
                send(index)
            number = max(number, due)
            await asyncio.sleep(_TICK_S)
        await asyncio.wait([self._ended], timeout=drain_s)

    def plain(self) -> dict[str, Any]:
        """Return the outcomes and what each phase, and each second, was like."""
        phases, began_s, first = [], 0.0, 0
        for (rate, seconds), count in zip(self.schedule.phases, self.schedule.counts, strict=True):
            told = self._told(first, first + count, seconds)
            told["by_second"] = [
                self._told(first + start, first + end, length_s)
                for start, end, length_s in _seconds(rate, seconds, count)
            ]
            phases.append({"rate": rate, "seconds": seconds, **told})
            first += count
            began_s += seconds
        return {
            "outcomes": self.outcomes.decode(),
            "phases": phases,
            "generator_late_ms": self.late_s * 1000,
        }

    def _told(self, first: int, end: int, seconds: float) -> dict[str, Any]:
        found: dict[str, list[float]] = {"accepted": [], "refused": []}
        names = {ACCEPTED[0]: "accepted", REFUSED[0]: "refused"}
        unknown = unsent = 0
        for number in range(first, end):
            name = names.get(self.outcomes[number])
            if name is not None:
                found[name].append(self.spent_s[number] * 1000)
            elif self.outcomes[number] == UNSENT[0]:
                unsent += 1
            else:
                unknown += 1
        told: dict[str, Any] = {"offered": end - first, "unknown": unknown, "unsent": unsent}
        for name, spent_ms in found.items():
            told[name] = len(spent_ms)
            spent_ms.sort()
            for share in (50, 99):
                told[f"{name}_p{share}_ms"] = percentile(spent_ms, share / 100) if spent_ms else 0.0
            told[f"{name}_max_ms"] = spent_ms[-1] if spent_ms else 0.0
        told["accepted_s"] = told["accepted"] / seconds
        return told


def _seconds(rate: float, seconds: float, count: int) -> Iterator[tuple[int, int, float]]:
    """Return for each second of a phase its first request, the one after its last, and its length.

    What is left of a second belongs to the last one: alone it would be a few requests, and no figure.
    """
    whole = max(1, int(seconds))
    for number in range(whole):
        is_last = number == whole - 1
        end = count if is_last else min(count, int(rate * (number + 1)))
        yield min(count, int(rate * number)), end, seconds - number if is_last else 1.0


def skus_together(workload: Workload, partitions: int) -> list[tuple[int, list[str]]]:
    """Return SKUs that are reserved together: each time `LINES` of one partition, with its number."""
    by_partition: dict[int, list[str]] = {}
    for index in range(workload.bins):
        by_partition.setdefault(workload.partition(index, partitions), []).append(workload.sku(index))
    return [
        (number, skus[start : start + LINES])
        for number, skus in sorted(by_partition.items())
        for start in range(0, len(skus) - LINES + 1, LINES)
    ]


def open_key(salt: int, number: int) -> str:
    """Return the key of a request of an open load."""
    return f"open-{salt}-{number:x}"

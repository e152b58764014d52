"""The callers of a closed load, whoever carries their requests: each sends its next when it is answered."""

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Any

from bench.demand import Demand
from bench.told import Told
from bench.workloads import Workload

_END_S_MAX = 30.0


class Caller:
    """One caller with one request under way."""

    __slots__ = ("began_s", "bins", "key")

    def __init__(self) -> None:
        self.key = ""
        self.bins: tuple[int, ...] = ()
        self.began_s = 0.0


class Callers:
    """All callers of a load.

    `submit` is handed one whose request is to be sent; `answered` or `failed` is to follow.
    """

    def __init__(self, workload: Workload, salt: int, submit: Callable[[Caller], None]) -> None:
        self._demand = Demand(workload, salt)
        self._submit = submit
        self._told = Told()
        self._open = 0
        self._is_ending = False
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, *, in_flight: int, warm_s: float, seconds: float) -> dict[str, Any]:
        """Keep so many requests under way: for `warm_s`, which do not count, then for `seconds`, which do."""
        self._open = in_flight
        for _ in range(in_flight):
            self._send(Caller())
        await asyncio.wait([self._ended], timeout=warm_s)
        from_s = perf_counter()
        await asyncio.wait([self._ended], timeout=seconds)
        until_s = perf_counter()
        self._is_ending = True
        async with asyncio.timeout(_END_S_MAX):
            await self._ended
        return self._told.plain(from_s, until_s)

    def answered(self, caller: Caller, *, is_reserved: bool) -> None:
        """Count an answer and have the next request sent."""
        told = self._told
        if is_reserved:
            now_s = perf_counter()
            for index in caller.bins:
                told.acknowledged[index] += 1
            told.ended_s.append(now_s)
            told.spent_s.append(now_s - caller.began_s)
        else:
            told.refused += 1
        if not self._is_ending:
            self._send(caller)
            return
        self._open -= 1
        if not self._open and not self._ended.done():
            self._ended.set_result(None)

    def failed(self, fault: BaseException) -> None:
        """End the load: the server did what a server must not do."""
        if not self._ended.done():
            self._ended.set_exception(fault)

    def _send(self, caller: Caller) -> None:
        caller.key, caller.bins = self._demand.next()
        caller.began_s = perf_counter()
        self._submit(caller)

"""Load through lanes: so many callers, each of which sends its next reserve when it has its answer."""

import asyncio
from time import perf_counter
from typing import Any

from actors.gateway import LaneGateway
from actors.outcomes import OutcomeUnknown, Unavailable
from bench.told import Told
from bench.workloads import ON_HAND, Workload, key_from, keys_of
from engine.commands import ReceiveStock, ReserveLine, ReserveStock
from engine.refusals import Refused
from persistence.postgres import PostgresDirectory, Sessions

_TIMEOUT_S = 60.0


class LanesLoad:
    """Reserves through lanes, as the API's process sends them."""

    def __init__(self, gateway: LaneGateway, sessions: Sessions) -> None:
        self._gateway = gateway
        self._sessions = sessions

    @classmethod
    def connect(cls, postgres_url: str, lane_token: str, partitions: int) -> "LanesLoad":
        """Return a load on a running product; it connects when it begins."""
        sessions = Sessions(postgres_url, "bench-lanes", size=1)
        directory = PostgresDirectory(sessions)
        return cls(LaneGateway(directory, lane_token, partitions, timeout_s=_TIMEOUT_S), sessions)

    async def close(self) -> None:
        """Close the lanes."""
        await self._gateway.close()
        await self._sessions.close()

    async def closed(
        self, workload: Workload, salt: int, *, in_flight: int, warm_s: float, seconds: float
    ) -> dict[str, Any]:
        """Keep `in_flight` reserves under way: for `warm_s`, which do not count, then for `seconds`."""
        shared = _Shared(self._gateway, workload, salt, in_flight)
        for _ in range(in_flight):
            _Caller(shared).send()
        await asyncio.sleep(warm_s)
        from_s = perf_counter()
        await asyncio.sleep(seconds)
        until_s = perf_counter()
        shared.is_ending = True
        async with asyncio.timeout(_TIMEOUT_S * 1.5):
            await shared.ended
        return shared.told.plain(from_s, until_s)

    async def fill(
        self, workload: Workload, salt: int, *, in_flight: int, first: int, end: int
    ) -> dict[str, Any]:
        """Receive opening stock into the bins from `first` to before `end`, so that they are there."""
        keys = keys_of(salt)
        room = asyncio.Semaphore(in_flight)
        faults: list[BaseException] = []

        def ended(future: asyncio.Future[Any]) -> None:
            room.release()
            fault = future.exception()
            if fault is not None:
                faults.append(fault)
            elif type(future.result()) is Refused:
                faults.append(AssertionError(f"a receipt was refused: {future.result()}"))

        began_s = perf_counter()
        partitions = self._gateway.partitions
        for index in range(first, end):
            await room.acquire()
            receive = ReceiveStock(workload.name, workload.sku(index), workload.location(index), ON_HAND)
            future = self._gateway.submit(workload.partition(index, partitions), receive, key_from(keys))
            future.add_done_callback(ended)
            if faults:
                raise faults[0]
        for _ in range(in_flight):
            await room.acquire()
        if faults:
            raise faults[0]
        return {"ops_s": (end - first) / (perf_counter() - began_s)}


class _Shared:
    """What all callers of a load have in common."""

    __slots__ = (
        "callers",
        "commands",
        "ended",
        "gateway",
        "is_ending",
        "keys",
        "next",
        "partitions",
        "sequence",
        "told",
    )

    def __init__(self, gateway: LaneGateway, workload: Workload, salt: int, callers: int) -> None:
        self.gateway = gateway
        self.callers = callers
        self.keys = keys_of(salt)
        self.sequence = workload.sequence(salt)
        self.next = 0
        self.commands = [
            ReserveStock((ReserveLine(workload.name, workload.sku(index), 1),))
            for index in range(workload.bins)
        ]
        self.partitions = [workload.partition(index, gateway.partitions) for index in range(workload.bins)]
        self.told = Told()
        self.is_ending = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class _Caller:
    """One caller with one request under way."""

    __slots__ = ("_began_s", "_index", "_shared")

    def __init__(self, shared: _Shared) -> None:
        self._shared = shared
        self._index = 0
        self._began_s = 0.0

    def send(self) -> None:
        """Send the next reserve."""
        shared = self._shared
        self._index = index = shared.sequence[shared.next]
        shared.next = (shared.next + 1) % len(shared.sequence)
        key = f"{shared.keys.getrandbits(128):032x}"
        self._began_s = perf_counter()
        future = shared.gateway.submit(shared.partitions[index], shared.commands[index], key)
        future.add_done_callback(self._answered)

    def _answered(self, future: asyncio.Future[Any]) -> None:
        now_s = perf_counter()
        shared = self._shared
        told = shared.told
        fault = future.exception()
        if fault is None:
            if type(future.result()) is Refused:
                told.refused += 1
            else:
                told.acknowledged[self._index] += 1
                told.ended_s.append(now_s)
                told.spent_s.append(now_s - self._began_s)
        elif isinstance(fault, OutcomeUnknown):
            told.unknown[self._index] += 1
        elif isinstance(fault, Unavailable):
            told.unavailable += 1
        else:
            if not shared.ended.done():
                shared.ended.set_exception(fault)
            return
        if not shared.is_ending:
            self.send()
            return
        shared.callers -= 1
        if shared.callers == 0 and not shared.ended.done():
            shared.ended.set_result(None)

"""Load through lanes: reserves as the API's process sends them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from time import perf_counter
from typing import Any, Self

from actors.gateway import LaneGateway
from actors.outcomes import OutcomeUnknown, Unavailable
from bench.driving import ACCEPTED, REFUSED, UNAVAILABLE, UNKNOWN, Drive, Driven
from bench.workloads import ON_HAND, Workload, key_from, keys_of
from engine.commands import ReceiveStock, ReserveLine, ReserveStock
from engine.refusals import Refused
from persistence.postgres import PostgresDirectory, Sessions

_TIMEOUT_S = 60.0


class LanesLoad(Driven):
    """Reserves through lanes. Orders of several lines cross partitions and go by the API."""

    def __init__(self, gateway: LaneGateway, sessions: Sessions) -> None:
        self.gateway = gateway
        self._sessions = sessions

    @classmethod
    def connect(cls, postgres_url: str, lane_token: str, partitions: int) -> Self:
        """Return a load on a running product; it connects when it begins."""
        sessions = Sessions(postgres_url, "bench-lanes", size=1)
        directory = PostgresDirectory(sessions)
        return cls(LaneGateway(directory, lane_token, partitions, timeout_s=_TIMEOUT_S), sessions)

    async def close(self) -> None:
        """Close the lanes."""
        await self.gateway.close()
        await self._sessions.close()

    @asynccontextmanager
    async def sending(
        self,
        workload: Workload,
        salt: int,
        drive: Drive,
        width: int,  # noqa: ARG002 - lanes take any number
    ) -> AsyncIterator["_Reserves"]:
        """See `Driven.sending`."""
        yield _Reserves(self.gateway, workload, salt, drive)

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
        partitions = self.gateway.partitions
        for index in range(first, end):
            await room.acquire()
            receive = ReceiveStock(workload.name, workload.sku(index), workload.location(index), ON_HAND)
            future = self.gateway.submit(workload.partition(index, partitions), receive, key_from(keys))
            future.add_done_callback(ended)
            if faults:
                raise faults[0]
        for _ in range(in_flight):
            await room.acquire()
        if faults:
            raise faults[0]
        return {"ops_s": (end - first) / (perf_counter() - began_s)}


class _Reserves:
    """Sends the reserves of a workload."""

    def __init__(self, gateway: LaneGateway, workload: Workload, salt: int, drive: Drive) -> None:
        assert workload.lines_max == 1, "an order crosses partitions: the API sees to that"
        self.draws = workload.sequence(salt)
        self._submit = gateway.submit
        self._keys = keys_of(salt)
        self._drive = drive
        self._commands = [
            ReserveStock((ReserveLine(workload.name, workload.sku(index), 1),))
            for index in range(workload.bins)
        ]
        self._partitions = [workload.partition(index, gateway.partitions) for index in range(workload.bins)]

    def send(self, number: int) -> None:
        """Send the next reserve."""
        index = self.draws[number % len(self.draws)]
        key = f"{self._keys.getrandbits(128):032x}"
        future = self._submit(self._partitions[index], self._commands[index], key)
        future.add_done_callback(partial(self._answered, number))

    def _answered(self, number: int, future: asyncio.Future[Any]) -> None:
        fault = future.exception()
        if fault is None:
            self._drive.ended(number, REFUSED if type(future.result()) is Refused else ACCEPTED)
        elif isinstance(fault, OutcomeUnknown):
            self._drive.ended(number, UNKNOWN)
        elif isinstance(fault, Unavailable):
            self._drive.ended(number, UNAVAILABLE)
        else:
            self._drive.failed(fault)

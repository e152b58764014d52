"""Load on TigerBeetle: so many reserves under way, all that wait in one call. See `tigerbeetle_stock`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tigerbeetle import ClientAsync, Transfer

from bench.demand import Demand
from bench.driving import ACCEPTED, REFUSED, Drive, Driven
from bench.peers.tigerbeetle_stock import BATCH_MAX, CLUSTER, is_reserved, reserve
from bench.workloads import Workload

_Request = tuple[int, list[Transfer]]
"""Its number and its transfers."""


class TigerBeetleLoad(Driven):
    """Reserves by transfers. A client has one call under way; a test gives its own."""

    def __init__(self, address: str, client: Any = None) -> None:  # noqa: ANN401 - a ClientAsync
        self._client = client or ClientAsync(CLUSTER, address)

    async def close(self) -> None:
        """Close the connection."""
        await self._client.close()

    @asynccontextmanager
    async def sending(
        self,
        workload: Workload,
        salt: int,
        drive: Drive,
        width: int,  # noqa: ARG002 - calls take any number
    ) -> AsyncIterator["_Transfers"]:
        """See `Driven.sending`."""
        transfers = _Transfers(workload, salt, drive)
        task = asyncio.create_task(transfers.run(self._client))
        try:
            yield transfers
        finally:
            task.cancel()
            await asyncio.wait([task])


class _Transfers:
    """What waits for the call that is under way."""

    def __init__(self, workload: Workload, salt: int, drive: Drive) -> None:
        self._workload = workload
        self._demand = Demand(workload, salt)
        self.draws = self._demand.draws
        self._drive = drive
        self._waiting: list[_Request] = []
        self._has_come = asyncio.Event()

    def send(self, number: int) -> None:
        """Have the next reserve sent with the next call."""
        key, bins = self._demand.of(number)
        self._waiting.append((number, reserve(self._workload, bins, int(key, 16))))
        self._has_come.set()

    async def run(self, client: Any) -> None:  # noqa: ANN401 - a ClientAsync
        """Call again and again, until cancelled."""
        try:
            while True:
                while not self._waiting:
                    self._has_come.clear()
                    await self._has_come.wait()
                batch, self._waiting = _batch(self._waiting)
                results = await client.create_transfers(
                    [transfer for _, transfers in batch for transfer in transfers]
                )
                at = 0
                for number, transfers in batch:
                    was_reserved = is_reserved(results[at : at + len(transfers)])
                    self._drive.ended(number, ACCEPTED if was_reserved else REFUSED)
                    at += len(transfers)
        except Exception as fault:  # noqa: BLE001 - the client's own, of many kinds: it ends the load
            self._drive.failed(fault)


def _batch(waiting: list[_Request]) -> tuple[list[_Request], list[_Request]]:
    """Return those that go together, as many as a call carries, and the rest."""
    transfers = 0
    for number, request in enumerate(waiting):
        transfers += len(request[1])
        if transfers > BATCH_MAX:
            return waiting[:number], waiting[number:]
    return waiting, []

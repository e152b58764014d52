"""The gate for answers that rest on state alone: reads, refusals and repeats.

Such an answer leaves only when it is certain that nobody else had changed the state when it was made: a host
that was stopped and replaced would otherwise tell what is not true any more. All that wait are checked
together, and commits do not wait for them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from actors.retrying import until_available
from persistence.ports import Snapshots

if TYPE_CHECKING:
    from actors.committer import Gate, Owner
    from actors.requests import Request


class ReadGate:
    """Holds answers until their partitions' owner is known to have been the owner."""

    def __init__(
        self,
        snapshots: Snapshots,
        gate: "Gate",
        owner: "Owner",
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._snapshots = snapshots
        self._gate = gate
        self._owner = owner
        self._sleep = sleep
        self._waiting: list[tuple[Request, int]] = []
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def put(self, requests: "list[Request]", epochs: dict[int, int]) -> None:
        """Take answers that were made under these epochs; a partition without one was given up."""
        given_up = []
        for request in requests:
            epoch = epochs.get(request.partition)
            if epoch is None:
                given_up.append(request)
            else:
                self._waiting.append((request, epoch))
        if given_up:
            self._owner.give_back(given_up)
        if self._waiting:
            self._idle.clear()
            self._wake.set()

    async def drained(self) -> None:
        """Wait until nothing is held."""
        await self._idle.wait()

    async def run(self) -> None:
        """Check and let go until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            waiting, self._waiting = self._waiting, []
            lost = await self._lost({(request.partition, epoch) for request, epoch in waiting})
            if lost:
                self._owner.lost_since(lost)
                self._owner.give_back([r for r, epoch in waiting if (r.partition, epoch) in lost])
            self._gate.let_go([r for r, epoch in waiting if (r.partition, epoch) not in lost])
            if not self._waiting:
                self._idle.set()

    async def _lost(self, claims: set[tuple[int, int]]) -> set[tuple[int, int]]:
        """Return those of the (partition, epoch) that somebody has claimed since."""
        newest: dict[int, int] = {}
        for partition, epoch in claims:
            newest[partition] = max(epoch, newest.get(partition, 0))
        lost = await until_available(lambda: self._snapshots.lost(newest), self._sleep)
        return {claim for claim in claims if claim[0] in lost or claim[1] < newest[claim[0]]}

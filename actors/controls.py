"""Asking hosts about themselves: what goes by the lanes beside the commands and queries of partitions.

A host is named by its address, and nobody else can answer for it: nothing is sent again, and a lane that
breaks fails what waits on it.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec

from actors.frames import decode_view
from actors.lane_client import Lane
from actors.lanes import Lanes
from actors.outcomes import Unavailable
from actors.pending import Pending, late
from actors.requests import Status
from persistence.placement import Directory

_NO_PARTITION = -1
_TIMEOUT_S = 30.0


class Controls:
    """Requests to hosts that wait for their answers. `ids` are those of all that travels on the lanes."""

    def __init__(self, lanes: Lanes, ids: Iterator[int], directory: Directory) -> None:
        self._lanes = lanes
        self._ids = ids
        self._directory = directory
        self._waiting: dict[int, Pending] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    async def ask(self, address: str, name: str, fields: Any, timeout_s: float) -> Any:  # noqa: ANN401
        """Ask a host; `timeout_s` is for the way there too. Raises Unavailable."""
        pending = Pending(next(self._ids), _NO_PARTITION, name, None, fields)
        pending.future = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_s):
                lane = await self._lanes.to(address)
                if lane is None:
                    message = f"no lane to {address}"
                    raise Unavailable(message)
                pending.lane = lane
                self._waiting[pending.id] = pending
                lane.send(pending.id, _NO_PARTITION, name, None, fields)
                return await pending.future
        except TimeoutError as fault:
            message = f"{address} did not answer {name!r} within {timeout_s:g} s"
            raise Unavailable(message) from fault
        finally:
            self._waiting.pop(pending.id, None)

    async def flush(self) -> None:
        """Have every host write its snapshots. Raises Unavailable."""
        asked = (self.ask(address, "flush", None, _TIMEOUT_S) for address in await self._addresses())
        await asyncio.gather(*asked)

    async def describe(self) -> list[dict[str, Any]]:
        """Return what each host that answers within 1 s says of itself. Raises Unavailable."""
        asked = (self.ask(address, "describe", None, 1.0) for address in await self._addresses())
        answers = await asyncio.gather(*asked, return_exceptions=True)
        return [answer for answer in answers if isinstance(answer, dict)]

    async def _addresses(self) -> list[str]:
        return sorted({placement.address for placement in await self._directory.placements()})

    def receive(self, request_id: int, status: int, answer: msgspec.Raw) -> None:
        """Take an answer; one that nobody waits for is dropped. Raises one of `actors.frames.UNREADABLE`."""
        pending = self._waiting.get(request_id)
        if pending is None or pending.future.done():
            return
        view = decode_view(answer)
        if status == Status.ANSWERED:
            pending.future.set_result(view)
        else:
            pending.future.set_exception(Unavailable(str(view)))

    def lost(self, lane: Lane) -> None:
        """Fail what waits on a lane that broke."""
        for pending in self._waiting.values():
            if pending.lane is lane and not pending.future.done():
                pending.future.set_exception(Unavailable(f"the lane to {lane.address} was lost"))

    def close(self) -> None:
        """Fail whatever still waits."""
        for pending in self._waiting.values():
            if not pending.future.done():
                pending.future.set_exception(late(pending))

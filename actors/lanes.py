"""The lanes of one program, by the address of their host: each is opened once, however many want it."""

import asyncio

from actors.lane_client import Lane, Lost, Receive
from actors.outcomes import Unavailable


class Lanes:
    """Open lanes, and attempts to open one. `receive` and `lost` are told as by `Lane`.

    `caller` is a name that no other program has: see `actors.frames`.
    """

    def __init__(self, token: str, receive: Receive, lost: Lost, caller: str) -> None:
        self._token = token
        self._caller = caller
        self._receive = receive
        self._tell_lost = lost
        self._open: dict[str, Lane] = {}
        self._opening: dict[str, asyncio.Task[Lane | None]] = {}
        self._is_closed = False

    def get(self, address: str) -> Lane | None:
        """Return the lane to a host, if one is open."""
        lane = self._open.get(address)
        return lane if lane is not None and lane.is_open else None

    def opening(self, address: str) -> asyncio.Task[Lane | None]:
        """Return the attempt to open a lane that is under way, or begin one; its result may be None."""
        attempt = self._opening.get(address)
        if attempt is None:
            attempt = self._opening[address] = asyncio.get_running_loop().create_task(self._connect(address))
        return attempt

    async def to(self, address: str) -> Lane | None:
        """Return an open lane, or None when there is none to be had."""
        if self._is_closed:
            return None
        return self.get(address) or await asyncio.shield(self.opening(address))

    @property
    def under_way(self) -> int:
        """How many requests wait at hosts."""
        return sum(lane.allowance.under_way for lane in self._open.values())

    def is_one_full(self, now_s: float, besides: int) -> bool:
        """Whether there is a host to which no more may be sent now, if `besides` are sent there."""
        return any(lane.allowance.is_full(now_s, besides) for lane in self._open.values())

    async def close(self) -> None:
        """Close all lanes, and open none any more."""
        self._is_closed = True
        attempts = list(self._opening.values())
        for attempt in attempts:
            attempt.cancel()
        await asyncio.gather(*attempts, return_exceptions=True)
        for lane in list(self._open.values()):
            lane.close()

    async def _connect(self, address: str) -> Lane | None:
        try:
            lane = self._open[address] = await Lane.connect(
                address, self._token, self._receive, self._lost, self._caller
            )
        except Unavailable:
            return None
        else:
            return lane
        finally:
            del self._opening[address]

    def _lost(self, lane: Lane) -> None:
        if self._open.get(lane.address) is lane:
            del self._open[lane.address]
        self._tell_lost(lane)

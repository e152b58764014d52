"""Watching a host: it is gone when its lane breaks, or when a ping is not answered in time.

It is watched whatever else it is asked meanwhile: a process that is stopped while it takes partitions would
otherwise be missed for as long as taking may last.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast

from actors.lane_client import Lane
from actors.outcomes import Unavailable

Control = Callable[[str, str, object, float], Awaitable[object]]
"""(address, name, fields, timeout_s) -> answer; raises Unavailable. `LaneGateway.control`."""


class HostGone(Unavailable):
    """A host is dead, or as good as dead."""


async def owned_by(address: str, control: Control, suspect_s: float) -> set[int] | None:
    """Return the partitions that a host has taken; None when it does not answer in so many seconds."""
    try:
        return set(cast("list[int]", await control(address, "ping", None, suspect_s)))
    except Unavailable:
        return None


class Watch:
    """A host that is watched, from `watching`."""

    def __init__(self, address: str, control: Control, *, ping_s: float, suspect_s: float) -> None:
        self._address = address
        self._control = control
        self._ping_s = ping_s
        self._suspect_s = suspect_s
        self._cut = asyncio.Event()

    def cut(self, _: Lane) -> None:
        """Take note that the lane broke."""
        self._cut.set()

    async def owned(self) -> set[int]:
        """Return the partitions that the host has taken. Raises HostGone."""
        ping = asyncio.ensure_future(owned_by(self._address, self._control, self._suspect_s))
        cut = asyncio.ensure_future(self._cut.wait())
        try:
            await asyncio.wait([ping, cut], return_when=asyncio.FIRST_COMPLETED)
            owned = None if self._cut.is_set() else await ping
        finally:
            ping.cancel()
            cut.cancel()
        if owned is None:
            raise HostGone(f"the host at {self._address} does not answer")
        return owned

    async def pause(self) -> None:
        """Wait until it is time for the next ping, or until the lane breaks."""
        try:
            async with asyncio.timeout(self._ping_s):
                await self._cut.wait()
        except TimeoutError:
            return

    async def ask(self, name: str, fields: object, timeout_s: float) -> object:
        """Ask the host, and watch it until it answers. Raises Unavailable; HostGone when it is that."""
        asked = asyncio.ensure_future(self._control(self._address, name, fields, timeout_s))
        gone = asyncio.ensure_future(self._gone())
        try:
            await asyncio.wait([asked, gone], return_when=asyncio.FIRST_COMPLETED)
            return await (asked if asked.done() else gone)
        finally:
            asked.cancel()
            gone.cancel()
            await asyncio.gather(asked, gone, return_exceptions=True)

    async def _gone(self) -> None:
        """Raise HostGone when it is that."""
        while True:
            await self.owned()
            await self.pause()


@asynccontextmanager
async def watching(
    address: str, token: str, control: Control, *, ping_s: float, suspect_s: float
) -> AsyncIterator[Watch]:
    """Watch a host for the length of a block. Raises Unavailable when no lane can be opened."""
    watch = Watch(address, control, ping_s=ping_s, suspect_s=suspect_s)
    lane = await Lane.connect(address, token, lambda *_: None, watch.cut)
    try:
        yield watch
    finally:
        lane.close()

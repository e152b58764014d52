"""A caller that speaks lanes byte by byte, well or badly."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from actors.frames import LANE_VERSION, FrameReader, frame
from tests.component.actors.world import TOKEN

encode = msgspec.msgpack.encode


class RawLane:
    """A connection to a host."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self._frames = FrameReader()
        self._ready: list[Any] = []

    async def send(self, value: Any) -> None:
        """Send a frame."""
        await self.send_bytes(frame(encode(value)))

    async def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def receive(self) -> Any:
        """Return the next frame; None when the host has closed the lane."""
        async with asyncio.timeout(5):
            while not self._ready:
                data = await self._reader.read(65536)
                if not data:
                    return None
                self._ready = [msgspec.msgpack.decode(payload) for payload in self._frames.feed(data)]
        return self._ready.pop(0)

    async def is_cut(self) -> bool:
        """Whether the host closes the lane."""
        try:
            return await self.receive() is None
        except ConnectionError:
            return True

    async def replies(self, count: int) -> dict[int, tuple[int, Any]]:
        """Return so many replies by request id."""
        found: dict[int, tuple[int, Any]] = {}
        while len(found) < count:
            for request_id, status, answer in await self.receive():
                found[request_id] = (status, answer)
        return found


@asynccontextmanager
async def raw_lane(address: str, *, hello: bool = True, caller: str = "") -> AsyncIterator[RawLane]:
    """Connect, and say hello unless told otherwise."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    lane = RawLane(reader, writer)
    try:
        if hello:
            await lane.send(["binkeeper-lane", LANE_VERSION, TOKEN, caller])
            assert (await lane.receive())[0] == "welcome"
        yield lane
    finally:
        writer.transport.abort()

"""The caller's end of a lane: many requests in flight on one connection, sent in batches."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import msgspec
import structlog

from actors.allowance import Allowance
from actors.frames import (
    LANE_VERSION,
    UNREADABLE,
    FrameReader,
    decode_replies,
    encode,
    frame,
    frames_of,
)
from actors.outcomes import Unavailable

_log = structlog.get_logger()

CONNECT_TIMEOUT_S = 2.0
_FRAME_REQUESTS = 1_000

Receive = Callable[["Lane", int, int, msgspec.Raw], None]
"""Takes (lane that speaks, request id, status, answer).

Raises one of UNREADABLE, or Nonsense, and has taken nothing then.
"""

Lost = Callable[["Lane"], None]
"""Takes a lane that broke, or was closed, after it had been open."""


class Nonsense(Exception):
    """What a host answered is no answer. The lane is closed; nothing is known of what waits for one."""


class Lane(asyncio.Protocol):
    """A connection to a host. Requests that were sent when it breaks are their sender's to repeat, by key."""

    def __init__(self, address: str, receive: Receive, lost: Lost) -> None:
        self.address = address
        self.host = ""
        self.is_open = False
        self._receive = receive
        self._lost = lost
        self._reader = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._outgoing: list[tuple[int, int, str, str | None, Any]] = []
        self._loop = asyncio.get_running_loop()
        self.allowance = Allowance(self._loop.time())
        self._welcome: asyncio.Future[str] = self._loop.create_future()

    @classmethod
    async def connect(
        cls, address: str, token: str, receive: Receive, lost: Lost, caller: str = ""
    ) -> "Lane":
        """Open a lane and say hello; one that the caller had before is closed. Raises Unavailable."""
        host, _, port = address.rpartition(":")
        lane = cls(address, receive, lost)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await lane._loop.create_connection(lambda: lane, host.strip("[]"), int(port))
                assert lane._transport is not None
                lane._transport.write(frame(encode(["binkeeper-lane", LANE_VERSION, token, caller])))
                lane.host = await lane._welcome
                if lane._transport is None:  # It broke before this task had its turn.
                    raise ConnectionError("the lane was closed after the welcome")
        except asyncio.CancelledError:
            lane.close()
            raise
        except (OSError, TimeoutError) as fault:
            lane.close()
            reason = str(fault) or type(fault).__name__
            message = f"no lane to {address}: {reason}"
            raise Unavailable(message) from fault
        lane.is_open = True
        return lane

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by shape, not by class.

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the owner of the lane."""
        was_open, self.is_open = self.is_open, False
        self._transport = None
        if not self._welcome.done():
            self._welcome.set_exception(ConnectionError(str(exc or "the lane was closed before the welcome")))
        if was_open:
            self._lost(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes; hand over the replies that are complete."""
        try:
            for payload in self._reader.feed(data):
                if self.is_open or self._welcome.done():
                    for request_id, status, answer in decode_replies(payload):
                        self._receive(self, request_id, status, answer)
                else:
                    word, _, text = msgspec.msgpack.decode(payload, type=tuple[str, int, str])
                    if word == "welcome":
                        self._welcome.set_result(text)
                    else:
                        self._welcome.set_exception(ConnectionError(text))
        except (*UNREADABLE, Nonsense) as fault:
            _log.warning("lane_cut", address=self.address, fault=str(fault)[:200] or type(fault).__name__)
            self.close()

    def send(self, request_id: int, partition: int, name: str, key: str | None, fields: Any) -> None:  # noqa: ANN401
        """Send a request; all that are sent in one turn of the loop travel in one frame."""
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append((request_id, partition, name, key, fields))

    def _flush(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        if self._transport is None or self._transport.is_closing():
            return
        for start in range(0, len(outgoing), _FRAME_REQUESTS):
            self._transport.writelines(frames_of(outgoing[start : start + _FRAME_REQUESTS]))

    def close(self) -> None:
        """Close the lane at once."""
        if self._transport is not None:
            self._transport.abort()

"""The host's end of the lanes: takes frames of requests, sends frames of replies.

What becomes of the requests is `actors.intake`'s.
"""

from __future__ import annotations

import asyncio
import hmac
from typing import TYPE_CHECKING, cast

import msgspec
import structlog

from actors.frames import (
    FRAME_BYTES_MAX,
    HELLO_BYTES_MAX,
    LANE_VERSION,
    UNREADABLE,
    FrameReader,
    decode_hello,
    decode_requests,
    encode,
    frame,
    frames_of,
)
from actors.intake import Control, Intake
from actors.requests import Request

if TYPE_CHECKING:
    from actors.host import Host

_log = structlog.get_logger()

_WRITE_BUFFER_MAX = 64 * 1024 * 1024
"""Bytes that a caller may leave unread before its lane is cut."""

_HELLO_S_MAX = 5.0
"""How long a lane may take to say hello."""
_FRAME_S_MAX = 30.0
"""How long a frame may take from its first byte to its last."""
_STRANGERS_MAX = 1_000
"""Lanes that have not said hello yet; when there are more, the oldest is cut."""


class LaneServer:
    """Listens for lanes and gives their requests to a host."""

    def __init__(self, host: Host, token: str, controls: dict[str, Control], partitions: int) -> None:
        self.host = host
        self.partitions = partitions
        self.token = token
        self.controls = controls
        self.lanes: dict[HostLane, None] = {}
        """In the order in which they came."""
        self.strangers: dict[HostLane, None] = {}
        """Lanes without a hello, the oldest first."""
        self.callers: dict[str, HostLane] = {}
        """The lane of each caller with a name."""
        self._server: asyncio.Server | None = None

    async def start(self, address: str, port: int = 0) -> int:
        """Listen; return the port. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: HostLane(self), address, port)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Close all lanes; answers that were given leave before."""
        if self._server is not None:
            self._server.close()
        for lane in list(self.lanes):
            lane.finish()


class HostLane(asyncio.Protocol):
    """One caller's connection."""

    def __init__(self, server: LaneServer) -> None:
        self._server = server
        self._host = server.host
        self._reader = FrameReader(HELLO_BYTES_MAX)
        self._transport: asyncio.Transport | None = None
        self._is_welcome = False
        self._caller = ""
        self._replies: list[tuple[int, int, msgspec.Raw]] = []
        self._intake = Intake(self, server.host, server.controls, server.partitions)
        self._loop = asyncio.get_running_loop()
        self._late: asyncio.TimerHandle | None = None
        """Cuts the lane when its hello, or a frame that has begun, is not complete in time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by shape, not by class.
        self._transport.set_write_buffer_limits(high=_WRITE_BUFFER_MAX)
        self._server.lanes[self] = None
        self._server.strangers[self] = None
        if len(self._server.strangers) > _STRANGERS_MAX:
            next(iter(self._server.strangers)).close()
        self._late = self._loop.call_later(_HELLO_S_MAX, self._cut_late)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Forget the lane; answers to it are dropped, and the caller asks again by key."""
        self._transport = None
        self._stop_waiting()
        self._server.lanes.pop(self, None)
        self._server.strangers.pop(self, None)
        if self._server.callers.get(self._caller) is self:
            del self._server.callers[self._caller]

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _cut_late(self) -> None:
        self._late = None
        if self._is_welcome:
            _log.warning("lane_cut", fault="late")
        self.close()

    def pause_writing(self) -> None:
        """Cut a caller off that does not read its answers."""
        self.close()

    def pause_reading(self) -> None:
        """Take no more bytes: enough waits."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take bytes again."""
        if self._transport is not None:
            self._transport.resume_reading()

    def finish(self) -> None:
        """Close the lane when what was answered has left."""
        if self._replies:
            self._flush()
        if self._transport is not None:
            self._transport.close()

    def close(self) -> None:
        """Close the lane at once."""
        self._server.strangers.pop(self, None)
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take bytes; give the requests that are complete to the host."""
        try:
            payloads = self._reader.feed(data)
            for payload in payloads:
                if self._transport is None or self._transport.is_closing():
                    return
                if self._is_welcome:
                    self._intake.take(decode_requests(payload))
                else:
                    self._greet(payload)
            if self._is_welcome:
                self._watch_frame(is_new=bool(payloads))
        except UNREADABLE as fault:
            _log.warning("lane_cut", fault=type(fault).__name__)
            self.close()
        except Exception as fault:  # noqa: BLE001 - half of a decision may be done: memory is not trusted
            self._host.broken(fault)

    def _watch_frame(self, *, is_new: bool) -> None:
        """Have a frame that has begun complete within its time: most come whole, and cost nothing here."""
        if is_new:
            self._stop_waiting()
        if self._late is None and self._reader.is_within_a_frame:
            self._late = self._loop.call_later(_FRAME_S_MAX, self._cut_late)

    def _greet(self, payload: bytes) -> None:
        hello = decode_hello(payload)
        why = None
        if hello.magic != "binkeeper-lane" or hello.version != LANE_VERSION:
            why = f"this host speaks lane version {LANE_VERSION}"
        elif not hmac.compare_digest(hello.token.encode(), self._server.token.encode()):
            why = "the lane token is wrong"
        assert self._transport is not None
        if why is not None:
            self._transport.write(frame(encode(["refused", LANE_VERSION, why])))
            self._transport.close()
            return
        self._is_welcome = True
        self._supersede(hello.caller)
        self._stop_waiting()
        self._server.strangers.pop(self, None)
        self._reader.bytes_max = FRAME_BYTES_MAX
        self._transport.write(frame(encode(["welcome", LANE_VERSION, self._host.options.name])))

    def _supersede(self, caller: str) -> None:
        """Close the caller's lane before this: it sends again here what that left unanswered.

        A frame that is still on its way there would be decided after its repeat, when much may have changed.
        """
        if caller:
            before = self._server.callers.get(caller)
            self._caller = caller
            self._server.callers[caller] = self
            if before is not None:
                before.drop()

    def drop(self) -> None:
        """Close the lane, and decide nothing any more of what came by it."""
        self._intake.clear()
        self.close()

    def reply(self, request: Request) -> None:
        """Send an ended request's answer; all that end together leave in one frame."""
        if not self._replies:
            self._loop.call_soon(self._flush)
        self._replies.append((request.id, request.status, msgspec.Raw(request.encoded)))

    def _flush(self) -> None:
        replies, self._replies = self._replies, []
        if self._transport is not None and not self._transport.is_closing():
            self._transport.writelines(frames_of(replies))

"""The host's end of the lanes: takes frames of requests, sends frames of replies."""

from __future__ import annotations

import asyncio
import hmac
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

import msgspec
import structlog

from actors.bounds import beyond_bounds, is_plain
from actors.frames import (
    FRAME_BYTES_MAX,
    HELLO_BYTES_MAX,
    LANE_VERSION,
    REQUESTS_PER_FRAME_MAX,
    UNREADABLE,
    FrameReader,
    RawRequest,
    decode_command,
    decode_hello,
    decode_requests,
    encode,
    fingerprint_of,
    frame,
    frames_of,
)
from actors.outcomes import Fault
from actors.queries import QUERIES
from actors.requests import Request, Status
from engine.commands import OPERATIONS, ReserveStock
from engine.touching import lies_in

if TYPE_CHECKING:
    from actors.host import Host

_log = structlog.get_logger()

_WRITE_BUFFER_MAX = 64 * 1024 * 1024
"""Bytes that a caller may leave unread before its lane is cut."""

_SLICE = 16
"""Requests decided in one turn of the loop, about 0.2 ms. Each commit needs several turns: with long slices
it waits for them, with short ones it takes few along."""

_REFUSED_SLICE = 128
"""Requests refused in one turn of the loop."""

_WAIT_S_MAX = 0.25
"""How long a request may wait for its turn. One that waited longer is refused without being looked at, which
costs a tenth of deciding it: so those that are decided answer in time, however many come."""
_WAITING_MIN = 256
"""Requests of a lane that may wait for longer: as many as one batch has under way."""

_OPERATIONS = OPERATIONS.keys() | QUERIES.keys()
_HELLO_S_MAX = 5.0
"""How long a lane may take to say hello."""
_FRAME_S_MAX = 30.0
"""How long a frame may take from its first byte to its last."""
_STRANGERS_MAX = 1_000
"""Lanes that have not said hello yet; when there are more, the oldest is cut."""
_WHY_MAX = 500
"""Characters of what is told of a malformed request: it may quote what was sent."""

Control = Callable[[Any], Awaitable[Any]]
"""A request about the host itself: takes and returns plain values."""


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
        self._replies: list[tuple[int, int, msgspec.Raw]] = []
        self._arrived: deque[RawRequest] = deque()
        self._frames: deque[tuple[float, int]] = deque()
        """When the frames came whose requests wait, and how many of each still do."""
        self._is_deciding = False
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
                if self._is_welcome:
                    self._take(payload)
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
        magic, version, token = decode_hello(payload)
        why = None
        if magic != "binkeeper-lane" or version != LANE_VERSION:
            why = f"this host speaks lane version {LANE_VERSION}"
        elif not hmac.compare_digest(token.encode(), self._server.token.encode()):
            why = "the lane token is wrong"
        assert self._transport is not None
        if why is not None:
            self._transport.write(frame(encode(["refused", LANE_VERSION, why])))
            self._transport.close()
            return
        self._is_welcome = True
        self._stop_waiting()
        self._server.strangers.pop(self, None)
        self._reader.bytes_max = FRAME_BYTES_MAX
        self._transport.write(frame(encode(["welcome", LANE_VERSION, self._host.options.name])))

    def _take(self, payload: bytes) -> None:
        raw_requests = decode_requests(payload)
        if raw_requests:
            self._arrived.extend(raw_requests)
            self._frames.append((self._loop.time(), len(raw_requests)))
        if not self._is_deciding:
            self._decide()
        if len(self._arrived) > REQUESTS_PER_FRAME_MAX and self._transport is not None:
            self._transport.pause_reading()

    def _decide(self) -> None:
        """Give the host a slice of what arrived, and the rest in later turns of the loop.

        Between two slices a commit goes on, so that the database works while the rest is being decided.
        """
        arrived = self._arrived
        try:
            if len(arrived) > _WAITING_MIN and self._loop.time() - self._frames[0][0] > _WAIT_S_MAX:
                self._refuse_late()
            else:
                slice_ = [self._request_of(*raw) for raw in self._next(_SLICE)]
                self._host.receive([request for request in slice_ if request is not None])
        except Exception as fault:  # noqa: BLE001 - half of a decision may be done: memory is not trusted
            self._host.broken(fault)
        self._is_deciding = bool(arrived)
        if arrived:
            self._loop.call_soon(self._decide)
        elif self._transport is not None:
            self._transport.resume_reading()

    def _next(self, most: int) -> list[RawRequest]:
        """Take the next requests that wait, of one frame."""
        if not self._frames:
            return []
        came_s, waiting = self._frames[0]
        taken = min(waiting, most)
        if taken == waiting:
            self._frames.popleft()
        else:
            self._frames[0] = came_s, waiting - taken
        return [self._arrived.popleft() for _ in range(taken)]

    def _refuse_late(self) -> None:
        """Refuse requests of the oldest frame, which has waited too long, some at a time."""
        for raw in self._next(_REFUSED_SLICE):
            request_id, partition, name = raw[:3]
            if partition not in self._host.owned or name not in _OPERATIONS:
                # What asks about the host is answered however busy it is, and what has moved is told so.
                request = self._request_of(*raw)
                if request is not None:
                    self._host.receive([request])
            else:
                self._host.turn_away(Request(self, request_id, partition, name, None), Status.OVERLOADED)

    def _request_of(
        self, request_id: int, partition: int, name: str, key: str | None, fields: msgspec.Raw
    ) -> Request | None:
        """Return a request; None for one that is answered elsewhere, or refused because it does not fit."""
        control = self._server.controls.get(name)
        if control is not None:
            self._host.spawn(self._control(request_id, name, control, fields))
            return None
        try:
            command = decode_command(name, fields)
        except (*UNREADABLE, KeyError) as fault:
            self._reject(request_id, partition, name, str(fault))
            return None
        if type(command) is not ReserveStock or not self._is_plain(command, partition, key):
            why = beyond_bounds(command, key)
            if why is None and not lies_in(command, partition, self._server.partitions):
                why = f"its SKUs do not lie in partition {partition}"
            if why is not None:
                self._reject(request_id, partition, name, why)
                return None
        fingerprint = fingerprint_of(command, name, partition, fields) if key is not None else None
        return Request(self, request_id, partition, name, command, key, fingerprint)

    def _is_plain(self, command: ReserveStock, partition: int, key: str | None) -> bool:
        """Whether a reserve is plainly within bounds, and its stock active: its codes and place fit."""
        owned = self._host.owned.get(partition)
        if owned is None or len(command.lines) != 1 or not is_plain(command, key):
            return False
        line = command.lines[0]
        return (line.site, line.sku) in owned.state.stocks

    def _reject(self, request_id: int, partition: int, name: str, why: str) -> None:
        malformed = Request(self, request_id, partition, name, None)
        malformed.status, malformed.encoded = Status.MALFORMED, encode(why[:_WHY_MAX])
        self.reply(malformed)

    async def _control(self, request_id: int, name: str, control: Control, fields: msgspec.Raw) -> None:
        request = Request(self, request_id, -1, name, None)
        try:
            request.encoded = encode(await control(msgspec.msgpack.decode(fields)))
            request.status = Status.ANSWERED
        except (Fault, *UNREADABLE) as fault:
            _log.warning("control_failed", control=name, fault=repr(fault))
            request.status = Status.UNAVAILABLE if isinstance(fault, Fault) else Status.MALFORMED
            request.encoded = encode(str(fault))
        except Exception as fault:  # noqa: BLE001 - an invariant does not hold: memory is not trusted
            self._host.broken(fault)
            return
        self.reply(request)

    def reply(self, request: Request) -> None:
        """Send an ended request's answer; all that end together leave in one frame."""
        if not self._replies:
            self._loop.call_soon(self._flush)
        self._replies.append((request.id, request.status, msgspec.Raw(request.encoded)))

    def _flush(self) -> None:
        replies, self._replies = self._replies, []
        if self._transport is not None and not self._transport.is_closing():
            self._transport.writelines(frames_of(replies))

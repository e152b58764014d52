"""Requests of a lane from their frame to their host: they wait for their turn, and are looked at in it.

They are decided in slices, in the order in which they came. What has waited too long is refused unread.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from actors.bounds import beyond_bounds, is_plain
from actors.frames import (
    REQUESTS_PER_FRAME_MAX,
    UNREADABLE,
    RawRequest,
    decode_command,
    encode,
    fingerprint_of,
)
from actors.outcomes import Fault
from actors.queries import QUERIES
from actors.requests import Request, Status
from engine.commands import OPERATIONS, ReserveStock
from engine.touching import lies_in

if TYPE_CHECKING:
    from actors.host import Host
    from actors.lane_server import HostLane

_log = structlog.get_logger()

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
_WHY_MAX = 500
"""Characters of what is told of a malformed request: it may quote what was sent."""

Control = Callable[[Any], Awaitable[Any]]
"""A request about the host itself: takes and returns plain values."""


class Intake:
    """Takes the requests of one lane, and gives them to the host some at a time."""

    def __init__(self, lane: HostLane, host: Host, controls: dict[str, Control], partitions: int) -> None:
        self._lane = lane
        self._host = host
        self._controls = controls
        self._partitions = partitions
        self._loop = asyncio.get_running_loop()
        self._arrived: deque[RawRequest] = deque()
        self._frames: deque[tuple[float, int]] = deque()
        """When the frames came whose requests wait, and how many of each still do."""
        self._is_deciding = False
        self._is_full = False
        """Whether the lane reads no more until all that arrived is decided."""

    def __len__(self) -> int:
        return len(self._arrived)

    def clear(self) -> None:
        """Forget what waits: nothing came of it."""
        self._arrived.clear()
        self._frames.clear()

    def take(self, raw_requests: list[RawRequest]) -> None:
        """Take a frame of requests, and decide the first of them unless others wait."""
        if raw_requests:
            self._arrived.extend(raw_requests)
            self._frames.append((self._loop.time(), len(raw_requests)))
        if not self._is_deciding:
            self._decide()
        if len(self._arrived) > REQUESTS_PER_FRAME_MAX:
            self._is_full = True
            self._lane.pause_reading()

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
        elif self._is_full:
            self._is_full = False
            self._lane.resume_reading()

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
                self._host.turn_away(
                    Request(self._lane, request_id, partition, name, None), Status.OVERLOADED
                )

    def _request_of(
        self, request_id: int, partition: int, name: str, key: str | None, fields: msgspec.Raw
    ) -> Request | None:
        """Return a request; None for one that is answered elsewhere, or refused because it does not fit."""
        control = self._controls.get(name)
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
            if why is None and not lies_in(command, partition, self._partitions):
                why = f"its SKUs do not lie in partition {partition}"
            if why is not None:
                self._reject(request_id, partition, name, why)
                return None
        fingerprint = fingerprint_of(command, name, partition, fields) if key is not None else None
        return Request(self._lane, request_id, partition, name, command, key, fingerprint)

    def _is_plain(self, command: ReserveStock, partition: int, key: str | None) -> bool:
        """Whether a reserve is plainly within bounds, and its stock active: its codes and place fit."""
        owned = self._host.owned.get(partition)
        if owned is None or len(command.lines) != 1 or not is_plain(command, key):
            return False
        line = command.lines[0]
        return (line.site, line.sku) in owned.state.stocks

    def _reject(self, request_id: int, partition: int, name: str, why: str) -> None:
        malformed = Request(self._lane, request_id, partition, name, None)
        malformed.status, malformed.encoded = Status.MALFORMED, encode(why[:_WHY_MAX])
        self._lane.reply(malformed)

    async def _control(self, request_id: int, name: str, control: Control, fields: msgspec.Raw) -> None:
        request = Request(self._lane, request_id, -1, name, None)
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
        self._lane.reply(request)

"""Refusing early: when more requests come than the process can answer in time, the rest is told so at once.

A refusal by the application costs a third of a reservation, for what the server does around it: at three
times the load, all time would go into refusals. So what does not fit is refused here, before it is taken
apart. How many fit is found out by how long the event loop takes to get around. There is no rate to be set.
"""

import asyncio
import re
from typing import Any, NamedTuple

from actors.outcomes import Overloaded
from actors.ports import Room
from api.destination import partitions_named
from api.exchange import Edge
from api.media import JSON, MSGPACK
from api.problems import problem_of_fault
from api.protocol import BoundedProtocol

_ROUND_S = 0.1
"""How long a turn of the event loop may take: what waits in a socket waits for about two."""
_TAKEN_MIN = 256
_TAKEN_MAX = 8_192
_RETRY_MS = 1_000
_HEAD_BYTES_MAX = 8_192
_KNOWN_MAX = 256
_UNREAD_BYTES_MAX = 64 * 1024
"""Of refusals that a caller does not read, some 150 of them."""
_HEAD_END = b"\r\n\r\n"
_LINE = re.compile(rb"(?:POST|GET) (/v1/(?!status)[!-~]*) HTTP/1\.1\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length *: *([^\r]*)", re.IGNORECASE)
_LENGTH_DIGITS_MAX = 9
_ID = re.compile(rb"\r\n(x-request-id|idempotency-key): *([!-~]{1,128}) *(?=\r\n)", re.IGNORECASE)
_UNUSUAL = re.compile(
    rb"\r\n(?:transfer-encoding|expect|upgrade|connection(?! *: *keep-alive *\r\n)) *:", re.IGNORECASE
)
"""Headers with which a request is left to the server. Many clients send `Connection: keep-alive`."""


class Crowd:
    """Decides how many requests are taken in one turn of the event loop."""

    def __init__(self, edge: Edge, room: Room | None = None, partitions: int = 0) -> None:
        self._edge = edge
        self._room = room
        self._partitions = partitions
        self.taken_max = _TAKEN_MAX
        self._taken = 0
        self._known: dict[tuple[bytes, bool], bytes] = {}

    def refusal_of(self, data: bytes) -> bytes | None:
        """Return the whole response to a request that `data` is and that does not fit; None when it fits."""
        if self._room is not None and self._room.is_short(self._taken):
            request = whole_request(data)
            if request is not None and not self._is_taken_there(request, self._room):
                return self.refusal(request)
        if self.has_room():
            return None
        request = whole_request(data)
        return None if request is None else self.refusal(request)

    def _is_taken_there(self, request: "Whole", room: Room) -> bool:
        """Whether all hosts that a request names take more, as far as it can be told."""
        named = partitions_named(request.path, request.body, self._partitions, is_msgpack=request.is_msgpack)
        return all(room.has_room(partition, self._taken) for partition in named)

    def has_room(self) -> bool:
        """Take a request, if there is room in this turn."""
        if not self._taken:
            loop = asyncio.get_running_loop()
            loop.call_soon(self._turned, loop, loop.time())
        if self._taken >= self.taken_max:
            return False
        self._taken += 1
        return True

    def _turned(self, loop: asyncio.AbstractEventLoop, began_s: float) -> None:
        taken, self._taken = self._taken, 0
        loop.call_soon(self._around, loop, began_s, taken)

    def _around(self, loop: asyncio.AbstractEventLoop, began_s: float, taken: int) -> None:
        """See whether the requests of a turn were worked on in time, now that the loop is around."""
        self.adjust(taken, loop.time() - began_s)

    def adjust(self, taken: int, spent_s: float) -> None:
        """Let the next turn take as many as fit, after one that took so many and so long."""
        if spent_s > _ROUND_S:
            self.taken_max = max(_TAKEN_MIN, int(taken * _ROUND_S / spent_s))
        else:
            self.taken_max = min(_TAKEN_MAX, self.taken_max + (self.taken_max >> 3))

    def refusal(self, request: "Whole") -> bytes:
        """Return the whole response to a request that does not fit."""
        self._edge.meters.count_request("refused_early", 429)
        start = self._known.get((request.path, request.is_msgpack))
        if start is None:
            start = _refusal(request.path, request.is_msgpack)
            if len(self._known) < _KNOWN_MAX:
                self._known[request.path, request.is_msgpack] = start
        ids = b"".join(b"%b: %b\r\n" % (name, value) for name, value in request.ids.items())
        if b"x-request-id" not in request.ids:
            own = request.ids.get(b"idempotency-key") or self._edge.fresh_id().encode()
            ids += b"x-request-id: %b\r\n" % own
        return b"HTTP/1.1 429 Too Many Requests\r\n" + ids + start


class Whole(NamedTuple):
    """A request that lies complete in one piece of data, as far as a refusal needs it."""

    path: bytes
    ids: dict[bytes, bytes]
    """`x-request-id` and `idempotency-key`, where they were sent."""
    is_msgpack: bool
    body: bytes = b""


def whole_request(data: bytes) -> Whole | None:
    """Return the request that `data` is; None when it is not exactly one usual request."""
    line = _LINE.match(data)
    if line is None:
        return None
    end = data.find(_HEAD_END, 0, _HEAD_BYTES_MAX)
    if end < 0:
        return None
    head = data[: end + 2]
    lengths = _LENGTH.findall(head) or [b"0"]
    if len(lengths) > 1 or not lengths[0].isdigit() or len(lengths[0]) > _LENGTH_DIGITS_MAX:
        return None
    if len(data) != end + len(_HEAD_END) + int(lengths[0]) or _UNUSUAL.search(head):
        return None
    ids = {name.lower(): value for name, value in _ID.findall(head)}
    path: bytes = line[1].partition(b"?")[0]
    return Whole(path, ids, b"msgpack" in head, data[end + len(_HEAD_END) :])


def _refusal(path: bytes, is_msgpack: bool) -> bytes:  # noqa: FBT001 - one of two
    """Return the rest of a response, from its usual headers on."""
    media = MSGPACK if is_msgpack else JSON
    problem = problem_of_fault(Overloaded(_RETRY_MS))
    body = media.encode(problem.body(path.decode("ascii")))
    headers = [
        (b"content-type", media.problem_type),
        (b"content-length", b"%d" % len(body)),
        *problem.headers,
    ]
    return b"".join(b"%b: %b\r\n" % header for header in headers) + b"\r\n" + body


class CrowdedProtocol(BoundedProtocol):
    """A connection, but a request for which there is no room never gets to be one."""

    crowd: Crowd

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - as uvicorn makes it
        super().__init__(*arguments, **options)
        self._is_between = True
        """Whether the parser has seen whole requests only."""

    def data_received(self, data: bytes) -> None:
        """Take bytes; refuse the request that they are, if there is no room for it."""
        cycle: Any = self.cycle  # None until the first request, whatever uvicorn declares.
        is_at_rest = self._is_between and (cycle is None or cycle.response_complete)
        refusal = self.crowd.refusal_of(data) if is_at_rest else None
        if refusal is not None:
            self._refuse(refusal)
            return
        super().data_received(data)

    def _refuse(self, response: bytes) -> None:
        """Write a refusal. The connection is cut when its caller sends on and on, and reads none of them."""
        self.transport.write(response)
        if self.transport.get_write_buffer_size() > _UNREAD_BYTES_MAX:
            self.transport.abort()
        else:
            self.answered_early()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._is_between = False
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """A request is whole."""
        self._is_between = True
        super().on_message_complete()


def crowded(crowd: Crowd) -> type[CrowdedProtocol]:
    """Return the protocol of a server's connections, which share a crowd."""
    return type("Crowded", (CrowdedProtocol,), {"crowd": crowd})

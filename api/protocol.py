"""HTTP on a connection within bounds: uvicorn's protocol, with limits on what comes before a request.

The head of a request, its line and headers, is bounded in bytes and in time, and so is what a connection may
send between two requests. Requests that are sent without waiting for answers wait in the socket, but for one
piece of data. Bodies are bounded where they are read (`api.exchange`).
"""

import asyncio
from collections.abc import Sized
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from api.media import JSON
from api.problems import Code, Problem

HEAD_BYTES_MAX = 64 * 1024
HEAD_S_MAX = 10.0
"""How long a request's head may take, from the connection or from its first byte."""


class HeadTooLarge(Exception):
    """A request's head is beyond the limit; the connection is closed after it was told so."""


class BoundedFlow(FlowControl):
    """Reads no more while requests that came behind others wait for their turn: else any number would."""

    def __init__(self, transport: asyncio.Transport, waiting: Sized) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        """Go on reading, unless requests wait. Those are whole; the one that is read needs no more then."""
        if not self._waiting:
            super().resume_reading()


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **named: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*args, **named)
        self._head_bytes = 0
        self._is_in_head = False
        self._is_behind_another = False
        """Whether a request became whole in the piece of data that is taken: that is more than a head."""
        self._fault: Problem | None = None
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request, for a while."""
        super().connection_made(transport)
        self.flow = BoundedFlow(transport, self.pipeline)
        self._late = self.loop.call_later(HEAD_S_MAX, self._cut)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; a head that is not complete has a deadline, which most never need."""
        self._is_behind_another = False
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._is_in_head and self._head_bytes_with(data) > HEAD_BYTES_MAX:
            self._fault = _too_large()
            self.send_400_response("")
        elif self._late is None and (self._is_in_head or self._is_idle):
            self._late = self.loop.call_later(HEAD_S_MAX, self._cut)

    def _head_bytes_with(self, data: bytes) -> int:
        """Return how many bytes the head has up to now, headers that are not complete included.

        One that begins behind another request is counted from the next piece on.
        """
        if not self._is_behind_another:
            self._head_bytes += len(data)
        return self._head_bytes

    @property
    def _is_idle(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def answered_early(self) -> None:
        """A request was answered that the parser has not seen: wait for the next as after any answer."""
        self._stop_waiting()
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def _cut(self) -> None:
        self._late = None
        if not self._is_idle:  # What was asked before is being answered.
            self._late = self.loop.call_later(HEAD_S_MAX, self._cut)
        elif not self.transport.is_closing():
            self.transport.abort()

    # What the parser finds

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._is_in_head = True
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """Hand the request over, unless its head is too large."""
        self._is_in_head = False
        self._stop_waiting()
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > HEAD_BYTES_MAX:
            self._fault = _too_large()
            raise HeadTooLarge
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A request is whole."""
        self._is_behind_another = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request, or one too large, with a problem, and close the connection.

        What comes behind a request that is whole, and not answered yet, gets no answer: the problem would be
        taken for that request's, which may happen. Its caller sends the same key again.
        """
        if not self._is_idle and not self.cycle.more_body:
            self.transport.abort()
            return
        problem = self._fault or Problem(Code.MALFORMED_REQUEST, msg or "This is not HTTP/1.1.")
        body = JSON.encode(problem.body())
        self.transport.write(
            b"%scontent-type: %s\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
            % (STATUS_LINE[problem.status], JSON.problem_type, len(body), body)
        )
        self.transport.close()


def _too_large() -> Problem:
    return Problem(
        Code.HEAD_TOO_LARGE, f"The address and headers are larger than {HEAD_BYTES_MAX} bytes.",
        limit_bytes=HEAD_BYTES_MAX,
    )  # fmt: skip

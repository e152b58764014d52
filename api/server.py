"""Serves the application with uvicorn, and stops it in order.

When the process is told to stop, new requests are refused with 503 while those under way are answered, for a
bounded time; then the listening socket closes and the server returns.
"""

import logging
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

import uvicorn

from api.app import Front
from api.crowding import Crowd, crowded

LINGER_S = 0.3
"""How long new requests are told that the server is stopping, at least; then the socket closes."""
_BACKLOG = 2_048
_KEEP_ALIVE_S = 75
_LOGGER = logging.getLogger("binkeeper.api")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """Where to listen, and how long answers under way may take once the server stops."""

    host: str = "127.0.0.1"
    port: int = 8000
    grace_s: float = 10.0


class Server(uvicorn.Server):
    """uvicorn, but a signal first drains."""

    def __init__(
        self, front: Front, options: ServerOptions, on_ready: Callable[[], None] = lambda: None
    ) -> None:
        crowd = Crowd(front.edge, front.room, front.partitions)
        super().__init__(
            uvicorn.Config(
                front, loop="uvloop", http=crowded(crowd), ws="none", lifespan="off",
                interface="asgi3", access_log=False, log_config=None, proxy_headers=False,
                server_header=False,
                backlog=_BACKLOG, timeout_keep_alive=_KEEP_ALIVE_S, timeout_graceful_shutdown=1,
            )
        )  # fmt: skip
        self._front = front
        self._options = options
        self._on_ready = on_ready
        self._stopping_since_s: float | None = None

    async def listen(self) -> None:
        """Serve until the process is told to stop. Raises OSError when the address cannot be listened on."""
        await self.serve(sockets=[listening_socket(self._options.host, self._options.port)])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve, and say so."""
        await super().startup(sockets)
        self._on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal handler's form
        """Drain at the first signal, leave at once at the second."""
        if self._front.edge.is_stopping:
            self.should_exit = self.force_exit = True
        self._front.stop()

    async def on_tick(self, counter: int) -> bool:
        """Say whether to leave: ten times a second."""
        if self._front.edge.is_stopping:
            now_s = time.monotonic()
            if self._stopping_since_s is None:
                self._stopping_since_s = now_s
            waited_s = now_s - self._stopping_since_s
            under_way = len(self.server_state.tasks)
            if waited_s >= self._options.grace_s and under_way:
                _LOGGER.warning("%d requests were not answered within %g s", under_way, self._options.grace_s)
                return True
            if waited_s >= LINGER_S and not under_way:
                return True
        return await super().on_tick(counter)


def listening_socket(host: str, port: int) -> socket.socket:
    """Return a socket that listens there. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    # Connections inherit it. uvloop sets it anyway; asyncio does not for a socket made like this one, and the
    # second write of an answer then waits 40 ms for its caller to confirm the first.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening

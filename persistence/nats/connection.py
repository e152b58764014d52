"""One NATS connection that mends itself for ever, and says at once when it is not there."""

import asyncio
import contextlib
from collections.abc import Callable

import nats
import nats.errors
import nats.js.errors
import structlog
from nats.aio.client import Client

from persistence.ports import Unavailable

_log = structlog.get_logger()

_CONNECT_S_MAX = 1.5
_RECONNECT_S = 0.25
_PING_S = 5
_PINGS_MAX = 2

LOST = (OSError, TimeoutError, nats.errors.Error)
"""What nats-py raises when the server is not there or refuses."""
NONSENSE = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""What nats-py raises when an answer is none: another program answered in the server's place."""


class NatsConnection:
    """A connection that is made on first use."""

    def __init__(self, url: str, name: str, on_lost: Callable[[], None]) -> None:
        self._url = url
        self._name = name
        self._on_lost = on_lost
        self._client: Client | None = None
        self._turn = asyncio.Lock()

    async def client(self) -> tuple[Client, bool]:
        """Return the connected client, and whether it is a new one.

        Raises Unavailable: within 1.5 s when a first connection cannot be made, at once while an earlier one
        is being mended.
        """
        async with self._turn:
            if self._client is not None and not self._client.is_closed:
                if not self._client.is_connected:
                    raise Unavailable("NATS: the connection is lost and being mended")
                return self._client, False
            try:
                async with asyncio.timeout(_CONNECT_S_MAX):
                    self._client = await nats.connect(
                        self._url.split(","),
                        name=self._name,
                        connect_timeout=1,
                        reconnect_time_wait=_RECONNECT_S,
                        max_reconnect_attempts=-1,
                        ping_interval=_PING_S,
                        max_outstanding_pings=_PINGS_MAX,
                        error_cb=_note,
                        disconnected_cb=self._lost,
                    )
            except TimeoutError as error:
                raise Unavailable(f"NATS: no server answered within {_CONNECT_S_MAX} s") from error
            except LOST as error:
                raise Unavailable(f"NATS: {str(error) or type(error).__name__}") from error
            return self._client, True

    async def close(self) -> None:
        """End the connection; what was not sent is dropped."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(*LOST):
                await client.close()

    async def _lost(self) -> None:
        self._on_lost()


async def _note(error: Exception) -> None:
    _log.debug("nats_error", error=str(error) or type(error).__name__)

"""The bare limit of HTTP: an empty plain-ASGI route, served by uvicorn with the product's options.

`python -m bench.peers.empty_route PORT` serves until it is told to stop.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import uvicorn

from bench.child_process import running
from bench.load_process import LoadFailed
from bench.product import free_port

OPTIONS: dict[str, Any] = {
    "loop": "uvloop",
    "http": "httptools",
    "ws": "none",
    "lifespan": "off",
    "interface": "asgi3",
    "access_log": False,
    "log_config": None,
    "proxy_headers": False,
    "server_header": False,
    "backlog": 2_048,
    "timeout_keep_alive": 75,
}
"""Those of `api.server`; a test holds them together."""

_START_S_MAX = 30.0

_Send = Callable[[dict[str, Any]], Awaitable[None]]

_START = {
    "type": "http.response.start",
    "status": 201,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"2")],
}
_BODY = {"type": "http.response.body", "body": b"{}"}


async def empty(scope: dict[str, Any], receive: Any, send: _Send) -> None:  # noqa: ANN401, ARG001 - ASGI's form
    """Answer at once."""
    await send(_START)
    await send(_BODY)


@contextlib.asynccontextmanager
async def started() -> AsyncIterator[int]:
    """The route in a process of its own: its port. Raises LoadFailed."""
    port = free_port()
    async with running("-m", "bench.peers.empty_route", str(port)) as process:
        await until_it_answers(process, port)
        yield port


async def until_it_answers(process: asyncio.subprocess.Process, port: int) -> None:
    """Wait until a process accepts connections. Raises LoadFailed."""
    deadline_s = time.monotonic() + _START_S_MAX
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            if process.returncode is not None or time.monotonic() > deadline_s:
                raise LoadFailed("the server does not answer") from None
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return


def main() -> None:
    """Serve."""
    uvicorn.run(empty, host="127.0.0.1", port=int(sys.argv[1]), **OPTIONS)


if __name__ == "__main__":
    main()

"""A world's API behind a real socket."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from api.server import Server, ServerOptions
from tests.component.api.world import TOKEN, World

BODY = {"site": "berlin", "sku": "apple", "quantity": 1}
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def served(world: World, grace_s: float = 5.0) -> AsyncIterator[tuple[Server, str, asyncio.Task[None]]]:
    """Return a server, its address as a URL, and its task."""
    port = _free_port()
    ready = asyncio.Event()
    server = Server(world.app, ServerOptions(port=port, grace_s=grace_s), ready.set)
    serving = asyncio.create_task(server.listen())
    await ready.wait()
    try:
        yield server, f"http://127.0.0.1:{port}", serving
    finally:
        server.should_exit = True
        await serving

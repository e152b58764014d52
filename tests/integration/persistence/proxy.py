"""A TCP proxy that a test holds: it can keep back or delay what one side says, and cut connections."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit


class Proxy:
    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname, parts.port)
        self._parts = parts
        self.url = ""
        self.requests_pass = asyncio.Event()
        self.answers_pass = asyncio.Event()
        self.requests_pass.set()
        self.answers_pass.set()
        self.delay_s = 0.0
        """How long each piece of what clients send is on its way."""
        self.held = asyncio.Event()
        """Set when something is being kept back."""
        self._clients: list[asyncio.StreamWriter] = []
        self._servers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def to(cls, url: str) -> AsyncIterator["Proxy"]:
        proxy = cls(url)
        server = await asyncio.start_server(proxy._accept, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        netloc = f"{proxy._parts.username}:{proxy._parts.password}@127.0.0.1:{port}"
        proxy.url = urlunsplit(proxy._parts._replace(netloc=netloc))
        try:
            yield proxy
        finally:
            server.close()
            for task in proxy._tasks:
                task.cancel()
            proxy.cut_clients()
            proxy.cut_servers()
            await asyncio.gather(*proxy._tasks, return_exceptions=True)

    def cut_clients(self) -> None:
        """Cut the clients off; the server notices nothing."""
        for writer in self._clients:
            writer.transport.abort()
        self._clients.clear()

    def cut_servers(self) -> None:
        for writer in self._servers:
            writer.transport.abort()
        self._servers.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(*self._target)
        self._clients.append(writer)
        self._servers.append(server_writer)
        for task in (
            asyncio.create_task(self._pump(reader, server_writer, self.requests_pass)),
            asyncio.create_task(self._pump(server_reader, writer, self.answers_pass)),
        ):
            self._tasks.add(task)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passes: asyncio.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                if not passes.is_set():
                    self.held.set()
                    await passes.wait()
                if self.delay_s and passes is self.requests_pass:
                    await asyncio.sleep(self.delay_s)
                writer.write(data)
                await writer.drain()

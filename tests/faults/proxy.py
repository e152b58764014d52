"""A TCP proxy that cuts connections where it was told to, in the middle of what is said."""

import asyncio
import contextlib
import random
import threading
from collections.abc import Callable
from typing import Protocol, Self
from urllib.parse import urlsplit, urlunsplit

from tests.faults.postgres_conversation import PostgresConversation


class Conversation(Protocol):
    """Looks at one connection, and says how much of it passes."""

    def asks(self, data: bytes) -> tuple[bytes, bool]:
        """Return what passes of what the client sent, and whether both are cut off after it."""

    def answers(self, data: bytes) -> tuple[bytes, bool]:
        """The same of what the server sent."""


class CutFrames:
    """Cuts a connection in the middle of a chunk, by chance, while `is_on` says so."""

    def __init__(self, chance: random.Random, probability: float, is_on: Callable[[], bool]) -> None:
        self._chance = chance
        self._probability = probability
        self._is_on = is_on

    def asks(self, data: bytes) -> tuple[bytes, bool]:
        if len(data) > 1 and self._chance.random() < self._probability and self._is_on():
            return data[: self._chance.randrange(1, len(data))], True
        return data, False

    answers = asks


class Proxy:
    """In front of one server."""

    def __init__(self, host: str, port: int, conversation: Callable[[], Conversation]) -> None:
        self._target = (host, port)
        self._conversation = conversation
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.cuts = 0

    async def open(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            there_reader, there_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        conversation = self._conversation()
        pumps = [
            asyncio.create_task(self._pump(reader, there_writer, conversation.asks)),
            asyncio.create_task(self._pump(there_reader, writer, conversation.answers)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            writer.transport.abort()
            there_writer.transport.abort()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        passing: Callable[[bytes], tuple[bytes, bool]],
    ) -> None:
        """Return when one side has ended, or is cut off."""
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                passes, is_cut = passing(data)
                writer.write(passes)
                await writer.drain()
                if is_cut:
                    self.cuts += 1
                    return


class PostgresProxy:
    """In front of a Postgres, in a thread of its own: callers' load does not slow it down."""

    def __init__(self, url: str, seed: int) -> None:
        self._parts = urlsplit(url)
        self._chance = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        assert self._parts.hostname is not None
        assert self._parts.port is not None
        self._proxy = Proxy(self._parts.hostname, self._parts.port, self._conversation)
        asyncio.run_coroutine_threadsafe(self._proxy.open(), self._loop).result(10)
        self.rule = ""
        """`before` or `after` a commit; empty lets everything pass."""
        self.probability = 0.1

    @property
    def url(self) -> str:
        name = f"{self._parts.username}:{self._parts.password}@127.0.0.1:{self._proxy.port}"
        return urlunsplit(self._parts._replace(netloc=name))

    @property
    def cuts(self) -> int:
        return self._proxy.cuts

    def _conversation(self) -> PostgresConversation:
        return PostgresConversation(self._wanted)

    def _wanted(self) -> str:
        return self.rule if self.rule and self._chance.random() < self.probability else ""

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._proxy.close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

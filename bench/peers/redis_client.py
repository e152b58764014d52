"""A plain connection to Redis, for all that is not measured."""

import asyncio
from typing import Any, Self

from hiredis import Reader, ReplyError

from bench.peers.redis_stock import packed

_READ_BYTES = 1 << 16
_TIMEOUT_S = 60.0


class RedisClient:
    """One connection, one caller at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._stream = reader
        self._writer = writer
        self._replies = Reader()

    @classmethod
    async def connect(cls, host: str, port: int, password: str) -> Self:
        """Return a connection that is let in. Raises OSError or ReplyError: Redis may still read its file."""
        made = cls(*await asyncio.open_connection(host, port))
        try:
            await made.call(("AUTH", password), ("PING",))
        except BaseException:
            await made.close()
            raise
        return made

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()

    async def call(self, *commands: tuple[str | int, ...]) -> list[Any]:
        """Send commands together and return what each came to. Raises ReplyError or ConnectionError."""
        return await self.send(*(packed(*command) for command in commands))

    async def send(self, *requests: bytes) -> list[Any]:
        """Do the same with requests that are packed already."""
        self._writer.write(b"".join(requests))
        replies: list[Any] = []
        async with asyncio.timeout(_TIMEOUT_S):
            while len(replies) < len(requests):
                reply = self._replies.gets()
                if reply is not False:
                    replies.append(reply)
                    continue
                data = await self._stream.read(_READ_BYTES)
                if not data:
                    raise ConnectionError("Redis closed the connection")
                self._replies.feed(data)
        for reply in replies:
            if isinstance(reply, ReplyError):
                raise reply
        return replies

"""Counts the acknowledgements of messages that were published one behind the other.

All messages of a round name the same reply subject, so that one subscription takes all acknowledgements, and
nothing is kept for each message. Others may see that subject and answer to it: what is no acknowledgement of
a stream of ours counts for nothing.
"""

import asyncio

import msgspec
from nats.aio.msg import Msg

from persistence.ports import Unavailable

NO_STREAM = "no stream takes these messages"
_STALL_S_MAX = 2.0
_STREAMS = frozenset({"STOCK", "LEDGER"})


class _Error(msgspec.Struct):
    description: str = "refused"


class _Ack(msgspec.Struct):
    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    error: _Error | None = None


_decode = msgspec.json.Decoder(_Ack).decode


class AckRound:
    """The acknowledgements of one call's messages."""

    def __init__(self) -> None:
        self._acked = 0
        self._wanted = 0
        self._reached: asyncio.Future[None] | None = None
        self.fault: str | None = None
        self.duplicates: list[int] = []
        """Where the messages are stored that were there before, by their ids."""

    def take(self, message: Msg) -> None:
        """Count one acknowledgement; the first refusal is the round's fault."""
        if message.headers is not None and message.headers.get("Status") == "503":
            self.fail(NO_STREAM)
            return
        try:
            ack = _decode(message.data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return
        if ack.error is not None:
            self.fail(ack.error.description)
        elif ack.stream and ack.stream not in _STREAMS:
            self.fail(f"stream {ack.stream} takes these messages")
        elif ack.stream and ack.seq > 0:
            if ack.duplicate:
                self.duplicates.append(ack.seq)
            self._acked += 1
            if self._acked >= self._wanted and self._reached is not None and not self._reached.done():
                self._reached.set_result(None)

    def fail(self, fault: str) -> None:
        """End the round: nobody waits for what will not come."""
        self.fault = self.fault or fault
        if self._reached is not None and not self._reached.done():
            self._reached.set_result(None)

    async def reach(self, wanted: int) -> None:
        """Wait until so many messages are stored. Raises Unavailable: refused, or nothing came for 2 s."""
        while self.fault is None and self._acked < wanted:
            acked = self._acked
            self._wanted = wanted
            self._reached = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(_STALL_S_MAX):
                    await self._reached
            except TimeoutError:
                if self._acked == acked:
                    self.fail("no acknowledgement came")
        if self.fault is not None:
            raise Unavailable(f"NATS: {self.fault}")

"""How far the `LEDGER` stream is filled, whatever else other programs have put into it.

The last message of a partition's subject says it by its id, if it is one of ours. If not, those before it are
looked at, and when there is none nearby, the stream is taken to hold nothing of the partition: it is then
sent again. What somebody forges can have entries sent twice, and none left out: the courier does not go on
from behind its own cursor.
"""

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import msgspec
from nats.aio.client import Client

from persistence.nats.subjects import ledger_subject
from persistence.ports import Unavailable

_GET = "$JS.API.STREAM.MSG.GET.LEDGER"
"""Not the direct form, whose answer has a message's headers as its own: one that says 404 looks like none."""
_NO_MESSAGE = 10037
_AT_ONCE = 32
_STEPS_BACK = (100, 10_000, 1_000_000)
"""How many messages of the stream before the last one of a subject are looked at for one of ours."""
_LOOKS_MAX = 300
"""Messages of one subject that are looked at."""
_ID = re.compile(rb"^Nats-Msg-Id:[ \t]*([^\r\n]*?)[ \t]*\r?$", re.MULTILINE | re.IGNORECASE)
_OURS = re.compile(rb"(0|[1-9][0-9]{0,4}):([1-9][0-9]{0,17})(:[0-9a-f]+)?")


class Stored(msgspec.Struct):
    """A message as the stream holds it."""

    subject: str
    seq: int
    data: bytes = b""
    hdrs: bytes = b""


class _Error(msgspec.Struct):
    err_code: int = 0
    description: str = "refused"


class _Answer(msgspec.Struct):
    message: Stored | None = None
    error: _Error | None = None


_decode = msgspec.json.Decoder(_Answer).decode


def id_again(message_id: str, again: int) -> str:
    """Return another id of the same message, for when the first one was taken by somebody else's."""
    return f"{message_id}:{again:x}"


async def tails_of(client: Client, partitions: Sequence[int], timeout_s: float) -> dict[int, int]:
    """Return the last sequence number that the stream holds, by partition; 0 for none.

    Raises Unavailable when there is no such stream, and what nats-py raises.
    """
    turns = asyncio.Semaphore(_AT_ONCE)

    async def tail(partition: int) -> int:
        async with turns:
            return await _tail_of(client, partition, timeout_s)

    return dict(zip(partitions, await asyncio.gather(*map(tail, partitions)), strict=True))


async def stored_message(client: Client, timeout_s: float, **which: Any) -> Stored | None:  # noqa: ANN401 - JSON
    """Return a message that `LEDGER` holds, by `seq`, `last_by_subj`, or `next_by_subj` from `seq` on.

    Raises Unavailable when the server refuses, and what nats-py raises.
    """
    reply = await client.request(_GET, msgspec.json.encode(which), timeout=timeout_s)
    answer = _decode(reply.data)
    if answer.error is not None and answer.error.err_code != _NO_MESSAGE:
        raise Unavailable(f"NATS: {answer.error.description}")
    return answer.message


async def _tail_of(client: Client, partition: int, timeout_s: float) -> int:
    subject = ledger_subject(partition)
    last = await stored_message(client, timeout_s, last_by_subj=subject)
    if last is None:
        return 0
    found = _tail_in(last, partition)
    looks = 0
    for back in _STEPS_BACK:
        place = max(1, last.seq - back)
        while not found and place < last.seq and looks < _LOOKS_MAX:
            looks += 1
            message = await stored_message(client, timeout_s, seq=place, next_by_subj=subject)
            if message is None:
                break
            found = _tail_in(message, partition)
            place = message.seq + 1
    return found


def _tail_in(message: Stored, partition: int) -> int:
    """Return the last sequence number that a message of a partition carries; 0 when it is none of ours."""
    said = _ID.search(message.hdrs)
    ours = _OURS.fullmatch(said[1]) if said is not None else None
    return int(ours[2]) if ours is not None and int(ours[1]) == partition else 0

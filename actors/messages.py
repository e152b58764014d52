"""What the broadcast carries: messages of consecutive entries, and of bins as they are now."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from actors.frames import encode
from actors.queries import ReadBin
from actors.requests import Request, Status
from engine.entries import Entry
from persistence.nats.subjects import ledger_subject, stock_subject
from persistence.ports import Message

if TYPE_CHECKING:
    from actors.backlog import BinKey
    from actors.host import Host

_MESSAGE_BYTES_MAX = 512 * 1024
"""Half of what a NATS server takes by default."""

_EntryMap = msgspec.defstruct("_EntryMap", [(name, Any) for name in Entry._fields])
"""An entry that is encoded with its fields' names: a third of the time of a dict."""


def ledger_messages(partition: int, entries: list[Entry]) -> list[Message]:
    """Return the messages of the `LEDGER` stream that carry consecutive entries: one, unless too large."""
    payload: dict[str, Any] = {
        "partition": partition,
        "first_seq": entries[0].seq,
        "last_seq": entries[-1].seq,
        "entries": [_EntryMap(*entry) for entry in entries],
    }
    encoded = encode(payload)
    if len(encoded) > _MESSAGE_BYTES_MAX and len(entries) > 1:
        middle = len(entries) // 2
        return ledger_messages(partition, entries[:middle]) + ledger_messages(partition, entries[middle:])
    return [Message(ledger_subject(partition), encoded, f"{partition}:{entries[-1].seq}")]


async def stock_messages(host: Host, bins: list[BinKey]) -> list[Message]:
    """Return the bins' states as of now, each committed; lost partitions' are left out."""
    collector = _Collector(len(bins))
    requests = [
        Request(collector, index, number, "read_bin", ReadBin(site, sku, location))
        for index, (number, site, sku, location) in enumerate(bins)
    ]
    host.receive(requests, is_internal=True)
    await collector.done
    return [Message(stock_subject(*bins[index][1:]), encoded) for index, encoded in collector.answers]


class _Collector:
    """Gathers the answers to reads, not the requests: those name the collector, and would never be freed."""

    def __init__(self, expected: int) -> None:
        self.answers: list[tuple[int, bytes]] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ended_left = expected

    def reply(self, request: Request) -> None:
        """Take an ended read."""
        if request.status == Status.ANSWERED:
            self.answers.append((request.id, request.encoded))
        self._ended_left -= 1
        if not self._ended_left and not self.done.done():
            self.done.set_result(None)

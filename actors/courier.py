"""The courier: broadcasts what is committed, in order, at least once.

For each partition it sends the entries after its cursor to `ledger.<partition>`, then the state of every bin that
they changed to `stock.<site>.<sku>.<location>`. A bin's state is asked of the host like any other read, so that
it is never ahead of the ledger. What was committed while the streams were away, or under another owner, is read
from the ledger. The courier yields to commands: when the host is busy it sends less often, and each message then
carries more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

import structlog

from actors.committer import Batch
from actors.frames import encode
from actors.owned import OwnedPartition
from actors.queries import ReadBin
from actors.requests import Request, Status
from engine.entries import Entry
from persistence.nats.subjects import ledger_subject, stock_subject
from persistence.ports import Cursors, Message, Streams, Unavailable

if TYPE_CHECKING:
    from actors.host import Host

_log = structlog.get_logger()

_ENTRIES_PER_MESSAGE = 500
_ENTRIES_PER_ROUND = 4_000
_BUFFER_ENTRIES_MAX = 100_000
"""Committed entries kept for the courier; beyond it they are read from the ledger again."""
_BUSY_PAUSE_S = 0.02
_CURSORS_EVERY_S = 1.0
_RETRY_S_MAX = 1.0

BinKey = tuple[int, str, str, str]


class _Track:
    """How far one partition is broadcast."""

    __slots__ = ("buffer", "committed_seq", "cursor", "is_behind", "owned")

    def __init__(self, owned: OwnedPartition) -> None:
        self.owned = owned
        self.cursor = -1
        """The last entry that the streams have; -1 until it is known."""
        self.committed_seq = owned.committed_seq
        self.buffer: deque[Entry] = deque()
        self.is_behind = True
        """Whether entries after the cursor must be read from the ledger."""


class Courier:
    """Broadcasts the partitions of a host."""

    def __init__(self, host: Host, streams: Streams, cursors: Cursors) -> None:
        self._host = host
        self._streams = streams
        self._cursors = cursors
        self._tracks: dict[int, _Track] = {}
        self._pending: dict[int, None] = {}
        self._buffered = 0
        self._moved: dict[int, int] = {}
        self._wake = asyncio.Event()
        host.on_owned.append(self._owned)
        host.on_committed.append(self._committed)

    @property
    def lag(self) -> int:
        """How many committed entries are not broadcast yet."""
        return sum(
            track.committed_seq - max(track.cursor, 0)
            for track in self._tracks.values()
            if self._host.owned.get(track.owned.state.number) is track.owned
        )

    def _owned(self, owned: OwnedPartition) -> None:
        number = owned.state.number
        old = self._tracks.get(number)
        if old is not None:
            self._buffered -= len(old.buffer)
        self._tracks[number] = _Track(owned)
        self._pending[number] = None
        self._wake.set()

    def _committed(self, batch: Batch) -> None:
        for entry in batch.entries:
            track = self._tracks.get(entry.partition)
            if track is None:
                continue
            track.committed_seq = entry.seq
            if not track.is_behind:
                track.buffer.append(entry)
                self._buffered += 1
            self._pending[entry.partition] = None
        if self._buffered > _BUFFER_ENTRIES_MAX:
            self._drop_buffers()
        if self._pending:
            self._wake.set()

    def _drop_buffers(self) -> None:
        for track in self._tracks.values():
            if track.buffer:
                track.buffer.clear()
                track.is_behind = True
        self._buffered = 0

    async def run(self) -> None:
        """Broadcast until cancelled."""
        retry_s = 0.05
        saved_s = asyncio.get_running_loop().time()
        while True:
            if not self._pending:
                await self._save_cursors()
                await self._wake.wait()
            self._wake.clear()
            try:
                await self._round()
                retry_s = 0.05
            except Unavailable as fault:
                _log.info("courier_waits", fault=str(fault))
                self._start_over()
                await self._host.sleep(retry_s)
                retry_s = min(retry_s * 2, _RETRY_S_MAX)
            now_s = asyncio.get_running_loop().time()
            if now_s - saved_s > _CURSORS_EVERY_S:
                saved_s = now_s
                await self._save_cursors()
            if self._host.committer.is_committing:
                await self._host.sleep(_BUSY_PAUSE_S)

    def _start_over(self) -> None:
        """Look again at what the streams hold, since any part of what was sent may be there or gone."""
        self._drop_buffers()
        for number, track in self._tracks.items():
            track.cursor = -1
            track.is_behind = True
            self._pending[number] = None

    async def _round(self) -> None:
        """Broadcast a share of what is pending. Raises Unavailable."""
        chosen = [number for number in self._pending if self._is_ours(number)]
        self._pending.clear()
        await self._find_cursors([number for number in chosen if self._tracks[number].cursor < 0])
        messages: list[Message] = []
        bins: dict[BinKey, None] = {}
        ends: dict[int, int] = {}
        room = _ENTRIES_PER_ROUND
        for number in chosen:
            track = self._tracks[number]
            if room <= 0:
                self._pending[number] = None
                continue
            entries = await self._entries_after_cursor(track, min(room, _ENTRIES_PER_MESSAGE))
            if not entries:
                continue
            room -= len(entries)
            assert entries[0].seq == track.cursor + 1, "the broadcast has a gap"
            messages.append(ledger_message(number, entries))
            ends[number] = entries[-1].seq
            if entries[-1].seq < track.committed_seq:
                self._pending[number] = None
            for entry in entries:
                if entry.sku is not None and entry.site is not None and entry.location is not None:
                    bins[number, entry.site, entry.sku, entry.location] = None
        if not messages:
            return
        await self._streams.publish(messages)
        await self._streams.publish(await self._stock_messages(list(bins)))
        for number, seq in ends.items():
            self._tracks[number].cursor = seq
            self._moved[number] = seq

    def _is_ours(self, number: int) -> bool:
        track = self._tracks.get(number)
        return track is not None and self._host.owned.get(number) is track.owned

    async def _find_cursors(self, numbers: list[int]) -> None:
        """Start from where the streams really are: a stream that lost its tail or its all gets it again."""
        if not numbers:
            return
        tails = await self._streams.ledger_tails(numbers)
        for number in numbers:
            self._tracks[number].cursor = tails.get(number, 0)

    async def _entries_after_cursor(self, track: _Track, most: int) -> list[Entry]:
        if track.is_behind:
            entries = await self._host.ledger.read(track.owned.state.number, track.cursor, most)
            entries = [entry for entry in entries if entry.seq <= track.committed_seq]
            if len(entries) < most and (entries[-1].seq if entries else track.cursor) >= track.committed_seq:
                track.is_behind = False
            return entries
        entries = []
        while track.buffer and len(entries) < most:
            entry = track.buffer.popleft()
            self._buffered -= 1
            if entry.seq > track.cursor:
                entries.append(entry)
        return entries

    async def _stock_messages(self, bins: list[BinKey]) -> list[Message]:
        """Return the bins' states as of now, each committed."""
        collector = _Collector(len(bins))
        requests = [
            Request(collector, index, number, "read_bin", ReadBin(site, sku, location))
            for index, (number, site, sku, location) in enumerate(bins)
        ]
        if requests:
            self._host.receive(requests, is_internal=True)
            await collector.done
        return [
            Message(stock_subject(*bins[request.id][1:]), request.encoded)
            for request in collector.requests
            if request.status == Status.ANSWERED
        ]

    async def _save_cursors(self) -> None:
        moved, self._moved = self._moved, {}
        if not moved:
            return
        try:
            await self._cursors.move_cursors(moved)
        except Unavailable:
            self._moved = {**moved, **self._moved}


class _Collector:
    """Gathers the answers to reads."""

    def __init__(self, expected: int) -> None:
        self.requests: list[Request] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._expected = expected

    def reply(self, request: Request) -> None:
        """Take an ended read."""
        self.requests.append(request)
        if len(self.requests) == self._expected and not self.done.done():
            self.done.set_result(None)


def ledger_message(partition: int, entries: list[Entry]) -> Message:
    """Return the message of the `LEDGER` stream that carries these consecutive entries."""
    payload: dict[str, Any] = {
        "partition": partition,
        "first_seq": entries[0].seq,
        "last_seq": entries[-1].seq,
        "entries": [entry._asdict() for entry in entries],
    }
    return Message(ledger_subject(partition), encode(payload), f"{partition}:{entries[-1].seq}")

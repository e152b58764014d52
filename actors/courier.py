"""The courier: broadcasts what is committed, in order, at least once.

For each partition it sends the entries after its cursor to `ledger.<partition>`, then the state of every bin
that they changed to `stock.<site>.<sku>.<location>`. A bin's state is asked of the host like any other read,
so that it is never ahead of the ledger. What was committed while the streams were away, or under another
owner, is read from the ledger.

The courier yields to commands. Entries travel hundreds to a message; bins cost a message each, and while the
host is busy they get a share of its time and no more: each message then shows more changes at once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from actors.backlog import ChangedBins, Track
from actors.marks import Marks
from actors.messages import ledger_messages
from actors.overtaken import Overtaken
from actors.rebuilding import missing_after
from actors.stock_broadcast import StockBroadcast
from persistence.ports import Cursors, Message, RowsChanged, Streams, Unavailable

if TYPE_CHECKING:
    from actors.committer import Batch
    from actors.host import Host
    from actors.owned import OwnedPartition
    from actors.ports import Gateway
    from engine.entries import Entry

_log = structlog.get_logger()

_ENTRIES_PER_MESSAGE = 500
_ENTRIES_PER_ROUND = 4_000
_ENTRIES_PER_TURN = 100
_MESSAGES_PER_TURN = 64
"""What is done before others get a turn of the loop: about a millisecond's worth."""
_BUFFER_ENTRIES_MAX = 100_000
"""Committed entries kept for the courier; beyond it they are read from the ledger again."""
_SHARE_MIN, _SHARE_MAX = 0.12, 0.25
"""The share of the host's time that the courier takes while commands wait: the more its buffer is filled,
since reading entries from the ledger again costs more than sending them now."""
_S_PER_ENTRY = 6e-6
_S_PER_MESSAGE = 30e-6
"""What sending costs the host, measured on two cores."""
_PAUSE_S_MIN = 0.003
_GATHER_S = 0.008
"""How long the first change after a quiet time waits for others: a broadcast for each single commit would
cost the host more than the commit."""
_CURSORS_EVERY_S = 1.0
_LOOK_EVERY_S = 5.0
"""How often a courier that has nothing to send looks whether the streams were away."""
_UNSYNCED_MS = 30_000
"""A server that syncs its streams every 10 s (`sync_interval`) holds for certain what is older."""
_RETRY_S_MAX = 1.0


class Courier:
    """Broadcasts the partitions of a host."""

    def __init__(self, host: Host, streams: Streams, cursors: Cursors, peers: Gateway) -> None:
        self._host = host
        self._streams = streams
        self._marks = Marks(streams, cursors)
        self._tracks: dict[int, Track] = {}
        self._pending: dict[int, None] = {}
        self.overtaken = Overtaken(host, streams, peers)
        self._buffered = 0
        self._wake = asyncio.Event()
        self.bins = StockBroadcast(host, self._publish, self.overtaken, self._is_ours, self._wake.set)
        host.on_owned.append(self._owned)
        host.on_committed.append(self._committed)

    @property
    def lag(self) -> int:
        """How many committed entries and changed bins are not broadcast yet."""
        entries = sum(
            track.committed_seq - max(track.cursor, 0)
            for number, track in self._tracks.items()
            if self._is_ours(number)
        )
        return entries + len(self.bins) + len(self.overtaken)

    def _is_ours(self, number: int) -> bool:
        track = self._tracks.get(number)
        return track is not None and self._host.owned.get(number) is track.owned

    def _owned(self, owned: OwnedPartition) -> None:
        number = owned.state.number
        old = self._tracks.get(number)
        if old is not None:
            self._buffered -= len(old.buffer)
        self._tracks[number] = Track(owned, asyncio.get_running_loop().time())
        self.bins.changed.forget(number)
        self._marks.forget(number)
        self._pending[number] = None
        self._wake.set()

    def _committed(self, batch: Batch) -> None:
        for entry in batch.entries:
            track = self._tracks.get(entry.partition)
            if track is None:
                continue
            track.committed_seq = entry.seq
            track.buffer.append(entry)
            self._buffered += 1
            self._pending[entry.partition] = None
        if self._buffered > _BUFFER_ENTRIES_MAX:
            self._drop_buffers()
        if self._pending:
            self._wake.set()

    def _drop_buffers(self) -> None:
        for track in self._tracks.values():
            track.buffer.clear()
        self._buffered = 0

    async def run(self) -> None:
        """Broadcast until cancelled."""
        retry_s = 0.05
        now_s = saved_s = asyncio.get_running_loop().time()
        debt_s = 0.0
        while True:
            is_idle = not self._pending and not self.bins.changed
            if is_idle:
                await self._save_cursors()
                is_idle = not await self._woken()
            self._wake.clear()
            is_busy = self._host.in_flight > 0
            try:
                if is_idle:  # Streams that were away may have forgotten what nobody would send again.
                    await self._streams.ledger_tails([])
                spent_s = await self._send_entries() + await self.bins.send()
                retry_s = 0.05
            except Unavailable as fault:
                _log.info("courier_waits", fault=str(fault))
                self._start_over()
                await self._host.sleep(retry_s)
                retry_s = min(retry_s * 2, _RETRY_S_MAX)
                continue
            before_s, now_s = now_s, asyncio.get_running_loop().time()
            if now_s - saved_s > _CURSORS_EVERY_S:
                saved_s = now_s
                await self._save_cursors()
            if not is_busy:
                debt_s = 0.0  # Nobody waited when the round began: what it took is no debt.
                continue
            share = self._share()
            debt_s = max(0.0, debt_s + spent_s - (now_s - before_s) * share)
            if debt_s > _PAUSE_S_MIN * share:
                await self._host.sleep(debt_s / share)

    def _share(self) -> float:
        return _SHARE_MIN + (_SHARE_MAX - _SHARE_MIN) * min(1.0, self._buffered / _BUFFER_ENTRIES_MAX)

    async def _woken(self) -> bool:
        """Wait for something to broadcast; False when nothing came for a while."""
        try:
            async with asyncio.timeout(_LOOK_EVERY_S):
                await self._wake.wait()
        except TimeoutError:
            return False
        await self._host.sleep(_GATHER_S)
        return True

    def _start_over(self) -> None:
        """Look again at what the streams hold, since any part of what was sent may be there or gone."""
        self._streams.start_over()
        self._drop_buffers()
        for number, track in self._tracks.items():
            track.looks_back = True
            track.cursor = -1
            self._pending[number] = None

    # Entries

    async def _send_entries(self) -> float:
        """Send a share of the pending entries; return what it cost, in seconds. Raises Unavailable."""
        chosen = [number for number in self._pending if self._is_ours(number)]
        self._pending.clear()
        await self._find_cursors([number for number in chosen if self._tracks[number].cursor < 0])
        messages: list[Message] = []
        sent: list[tuple[Track, list[Entry]]] = []
        more: list[int] = []
        room = _ENTRIES_PER_ROUND
        encoded = 0
        for number in chosen:
            if not self._is_ours(number):
                continue
            track = self._tracks[number]
            if room <= 0 or track.cursor < 0:  # One that was taken over meanwhile starts anew.
                self._pending[number] = None
                continue
            until_seq = track.committed_seq  # What is committed while it is read may be missing there.
            entries = await self._entries_after_cursor(track, min(room, _ENTRIES_PER_MESSAGE))
            if not entries and track.cursor >= until_seq:
                continue
            if self._is_refused(track, track.cursor, entries):
                continue
            room -= len(entries)
            messages += ledger_messages(number, entries)
            sent.append((track, entries))
            encoded += len(entries)
            if encoded >= _ENTRIES_PER_TURN:
                encoded = 0
                await self._host.sleep(0)
            if entries[-1].seq < track.committed_seq:
                more.append(number)
        self._pending |= dict.fromkeys(more)  # After those that found no room: each has its turn.
        self._doubt_others(sent)
        if messages:
            await self._publish(messages)
        for track, entries in sent:
            if self._tracks.get(track.number) is track:  # Else it has been taken over meanwhile.
                track.cursor = entries[-1].seq
                self.bins.changed.note(entries)
        return (_ENTRIES_PER_ROUND - room) * _S_PER_ENTRY + len(messages) * _S_PER_MESSAGE

    def _doubt_others(self, sent: list[tuple[Track, list[Entry]]]) -> None:
        """Have bins said again that the owners before may have on their way."""
        theirs, taken_s = ChangedBins(), 0.0
        for track, entries in sent:
            if entries[0].seq <= track.taken_seq:
                theirs.note(entry for entry in entries if entry.seq <= track.taken_seq)
                taken_s = max(taken_s, track.taken_s)
        if theirs:
            self.bins.repeat_later(theirs.take(len(theirs)), taken_s, holds=True)

    def _is_refused(self, track: Track, seq: int, entries: list[Entry]) -> bool:
        """Whether an entry is missing after `seq`: then the partition is not served, and nothing sent."""
        misfit = missing_after(track.owned.state.number, seq, entries)
        if misfit is not None:
            self._host.ownership.refuse(track.owned, misfit)
        return misfit is not None

    async def _publish(self, messages: list[Message]) -> None:
        for start in range(0, len(messages), _MESSAGES_PER_TURN):
            await self._streams.publish(messages[start : start + _MESSAGES_PER_TURN])

    async def _find_cursors(self, numbers: list[int]) -> None:
        """Find out where partitions go on. Raises Unavailable."""
        if not numbers:
            return
        tracks = [self._tracks[number] for number in numbers]
        await self._marks.find(tracks)
        for track in tracks:
            if track.looks_back:
                try:
                    await self._look_back(track)
                except RowsChanged as fault:
                    self._host.ownership.refuse_changed(fault)

    async def _look_back(self, track: Track) -> None:
        """Note what changed before the cursor since the streams' server last synced for certain.

        `STOCK` and `LEDGER` are files of their own: one may lose what the other has kept.
        """
        number, state = track.number, track.owned.state
        after_seq = await self._host.ledger.seq_at(number, state.at_ms - _UNSYNCED_MS)
        while after_seq < track.cursor:
            entries = await self._host.ledger.read(number, after_seq, _ENTRIES_PER_MESSAGE)
            if self._is_refused(track, after_seq, entries):
                return
            self.bins.changed.note(entry for entry in entries if entry.seq <= track.cursor)
            after_seq = entries[-1].seq
        track.looks_back = False

    async def _entries_after_cursor(self, track: Track, most: int) -> list[Entry]:
        until_seq = track.missing_until
        if track.cursor < until_seq:
            try:
                entries = await self._host.ledger.read(track.number, track.cursor, most)
            except RowsChanged as fault:
                self._host.ownership.refuse_changed(fault)
                return []
            return [entry for entry in entries if entry.seq <= until_seq]
        self._buffered -= len(track.buffer)
        entries = track.take(most)
        self._buffered += len(track.buffer)
        return entries

    # Cursors

    async def _save_cursors(self) -> None:
        """Remember up to where entries and bins are both broadcast for certain; forget what others own."""
        for number in [number for number in self._tracks if number not in self._host.owned]:
            self._buffered -= len(self._tracks.pop(number).buffer)
        done = {number: track.cursor for number, track in self._tracks.items() if self._is_ours(number)}
        for number, first_seq in self.bins.first_seqs():
            if number in done:
                done[number] = min(done[number], first_seq - 1)
        await self._marks.save(done)

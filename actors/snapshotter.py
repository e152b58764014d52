"""Snapshots behind the ledger: dirty stocks and reservations only, a few partitions at a time.

Rows are captured when a batch closes, so that they show the state at a known sequence number, and written
when that batch is durable, so that a snapshot is never ahead of the ledger. While the host is busy, a
snapshot waits: until the interval is over and the commits leave room, but never beyond `snapshot_entries`
entries.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import structlog

from actors.committer import Batch
from actors.owned import OwnedPartition
from engine.images import Rows, capture
from persistence.ports import Unavailable

if TYPE_CHECKING:
    from actors.host import Host

_log = structlog.get_logger()

_CAPTURE_MAX = 2_000
"""Once so many stocks and reservations are captured, the next partition waits: about 20 ms.

A partition is captured whole, however many it has.
"""
_TICK_S = 0.2
_BUSY_INTERVALS = 4
"""How many intervals a snapshot waits for a quiet moment."""


class Image(NamedTuple):
    """A partition's dirty rows at a sequence number."""

    owned: OwnedPartition
    seq: int
    at_ms: int
    rows: Rows
    numbers: frozenset[int]


class Snapshotter:
    """Writes the snapshots of a host's partitions."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._captured: list[tuple[Batch, list[Image]]] = []
        self._ready: deque[list[Image]] = deque()
        self._wanted: deque[OwnedPartition] = deque()
        self._turn = asyncio.Lock()
        self._wake = asyncio.Event()
        host.on_closing.append(self._closing)
        host.on_committed.append(self._committed)

    async def run(self) -> None:
        """Write snapshots every interval, and when the ledger's tail has grown long."""
        host = self._host
        while True:
            waited_s = 0.0
            while True:
                await host.sleep(_TICK_S)
                waited_s += _TICK_S
                is_quiet = (
                    host.in_flight == 0 or waited_s > _BUSY_INTERVALS * host.options.snapshot_interval_s
                )
                is_time = waited_s >= host.options.snapshot_interval_s and is_quiet
                if is_time or self._tail() >= host.options.snapshot_entries:
                    break
            await self.flush()
            if host.in_flight == 0:
                host.on_quiet()

    def _tail(self) -> int:
        """Return how many entries recovery would have to apply now."""
        return sum(owned.committed_seq - owned.snapshot_seq for owned in self._host.owned.values())

    async def flush(self) -> None:
        """Write everything that is dirty now. Returns when it is written. One flush runs at a time."""
        committer = self._host.committer
        async with self._turn:
            for owned in self._host.owned.values():
                if owned.is_ready and (owned.dirty or owned.committed_seq > owned.snapshot_seq):
                    self._wanted.append(owned)
            while self._wanted or self._captured or self._ready:
                if self._ready:
                    await self._write(self._ready.popleft())
                elif self._wanted and committer.is_idle:
                    self._ready.append(self._capture())
                else:
                    self._wake.clear()
                    await self._wake.wait()
            for owned in self._host.owned.values():
                self._rest(owned)

    def _closing(self, batch: Batch) -> None:
        if self._wanted:
            self._captured.append((batch, self._capture()))

    def _committed(self, batch: Batch) -> None:
        while self._captured and self._captured[0][0] is batch:
            self._ready.append(self._captured.pop(0)[1])
        self._wake.set()

    def _capture(self) -> list[Image]:
        images: list[Image] = []
        captured = 0
        while self._wanted and captured < _CAPTURE_MAX:
            owned = self._wanted.popleft()
            if self._host.owned.get(owned.state.number) is not owned:
                continue
            captured += owned.dirty + 1
            numbers = frozenset(owned.dirty_reservations)
            rows = capture(owned.state, owned.dirty_stocks, numbers)
            images.append(Image(owned, owned.state.seq, owned.state.at_ms, rows, numbers))
            owned.dirty_stocks = set()
            owned.dirty_reservations = set()
        return images

    async def _write(self, images: list[Image]) -> None:
        """Write images, however often it takes; those of partitions that were lost or rewound are dropped."""
        host = self._host
        retry_s = 0.05
        while images:
            images = [image for image in images if host.owned.get(image.owned.state.number) is image.owned]
            epochs = {
                image.owned.state.number: (image.owned.epoch, image.seq, image.at_ms) for image in images
            }
            rows = Rows([], [], [])
            for image in images:
                rows.lots.extend(image.rows.lots)
                rows.reservations.extend(image.rows.reservations)
                rows.lines.extend(image.rows.lines)
            try:
                lost = await host.snapshots.save(epochs, rows)
            except Unavailable as fault:
                _log.warning("snapshot_waits", fault=str(fault))
                await host.sleep(retry_s)
                retry_s = min(retry_s * 2, 2.0)
                continue
            if lost:
                host.lost_since({(number, epochs[number][0]) for number in lost})
            for image in images:
                if image.owned.state.number not in lost:
                    image.owned.snapshot_seq = image.seq
                    image.owned.visitors |= image.numbers
            host.gauges.snapshots += 1
            return

    def _rest(self, owned: OwnedPartition) -> None:
        """Let go of resolved reservations that are written, and of stocks beyond the limit."""
        if owned.queue or not owned.is_ready:
            return  # What waits there may need what it has looked up.
        state, visitors = owned.state, owned.visitors
        owned.visitors = set()
        for number in visitors:
            reservation = state.reservations.get(number)
            if reservation is not None and not reservation.open and number not in owned.dirty_reservations:
                del state.reservations[number]
                if reservation.attempt is not None:
                    state.attempts.pop(reservation.attempt, None)
        share = self._host.options.active_stocks_max // max(1, len(self._host.owned))
        if len(state.stocks) > share:
            quiet = [
                key
                for key, stock in state.stocks.items()
                if key not in owned.dirty_stocks and not stock.reservations
            ]
            for key in quiet[: len(state.stocks) - share]:
                del state.stocks[key]
                owned.complete = False

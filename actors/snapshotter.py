"""Snapshots behind the ledger: dirty stocks and reservations only, a few partitions at a time.

A partition's rows are captured as of a known sequence number, some at a time so that nobody waits for them,
and written when that entry is durable, so that a snapshot is never ahead of the ledger. While the host is
busy, a snapshot waits: until the interval is over and the commits leave room, but never beyond
`snapshot_entries` entries.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from actors.image import Image
from engine.images import Rows
from persistence.ports import Unavailable

if TYPE_CHECKING:
    from actors.committer import Batch
    from actors.host import Host
    from actors.owned import OwnedPartition

_log = structlog.get_logger()

_CAPTURED_MAX = 200
"""Rows that are captured in one go, and reservations set to rest: 2 ms."""
_WRITTEN_MAX = 2_000
"""Once so many rows are captured, they are written. A partition is written whole, however many it has."""
_FREED_MAX = 5_000
_TICK_S = 0.2
_BUSY_INTERVALS = 4
"""How many intervals a snapshot waits for a quiet moment."""


class Snapshotter:
    """Writes the snapshots of a host's partitions."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._turn = asyncio.Lock()
        self._wake = asyncio.Event()
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

    async def flush(self, only: frozenset[int] | None = None) -> None:
        """Write everything that is dirty now, or only that of some partitions. Returns when it is written.

        One flush runs at a time. Who cancels one loses what was dirty: only a host that ends may.
        """
        async with self._turn:
            wanted = deque(
                owned
                for number, owned in self._host.owned.items()
                if (only is None or number in only)
                and owned.is_ready
                and (owned.dirty or owned.committed_seq > owned.snapshot_seq)
            )
            while wanted:
                images = await self._capture(wanted)
                await self._durable(images)
                await self._write(images)
            for owned in list(self._host.owned.values()):
                await self._rest(owned)

    def _is_ours(self, owned: OwnedPartition) -> bool:
        """Whether a partition is still owned under the claim under which it was captured."""
        return self._host.owned.get(owned.state.number) is owned

    async def _capture(self, wanted: deque[OwnedPartition]) -> list[Image]:
        """Capture partitions until there is enough to be written."""
        images: list[Image] = []
        captured = in_one_go = 0
        while wanted and captured < _WRITTEN_MAX:
            owned = wanted.popleft()
            if not self._is_ours(owned):
                continue
            image = owned.image = Image(owned)
            while not image.is_complete:
                in_one_go += image.grow(_CAPTURED_MAX - in_one_go)
                if in_one_go >= _CAPTURED_MAX:
                    await self._host.sleep(0)
                    in_one_go = 0
            owned.image = None
            images.append(image)
            captured += image.size
        return images

    async def _durable(self, images: list[Image]) -> None:
        """Wait until what images show is durable, or their partitions are not ours any more."""
        for image in images:
            while image.owned.committed_seq < image.seq and self._is_ours(image.owned):
                self._wake.clear()
                with suppress(TimeoutError):  # A partition may be lost without a commit after it.
                    async with asyncio.timeout(_TICK_S):
                        await self._wake.wait()

    def _committed(self, _: Batch) -> None:
        self._wake.set()

    async def _write(self, images: list[Image]) -> None:
        """Write images, however often it takes; those of partitions that were lost or rewound are dropped."""
        host = self._host
        retry_s = 0.05
        while images := [image for image in images if self._is_ours(image.owned)]:
            epochs = {
                image.owned.state.number: (image.owned.epoch, image.seq, image.at_ms) for image in images
            }
            try:
                lost = await host.snapshots.save(epochs, _joined(images))
            except Unavailable as fault:
                _log.warning("snapshot_waits", fault=str(fault))
                await host.sleep(retry_s)
                retry_s = min(retry_s * 2, 2.0)
                continue
            if lost:
                host.ownership.lost_since({(number, epochs[number][0]) for number in lost})
            for image in images:
                if image.owned.state.number not in lost:
                    image.owned.snapshot_seq = image.seq
            host.gauges.snapshots += 1
            await self._free(images)
            return

    async def _free(self, images: list[Image]) -> None:
        """Let go of rows some at a time: to free 200,000 takes 40 ms."""
        for image in images:
            for rows in image.rows:
                while len(rows) > _FREED_MAX:
                    del rows[-_FREED_MAX:]
                    await self._host.sleep(0)

    async def _rest(self, owned: OwnedPartition) -> None:
        """Let go of resolved reservations that are written, and of stocks beyond the limit."""
        visitors, owned.visitors = owned.visitors, set()
        while visitors and not self._is_needed(owned):
            for _ in range(min(len(visitors), _CAPTURED_MAX)):
                _let_go(owned, visitors.pop())
            if visitors:
                await self._host.sleep(0)
        owned.visitors |= visitors
        share = self._host.options.active_stocks_max // max(1, len(self._host.owned))
        if len(owned.state.stocks) > share and not self._is_needed(owned):
            _let_go_of_stocks(owned, share)

    def _is_needed(self, owned: OwnedPartition) -> bool:
        """Whether requests wait at a partition: they may need what they have looked up."""
        return bool(owned.queue) or not owned.is_ready


def _joined(images: list[Image]) -> Rows:
    joined = Rows([], [], [])
    for image in images:
        joined.lots.extend(image.rows.lots)
        joined.reservations.extend(image.rows.reservations)
        joined.lines.extend(image.rows.lines)
    return joined


def _let_go(owned: OwnedPartition, number: int) -> None:
    """Let go of a reservation that is resolved and written."""
    state = owned.state
    reservation = state.reservations.get(number)
    if reservation is not None and not reservation.open and number not in owned.dirty_reservations:
        del state.reservations[number]
        if reservation.attempt is not None:
            state.attempts.pop(reservation.attempt, None)


def _let_go_of_stocks(owned: OwnedPartition, most: int) -> None:
    """Let go of stocks that are written and have no open reservations, until there are `most`."""
    stocks = owned.state.stocks
    quiet = [key for key, stock in stocks.items() if key not in owned.dirty_stocks and not stock.reservations]
    for key in quiet[: len(stocks) - most]:
        del stocks[key]
        owned.complete = False

"""Bins that were broadcast too late: after another host had taken their partition.

A host that is stopped between reading a bin and publishing it, and goes on after it was replaced, overwrites
what its successor has said since, and `STOCK` keeps the last message for ever. So who was slow looks whether
it still owned what it sent, and if not says again what the owner says, until that stands.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from actors.frames import encode
from actors.outcomes import Answered, Unavailable
from actors.queries import ReadBin
from persistence.nats.subjects import stock_subject
from persistence.ports import Message, Streams

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actors.backlog import BinKey
    from actors.host import Host
    from actors.ports import Gateway

_TRIES_MAX = 5
"""Of one bin in a row: a hot one changes while it is said."""
_RETRY_S = 0.1
_RETRY_S_MAX = 2.0


class Overtaken:
    """Bins whose last broadcast may not be their last state."""

    def __init__(self, host: Host, streams: Streams, peers: Gateway) -> None:
        self._host = host
        self._streams = streams
        self._peers = peers
        self._doubtful: dict[tuple[int, int], set[BinKey]] = {}
        """By the (partition, epoch) under which they were read."""
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return sum(map(len, self._doubtful.values()))

    def doubt(self, bins: Iterable[BinKey], epochs: dict[int, int]) -> None:
        """Remember bins that were read under these epochs, and published when others may have had them."""
        for bin_ in bins:
            claim = bin_[0], epochs.get(bin_[0], 0)
            self._doubtful.setdefault(claim, set()).add(bin_)
            self._wake.set()

    async def run(self) -> None:
        """Settle doubts until cancelled; the courier does not wait for it."""
        retry_s = _RETRY_S
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self.settle()
            retry_s = min(retry_s * 2, _RETRY_S_MAX) if self._doubtful else _RETRY_S
            if self._doubtful:
                self._wake.set()
                await self._host.sleep(retry_s)

    async def settle(self) -> None:
        """Say again what others have changed since; what cannot be settled now stays doubtful."""
        for claim in list(self._doubtful):
            with suppress(Unavailable):
                if await self._host.snapshots.lost(dict([claim])):
                    for bin_ in sorted(self._doubtful[claim]):
                        if await self._say_again(*bin_):
                            self._doubtful[claim].discard(bin_)
                else:
                    self._doubtful[claim].clear()
            if not self._doubtful[claim]:
                del self._doubtful[claim]

    async def _say_again(self, partition: int, site: str, sku: str, location: str) -> bool:
        """Publish what the owner says of a bin; whether it still says so after that. Raises Unavailable."""
        said = -1
        for _ in range(_TRIES_MAX):
            outcome = await self._peers.query(partition, ReadBin(site, sku, location))
            if not isinstance(outcome, Answered) or outcome.view["seq"] == said:
                return True
            said = outcome.view["seq"]
            await self._streams.publish([Message(stock_subject(site, sku, location), encode(outcome.view))])
        return False

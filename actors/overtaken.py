"""Bins that were broadcast too late: after another host had taken their partition.

A host that is stopped between reading a bin and publishing it, and goes on after it was replaced, overwrites
what its successor has said since, and `STOCK` keeps the last message for ever. So who was slow looks whether
it still owned what it sent, and if not says again what the owner says, until that stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.frames import encode
from actors.outcomes import Answered
from actors.queries import ReadBin
from persistence.nats.subjects import stock_subject
from persistence.ports import Message, Streams, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actors.backlog import BinKey
    from actors.host import Host
    from actors.ports import Gateway

_TRIES_MAX = 100


class Overtaken:
    """Bins whose last broadcast may not be their last state."""

    def __init__(self, host: Host, streams: Streams, peers: Gateway) -> None:
        self._host = host
        self._streams = streams
        self._peers = peers
        self._doubtful: dict[tuple[int, int], set[BinKey]] = {}
        """By the (partition, epoch) under which they were read."""

    def __len__(self) -> int:
        return sum(map(len, self._doubtful.values()))

    def doubt(self, bins: Iterable[BinKey], epochs: dict[int, int]) -> None:
        """Remember bins that were read under these epochs and published late."""
        for bin_ in bins:
            claim = bin_[0], epochs.get(bin_[0], 0)
            self._doubtful.setdefault(claim, set()).add(bin_)

    async def settle(self) -> None:
        """Say again what others have changed since. Raises Unavailable: it can be tried again."""
        for claim in list(self._doubtful):
            if await self._host.snapshots.lost(dict([claim])):
                for bin_ in sorted(self._doubtful[claim]):
                    await self._say_again(*bin_)
            del self._doubtful[claim]

    async def _say_again(self, partition: int, site: str, sku: str, location: str) -> None:
        """Publish what the owner says of a bin, until it says the same after it was published."""
        said = -1
        for _ in range(_TRIES_MAX):
            outcome = await self._peers.query(partition, ReadBin(site, sku, location))
            if not isinstance(outcome, Answered) or outcome.view["seq"] == said:
                return
            said = outcome.view["seq"]
            await self._streams.publish([Message(stock_subject(site, sku, location), encode(outcome.view))])
        raise Unavailable("a bin changes faster than it is broadcast")

"""The bins' half of the broadcast: the state of every bin that changed, to `stock.<site>.<sku>.<location>`.

The courier says which bins changed, and gives it its turns.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

from actors.backlog import BinKey, ChangedBins
from actors.messages import stock_messages
from persistence.ports import Message, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from actors.host import Host
    from actors.overtaken import Overtaken

_BINS_PER_ROUND = 64
_BINS_PER_QUIET_ROUND = 4_000
_S_PER_BIN = 50e-6
"""What sending one costs the host, measured on two cores."""
_LATE_S = 0.1
"""When publishing what was read has taken so long, another host may have the partitions without our knowing:
a standby takes over in tenths of a second."""
_AGAIN_S, _CERTAIN_S = 2.0, 10.0
"""How long after a connection, or the host before, is gone a message of theirs may still arrive: it would
overwrite what is newer. Bins are said again soon, and once more when that is certain: by then the streams'
server has closed a connection on which it hears nothing (`ping_interval: 2s`, `ping_max: 2`: within 8 s)."""


class StockBroadcast:
    """Broadcasts a host's bins.

    `publish` sends messages; `is_ours` says whether a partition is; `wake` is called when bins are due again.
    """

    def __init__(
        self,
        host: Host,
        publish: Callable[[list[Message]], Awaitable[None]],
        overtaken: Overtaken,
        is_ours: Callable[[int], bool],
        wake: Callable[[], None],
    ) -> None:
        self._host = host
        self._publish = publish
        self._overtaken = overtaken
        self._is_ours = is_ours
        self._wake = wake
        self.changed = ChangedBins()
        self.on_their_way = 0
        self._doubts: dict[int, dict[int, int]] = {}
        """Of bins that will be said again: the first entry of each partition that may be overwritten."""
        self._numbers = itertools.count()

    def __len__(self) -> int:
        """How many bins are not broadcast yet."""
        return len(self.changed) + self.on_their_way

    @property
    def is_certain(self) -> bool:
        """Whether no older message can overwrite what was broadcast any more."""
        return not self._doubts

    def first_seqs(self) -> Iterator[tuple[int, int]]:
        """Return (partition, first entry whose broadcast is not certain to stand) of each such bin."""
        yield from self.changed.first_seqs()
        for firsts in self._doubts.values():
            yield from firsts.items()

    async def send(self) -> float:
        """Send the state of the bins that have waited longest; return what it cost, in seconds.

        Raises Unavailable.
        """
        taken = self.changed.take(_BINS_PER_ROUND if self._host.in_flight else _BINS_PER_QUIET_ROUND)
        if not taken:
            return 0.0
        self.on_their_way = len(taken)
        epochs = self._host.ownership.epochs_of({key[0] for key in taken})
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            await self._publish(await stock_messages(self._host, list(taken)))
        except BaseException as fault:
            self.changed.put_back(taken)
            if isinstance(fault, Unavailable):
                self.repeat_later(taken, loop.time())
            raise
        finally:
            self.on_their_way = 0
            is_late = loop.time() - began_s > _LATE_S
            now = {} if is_late else self._host.ownership.epochs_of(epochs)
            self._overtaken.doubt((key for key in taken if now.get(key[0]) != epochs.get(key[0])), epochs)
        return len(taken) * _S_PER_BIN

    def repeat_later(self, bins: dict[BinKey, int], gone_s: float, *, holds: bool = False) -> None:
        """Send bins again, until no older message of theirs can arrive any more.

        `gone_s` is when its sender was last heard of, by the loop; `holds` has the cursor wait until then.
        """
        loop, number = asyncio.get_running_loop(), next(self._numbers)
        if loop.time() >= gone_s + _CERTAIN_S:
            return
        firsts: dict[int, int] = {}
        for key, seq in bins.items():
            firsts[key[0]] = min(seq, firsts.get(key[0], seq))
        self._doubts[number] = firsts if holds else {}
        if loop.time() < gone_s + _AGAIN_S:
            loop.call_at(gone_s + _AGAIN_S, self._repeat, bins)
        loop.call_at(gone_s + _CERTAIN_S, self._settle, number, bins)

    def _settle(self, number: int, bins: dict[BinKey, int]) -> None:
        del self._doubts[number]
        self._repeat(bins)

    def _repeat(self, bins: dict[BinKey, int]) -> None:
        self.changed.add((key, seq) for key, seq in bins.items() if self._is_ours(key[0]))
        self._wake()

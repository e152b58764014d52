"""Whether a gateway has room for one more request to a partition: one host that is away takes no other's.

What waits is bounded altogether. A host may have half of what the others leave free, and so may all requests
whose host is not known: the rest has room, however long one of them keeps its callers waiting.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sized

    from actors.lane_client import Lane
    from actors.lanes import Lanes


class Room:
    """What may wait. `heeds_hosts`: whether a host is sent no more than it takes without refusing any."""

    def __init__(
        self, lanes: Lanes, routes: dict[int, Lane], pending: Sized, *, most: int, heeds_hosts: bool
    ) -> None:
        self._lanes = lanes
        self._routes = routes
        self._pending = pending
        self._most = most
        self._heeds_hosts = heeds_hosts
        self._loop = asyncio.get_running_loop()

    def has_room(self, partition: int, besides: int = 0) -> bool:
        """Whether a request for a partition may be sent, or wait until its owner is known.

        `besides` are requests that are as good as sent, wherever they go.
        """
        waiting = len(self._pending)
        free = self._most - waiting - besides
        lane = self._routes.get(partition)
        if lane is None:
            return waiting - self._lanes.under_way < free
        allowance = lane.allowance
        if allowance.under_way >= free:
            return False
        return not (self._heeds_hosts and allowance.is_used_up(self._loop.time(), besides))

    def has_any(self) -> bool:
        """Whether a step may be sent that ends what was begun, and would leave units held else."""
        return len(self._pending) < self._most

    def is_short(self, besides: int = 0) -> bool:
        """Whether there may be partitions for which there is none."""
        if 2 * (len(self._pending) + besides) >= self._most:
            return True
        return self._heeds_hosts and self._lanes.is_one_full(self._loop.time(), besides)

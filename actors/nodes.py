"""Where hosts are started: where there are fewest, and rather not where one was just lost or did not start.

Ray believes in a lost node until its health check has failed often enough, and would start hosts there
meanwhile. So a node that lost a host is doubted until it is known to live: a host on it has answered since,
one was started on it since, or Ray still names it after so long that it must have heard of it since. A node
that Ray names no more is gone; it comes back under another name.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable

from actors.launching import Launcher
from actors.outcomes import Unavailable
from actors.places import HostProcess

LOST_S_MAX = 70.0
"""With Ray's health check as it is by default."""


class Nodes:
    """The nodes of the cluster; `hosts` tells which hosts there are."""

    def __init__(self, launcher: Launcher, hosts: Callable[[], Iterable[HostProcess]]) -> None:
        self._launcher = launcher
        self._hosts = hosts
        self.lost_s_max = LOST_S_MAX
        """After so long a node that was lost is missing from what Ray names."""
        self._lost_s: dict[str, float] = {}
        """When a doubted node last lost a host, or last failed to start one."""
        self._failed: set[str] = set()
        """Of these, those on which a host did not start: that another lives there says nothing."""
        self._known: list[str] = []

    async def ask(self) -> list[str]:
        """Return the nodes that hosts can be started on, as Ray sees them now. Raises Unavailable."""
        self._known = await self._launcher.nodes()
        for gone in self._lost_s.keys() - set(self._known):
            del self._lost_s[gone]
            self._failed.discard(gone)
        return self._known

    def lost(self, node: str) -> None:
        """Trust a node less: a host was lost there."""
        self._lost_s[node] = _now_s()

    def failed(self, node: str) -> None:
        """Trust a node less: a host did not start there."""
        self.lost(node)
        self._failed.add(node)

    def answered(self, node: str, asked_s: float) -> None:
        """Take note that a host on a node has answered what it was asked at a time."""
        if node not in self._failed:
            self.started(node, asked_s)

    def started(self, node: str, asked_s: float) -> None:
        """Take note that a host was started on a node, as was asked at a time."""
        if asked_s > self._lost_s.get(node, asked_s):
            del self._lost_s[node]
            self._failed.discard(node)

    def is_doubted(self, node: str | None) -> bool:
        """Whether a host was lost there, or did not start, and nobody knows yet that the node lives."""
        lost_s = self._lost_s.get(node) if node is not None else None
        return lost_s is not None and _now_s() - lost_s < self.lost_s_max

    @property
    def has_others(self) -> bool:
        """Whether there are nodes that are not doubted."""
        return not all(map(self.is_doubted, self._known))

    async def best(self, chosen: Iterable[str | None]) -> str | None:
        """Return the node for one more host, None when nobody knows: then Ray decides.

        `chosen` are the nodes on which hosts are being started.
        """
        try:
            nodes = await self.ask()
        except Unavailable:
            return None
        count = self.count(chosen)
        return min(nodes, key=lambda node: (self._doubt_of(node), count[node], node), default=None)

    def count(self, chosen: Iterable[str | None] = ()) -> Counter[str | None]:
        """Return how many hosts each node has, with those of `chosen`."""
        return Counter([*(process.node for process in self._hosts()), *chosen])

    def _doubt_of(self, node: str) -> float:
        """Return 0 for a node that is trusted; of the others, the one that is doubted longest comes first."""
        return self._lost_s[node] if self.is_doubted(node) else 0.0


def _now_s() -> float:
    return asyncio.get_running_loop().time()

"""Where hosts are started: where there are fewest, and rather not where one was just lost or did not start.

Ray believes in a lost node for 15 seconds and more (its health check), and would start hosts there meanwhile.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable

from actors.launching import Launcher
from actors.outcomes import Unavailable
from actors.places import HostProcess

_DOUBT_S = 30.0
"""How long a node is doubted after one of its hosts was lost: until Ray is sure to know."""


class Nodes:
    """The nodes of the cluster; `hosts` tells which hosts there are."""

    def __init__(self, launcher: Launcher, hosts: Callable[[], Iterable[HostProcess]]) -> None:
        self._launcher = launcher
        self._hosts = hosts
        self._lost_s: dict[str, float] = {}
        """When each node last lost a host."""
        self._known: list[str] = []

    def doubt(self, node: str) -> None:
        """Trust a node less: a host was lost there, or did not start."""
        self._lost_s[node] = asyncio.get_running_loop().time()

    def is_doubted(self, node: str | None) -> bool:
        """Whether a host was lost there, or did not start, a short while ago."""
        lost_s = self._lost_s.get(node) if node is not None else None
        return lost_s is not None and asyncio.get_running_loop().time() - lost_s < _DOUBT_S

    @property
    def has_others(self) -> bool:
        """Whether there are nodes that are not doubted."""
        return not all(map(self.is_doubted, self._known))

    async def best(self, chosen: Iterable[str | None]) -> str | None:
        """Return the node for one more host, None when nobody knows: then Ray decides.

        `chosen` are the nodes on which hosts are being started.
        """
        try:
            nodes = self._known = await self._launcher.nodes()
        except Unavailable:
            return None
        count = Counter([*(process.node for process in self._hosts()), *chosen])
        return min(nodes, key=lambda node: (self._doubt_of(node), count[node], node), default=None)

    def _doubt_of(self, node: str) -> float:
        """Return 0 for a node that is trusted; of the others, the one that is doubted longest comes first."""
        return self._lost_s[node] if self.is_doubted(node) else 0.0

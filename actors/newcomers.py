"""Nodes that were added to the cluster: which of them shall take a share of the partitions now.

What is looked for is a node without any host of a place. It must have been there for a while, not doubted,
with every place served. After each movement there is a rest, and a longer one after each that follows soon:
nodes that come and go do not have partitions moved about all the time.
"""

from collections.abc import Callable, Iterable, Sequence

from actors.places import Place

_SOUND_S = 5.0
"""How long a node must have been there."""
_LOOK_S = 2.0
_REST_S = 30.0
_REST_S_MAX = 240.0


class Newcomers:
    """Nodes that wait for their share; `clock` tells seconds of any beginning."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since_s: dict[str, float] = {}
        """Since when each node without a host has been sound."""
        self._looked_s = -_LOOK_S
        self._moved_s = -_REST_S_MAX
        """When somebody last was given a share."""
        self._rest_s = 0.0

    def is_time(self) -> bool:
        """Whether it is time to look at the nodes again."""
        return self._clock() - self._looked_s >= _LOOK_S

    def look(self, nodes: Iterable[str], places: Sequence[Place]) -> list[str] | None:
        """Return those of the nodes that wait for a share now; None when nothing may be moved now.

        None of the nodes may be doubted.
        """
        now_s = self._looked_s = self._clock()
        used = {place.process.node for place in places if place.process is not None}
        is_quiet = all(place.is_serving for place in places)
        empty = [node for node in nodes if node not in used] if is_quiet else []
        self._since_s = {node: self._since_s.get(node, now_s) for node in empty}
        if not is_quiet or now_s - self._moved_s < self._rest_s:
            return None
        return sorted(node for node, since_s in self._since_s.items() if now_s - since_s >= _SOUND_S)

    def moved(self) -> None:
        """Rest from now on: partitions were moved, or it was tried."""
        now_s = self._clock()
        is_soon = now_s - self._moved_s < _REST_S_MAX
        self._rest_s = min(self._rest_s * 2, _REST_S_MAX) if is_soon and self._rest_s else _REST_S
        self._moved_s = now_s

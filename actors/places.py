"""Places: shares of the partitions, each with one host at a time, and how partitions are spread over them."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol


class HostProcess(Protocol):
    """A started host, as the launcher knows it."""

    name: str
    address: str
    pid: int
    node: str


class Place:
    """A host's share of the partitions, whoever serves it."""

    def __init__(self, number: int, partitions: Iterable[int], *, is_dedicated: bool = False) -> None:
        self.number = number
        self.partitions = set(partitions)
        self.is_dedicated = is_dedicated
        """Whether it is for one hot partition: rebalancing gives it nothing else."""
        self.process: HostProcess | None = None
        self.is_serving = False


class Move(NamedTuple):
    """Partitions that shall go from one place to another."""

    partitions: list[int]
    source: Place
    target: Place


class Moved(NamedTuple):
    """What became of a move."""

    partitions: list[int]
    """Those that have moved; the others are where they were."""
    refused: list[int]
    """Those whose ledger is refused: they cannot move."""
    pause_ms: float
    """How long the requests of those that moved have waited."""


def first_places(partitions: int, hosts: int, isolated: Iterable[int] = ()) -> list[Place]:
    """Return the places that a supervisor starts with: shared ones, and one for each isolated partition."""
    alone = sorted(set(isolated))
    shared = [number for number in range(partitions) if number not in set(alone)]
    places = [Place(index, shared[index::hosts]) for index in range(hosts)]
    return places + [Place(hosts + index, [n], is_dedicated=True) for index, n in enumerate(alone)]


def even_moves(places: Sequence[Place]) -> list[Move]:
    """Return the fewest moves after which no place has two partitions more than another."""
    held = {place.number: sorted(place.partitions) for place in places}
    by_number = {place.number: place for place in places}
    moves: dict[tuple[int, int], list[int]] = {}
    while True:
        fullest = max(held, key=lambda number: (len(held[number]), -number))
        emptiest = min(held, key=lambda number: (len(held[number]), number))
        if len(held[fullest]) - len(held[emptiest]) < 2:
            return [
                Move(partitions, by_number[source], by_number[target])
                for (source, target), partitions in moves.items()
            ]
        partition = held[fullest].pop()
        held[emptiest].append(partition)
        moves.setdefault((fullest, emptiest), []).append(partition)


def emptying_moves(place: Place, others: Sequence[Place]) -> list[Move]:
    """Return the moves by which a place's partitions go to those others that have the fewest."""
    counts = [len(other.partitions) for other in others]
    shares: list[list[int]] = [[] for _ in others]
    for partition in sorted(place.partitions):
        index = counts.index(min(counts))
        shares[index].append(partition)
        counts[index] += 1
    return [Move(share, place, other) for share, other in zip(shares, others, strict=True) if share]


def crowded(
    places: Sequence[Place],
    nodes: Iterable[str],
    movable: Sequence[Place] | None = None,
    targets: Collection[str] | None = None,
) -> tuple[Place, str] | None:
    """Return a place whose host should go to another node, and that node; None when hosts lie evenly.

    Hosts lie evenly when no node has two more than another. A node without room is not among `nodes`. All
    hosts count; only `movable` ones go, if they are given, and only to `targets`.
    """
    count: Mapping[str, int] = Counter(place.process.node for place in places if place.process is not None)
    hosts = {node: count.get(node, 0) for node in nodes}
    going = [
        place
        for place in (places if movable is None else movable)
        if place.process is not None and place.process.node in hosts
    ]
    ends = [node for node in hosts if targets is None or node in targets]
    if not going or not ends:
        return None
    place = max(going, key=lambda one: (hosts[_node_of(one)], _node_of(one), -one.number))
    emptiest = min(ends, key=lambda node: (hosts[node], node))
    return (place, emptiest) if hosts[_node_of(place)] - hosts[emptiest] >= 2 else None


def _node_of(place: Place) -> str:
    assert place.process is not None, "the place has no host"
    return place.process.node

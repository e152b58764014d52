"""What is stored of the placement of partitions: which host owns each, and what an administrator wishes.

It routes requests and moves partitions. Safety stands on the claims in the ledger, and on nothing here.
"""

from typing import NamedTuple, Protocol

from engine.commands import StockKey


class Placement(NamedTuple):
    """Who owns a partition, as last recorded. Routes only: safety stands on the claims."""

    partition: int
    host: str
    address: str
    """host:port of the owner's lanes."""
    epoch: int


class Directory(Protocol):
    """Where partitions are."""

    async def placements(self) -> list[Placement]:
        """Return the owner of every partition that was ever claimed. Raises Unavailable."""


class Wish(NamedTuple):
    """How an administrator wants partitions to be placed."""

    number: int
    """Rises by one with each wish; 0 when nothing was ever wished."""
    isolated: tuple[StockKey, ...]
    """Stocks whose partition has a host of its own."""
    spread: int
    """The last wish that asked for an even spread; 0 for none."""
    hosts: int | None
    """Over how many hosts; None for as many as are set, and at least one a node."""


class Granted(NamedTuple):
    """How far the supervisor has come with wishes."""

    number: int
    """The last wish that is carried out; 0 for none."""
    begun: int
    """The last that it began with."""
    moved: int
    """Partitions that were moved for it."""
    hosts: int
    """Hosts that have partitions since."""
    pause_ms_max: float
    """The longest that requests of a partition waited for its move."""
    refused: tuple[int, ...] = ()
    """Partitions that had to stay where they were, because their ledger is refused."""


class Wishes(Protocol):
    """What is wished of the placement, and what has become of it. All methods raise Unavailable."""

    async def isolate(self, stock: StockKey) -> int:
        """Wish that a stock's partition has a host of its own; return the wish's number."""

    async def join(self, stock: StockKey) -> int:
        """Wish that a stock is not isolated any more; return the wish's number."""

    async def spread(self, hosts: int | None) -> int:
        """Wish that partitions are spread evenly; return the wish's number."""

    async def wished(self) -> Wish:
        """Return all that is wished now."""

    async def granted(self) -> Granted:
        """Return how far it is carried out."""

    async def grant(self, granted: Granted) -> None:
        """Say how far it is carried out."""

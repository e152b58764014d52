"""What is wished of the placement, in memory."""

from engine.commands import StockKey
from persistence.placement import Granted, Wish
from persistence.wishing import NOTHING_GRANTED, NOTHING_WISHED, isolating, joining, spreading


class MemoryWishes:
    """Wishes, and what has become of them."""

    def __init__(self) -> None:
        self._wish = NOTHING_WISHED
        self._granted = NOTHING_GRANTED

    async def isolate(self, stock: StockKey) -> int:
        """See `Wishes.isolate`."""
        self._wish = isolating(self._wish, stock)
        return self._wish.number

    async def join(self, stock: StockKey) -> int:
        """See `Wishes.join`."""
        self._wish = joining(self._wish, stock)
        return self._wish.number

    async def spread(self, hosts: int | None) -> int:
        """See `Wishes.spread`."""
        self._wish = spreading(self._wish, hosts)
        return self._wish.number

    async def wished(self) -> Wish:
        """See `Wishes.wished`."""
        return self._wish

    async def granted(self) -> Granted:
        """See `Wishes.granted`."""
        return self._granted

    async def grant(self, granted: Granted) -> None:
        """See `Wishes.grant`."""
        self._granted = granted

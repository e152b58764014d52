"""What a partition's ledger adds up to so far, lot by lot, and whether its rows say the same."""

from collections.abc import Iterable
from zlib import crc32

from engine.commands import StockKey
from persistence.balances import LotSum

Place = tuple[str, str]
"""(location, lot)"""
Balance = tuple[int, int, int]
"""(on hand, reserved, held)"""


class Sum:
    """One lot in one bin."""

    __slots__ = ("balance", "beyond", "seq")

    def __init__(self) -> None:
        self.seq = 0
        """Of the lot's last entry."""
        self.balance: Balance = (0, 0, 0)
        """The sum of its entries."""
        self.beyond: Balance = (0, 0, 0)
        """By how many units a row's own balances were beyond the sum up to it, where that was furthest."""

    def add(self, found: LotSum) -> None:
        """Add the next stretch of the ledger."""
        before, beyond = self.balance, self.beyond
        if found.least != before or found.most != before or beyond != (0, 0, 0):
            on_hand, reserved, held = (
                max((least - had, most - had, furthest), key=abs)
                for least, most, had, furthest in zip(found.least, found.most, before, beyond, strict=True)
            )
            self.beyond = on_hand, reserved, held
        self.balance = before[0] + found.on_hand, before[1] + found.reserved, before[2] + found.held
        self.seq = found.seq


class Sums:
    """The sums of a share of a partition's SKUs: all of them, unless there are too many lots to remember."""

    def __init__(self, share: int, shares: int) -> None:
        self.seq = 0
        """Up to which entry the ledger was added up."""
        self.lots = 0
        self.of: dict[StockKey, dict[Place, Sum]] = {}
        self._share = share
        self._shares = shares

    def has(self, sku: str) -> bool:
        """Whether a SKU is of this share."""
        return self._shares == 1 or crc32(sku.encode()) % self._shares == self._share

    def add(self, stretch: Iterable[LotSum], until_seq: int) -> None:
        """Add what the next stretch of the ledger adds up to."""
        for found in stretch:
            if self.has(found.sku):
                places = self.of.setdefault((found.site, found.sku), {})
                place = (found.location, found.lot)
                lot = places.get(place)
                if lot is None:
                    lot = places[place] = Sum()
                    self.lots += 1
                lot.add(found)
        self.seq = until_seq

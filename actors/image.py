"""A partition's image for a snapshot: its dirty rows as of one sequence number, made a few at a time.

It is of the moment at which it was begun. Whatever changes before its turn has come is captured first: the
host says so before it applies entries. So nothing waits for a large image, and its rows are of one moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.images import Rows, capture

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actors.owned import OwnedPartition
    from engine.commands import StockKey
    from engine.entries import Entry


class Image:
    """The rows that were dirty when it was begun. It takes the partition's dirty marks over."""

    def __init__(self, owned: OwnedPartition) -> None:
        self.owned = owned
        self.seq = owned.state.seq
        self.at_ms = owned.state.at_ms
        self.rows = Rows([], [], [])
        self._stocks, owned.dirty_stocks = owned.dirty_stocks, set()
        self._numbers, owned.dirty_reservations = owned.dirty_reservations, set()

    @property
    def size(self) -> int:
        """How many rows were captured so far, reservations with their lines."""
        return len(self.rows.lots) + len(self.rows.reservations)

    @property
    def is_complete(self) -> bool:
        """Whether everything is captured."""
        return not self._stocks and not self._numbers

    def grow(self, rows: int) -> int:
        """Capture so many rows; return how many it were. A stock is taken whole, however many lots it has."""
        before = self.size
        while self.size < before + rows and not self.is_complete:
            if self._stocks:
                self._take_stock(self._stocks.pop())
            else:
                self._take_reservation(self._numbers.pop())
        return self.size - before

    def before(self, entries: Iterable[Entry]) -> None:
        """Capture what entries are about to change, where its turn has not come yet."""
        for entry in entries:
            if entry.site is not None is not entry.sku:
                key = (entry.site, entry.sku)
                if key in self._stocks:
                    self._stocks.remove(key)
                    self._take_stock(key)
            if entry.reservation is not None and entry.reservation in self._numbers:
                self._numbers.remove(entry.reservation)
                self._take_reservation(entry.reservation)

    def _take_stock(self, key: StockKey) -> None:
        self.rows.lots.extend(capture(self.owned.state, (key,), ()).lots)

    def _take_reservation(self, number: int) -> None:
        found = capture(self.owned.state, (), (number,))
        self.rows.reservations.extend(found.reservations)
        self.rows.lines.extend(found.lines)
        self.owned.visitors.add(number)

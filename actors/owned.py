"""A partition in the hands of a host: its state, who waits for it, and what the next snapshot must write."""

from collections import deque
from collections.abc import Iterable

from actors.image import Image
from actors.requests import Request
from engine.commands import StockKey
from engine.entries import Entry
from engine.moving import next_due_ms
from engine.state import NEVER_MS, Partition, Stock


class OwnedPartition:
    """One partition with its mailbox. `complete` says that every stock there is, is active."""

    __slots__ = (
        "committed_seq",
        "complete",
        "dirty_reservations",
        "dirty_stocks",
        "epoch",
        "image",
        "is_activating",
        "is_ready",
        "queue",
        "snapshot_seq",
        "state",
        "unchecked",
        "visitors",
    )

    def __init__(self, number: int, epoch: int) -> None:
        self.state = Partition(number)
        self.epoch = epoch
        self.queue: deque[Request] = deque()
        """Requests that wait, in order, for the partition or for stocks to be active."""
        self.is_ready = False
        self.is_activating = False
        self.complete = False
        self.snapshot_seq = 0
        self.committed_seq = 0
        """The last entry that is durable; the state may be ahead of it."""
        self.dirty_stocks: set[StockKey] = set()
        self.dirty_reservations: set[int] = set()
        self.image: Image | None = None
        """What the next snapshot writes, while it is being captured."""
        self.visitors: set[int] = set()
        """Reservations that need not stay active once they are resolved and written."""

        self.unchecked: set[StockKey] = set()
        """Active stocks that came from a snapshot and were not compared with the ledger yet."""

    def clean(self) -> None:
        """Forget what was to be written and compared: the state is made anew."""
        self.dirty_stocks, self.dirty_reservations = set(), set()
        self.visitors, self.unchecked = set(), set()
        self.image = None

    @property
    def dirty(self) -> int:
        """How many stocks and reservations the next snapshot must write."""
        return len(self.dirty_stocks) + len(self.dirty_reservations)

    def reschedule(self, stock: Stock) -> None:
        """Work out anew when something at a stock expires next."""
        stock.due_ms = NEVER_MS
        due_ms = next_due_ms(stock)
        if due_ms < NEVER_MS:
            self.state.mark_due(stock, due_ms)

    def note(self, entries: Iterable[Entry]) -> None:
        """Remember what entries changed, for the next snapshot."""
        for entry in entries:
            site, sku, number = entry.site, entry.sku, entry.reservation
            if site is not None is not sku:
                self.dirty_stocks.add((site, sku))
            if number is not None:
                self.dirty_reservations.add(number)

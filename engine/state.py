"""What a partition remembers. Only `engine.apply`, `engine.apply_reservation` and `engine.images` change it.

No object points back at what holds it, so that reference counting frees everything at once.
"""

import heapq
from collections.abc import Collection

from engine.commands import StockKey

NO_LOT = ""
"""The lot code of stock that has no lot."""

NEVER_MS = 2**62
"""A time that does not come."""


class Lot:
    """The units of one lot in one bin. Invariant: `0 <= reserved + held <= on_hand`, each at least 0."""

    __slots__ = ("age", "code", "expires_at_ms", "held", "holds", "on_hand", "reserved", "seq")

    def __init__(self, code: str) -> None:
        self.code = code
        self.on_hand = 0
        self.reserved = 0
        self.held = 0
        self.holds: dict[str, int] | None = None
        """Units held by reason; their sum is `held`."""
        self.expires_at_ms: int | None = None
        self.age = 0
        """Sequence number at which these units came into the partition: the order of FIFO and LIFO."""
        self.seq = 0
        """Sequence number of the last entry."""

    @property
    def available(self) -> int:
        """Units that can be promised: on hand - reserved - held."""
        return self.on_hand - self.reserved - self.held


class Bin:
    """One SKU at one location of a site."""

    __slots__ = ("_by_code", "_only", "location", "seq")

    def __init__(self, location: str) -> None:
        self.location = location
        self.seq = 0
        """Sequence number of the last entry that changed this bin."""
        self._only: Lot | None = None
        """The lot of a bin with one: a dict for each bin would be 184 bytes more."""
        self._by_code: dict[str, Lot] | None = None

    @property
    def lots(self) -> Collection[Lot]:
        """All lots that were ever in this bin, in the order in which they came."""
        if self._by_code is not None:
            return self._by_code.values()
        return () if self._only is None else (self._only,)

    def lot(self, code: str) -> Lot | None:
        """Return a lot, or None when it was never in this bin."""
        only = self._only
        if only is not None:
            return only if only.code == code else None
        return self._by_code.get(code) if self._by_code is not None else None

    def sole(self) -> Lot | None:
        """Return the lot, if there is exactly one."""
        return self._only

    def add(self, lot: Lot) -> Lot:
        """Add a lot that was never in this bin; return it."""
        assert self.lot(lot.code) is None, "a bin has a lot once"
        if self._by_code is not None:
            self._by_code[lot.code] = lot
        elif self._only is None:
            self._only = lot
        else:
            self._by_code = {self._only.code: self._only, lot.code: lot}
            self._only = None
        return lot


class Stock:
    """All bins of one SKU at one site: what is activated and set to rest as one."""

    __slots__ = ("bins", "due_ms", "reservations", "site", "sku")

    def __init__(self, site: str, sku: str) -> None:
        self.site = site
        self.sku = sku
        self.bins: dict[str, Bin] = {}
        self.reservations: dict[int, Reservation] | None = None
        """Open reservations that hold units here, by number."""
        self.due_ms = NEVER_MS
        """No reservation or lot expires before this time."""


class Allocation:
    """Units of a line in one lot of one bin."""

    __slots__ = ("location", "lot", "open", "quantity")

    def __init__(self, location: str, lot: str, quantity: int = 0) -> None:
        self.location = location
        self.lot = lot
        self.quantity = quantity
        self.open = quantity
        """Still reserved: neither picked, released, expired nor short."""


class Line:
    """One line of a reservation, in units."""

    __slots__ = (
        "allocations",
        "expired",
        "index",
        "picked",
        "quantity",
        "released",
        "requested",
        "short",
        "site",
        "sku",
    )

    def __init__(self, index: int, site: str, sku: str, quantity: int = 0) -> None:
        self.index = index
        self.site = site
        self.sku = sku
        self.requested = quantity
        self.quantity = quantity
        """Units that were reserved: less than requested when the reservation is partial."""
        self.picked = 0
        self.released = 0
        self.expired = 0
        self.short = 0
        self.allocations: list[Allocation] = []


class Reservation:
    """Units promised to one caller; one id from reserve to pick."""

    __slots__ = (
        "attempt",
        "deadline_ms",
        "expires_at_ms",
        "home",
        "lines",
        "number",
        "open",
        "open_at",
        "opened_at_ms",
        "parts",
        "reference",
        "seq",
    )

    def __init__(self, number: int, opened_at_ms: int) -> None:
        self.number = number
        """Sequence number of its first entry."""
        self.opened_at_ms = opened_at_ms
        self.expires_at_ms: int | None = None
        self.reference: str | None = None
        self.lines: list[Line] = []
        """In order of their index."""
        self.open = 0
        self.open_at: dict[StockKey, int] | None = None
        """Open units by SKU, kept when there are several lines."""
        self.seq = 0
        """Sequence number of the last entry."""
        self.attempt: str | None = None
        """Set when the reservation spans partitions."""
        self.deadline_ms: int | None = None
        """Set while the share is tentative."""
        self.home: tuple[int, int] | None = None
        """(partition, number) of the reservation that this is a share of; while tentative, how far that
        partition was when the attempt opened, instead of a number."""
        self.parts: tuple[tuple[int, int, int], ...] = ()
        """(partition, number, opened_at_ms) of the other shares, at home."""

    @property
    def state(self) -> str:
        """One of held, part_picked, picked, released, expired."""
        picked = any(line.picked for line in self.lines)
        if self.open:
            return "part_picked" if picked else "held"
        if picked:
            return "picked"
        return "expired" if any(line.expired for line in self.lines) else "released"


class Partition:
    """A share of all stock that has one owner at a time and one sequence of entries."""

    __slots__ = (
        "at_ms", "attempts", "closed_seq", "due", "number", "reservations", "seq", "stocks", "tentative",
    )  # fmt: skip

    def __init__(self, number: int) -> None:
        self.number = number
        self.seq = 0
        self.at_ms = 0
        self.stocks: dict[StockKey, Stock] = {}
        self.reservations: dict[int, Reservation] = {}
        """Those that are active: every open one of an active stock, and resolved ones until they rest."""
        self.attempts: dict[str, int] = {}
        """Number of the reservation that decided an attempt, at its home."""
        self.closed_seq = 1
        """Attempts that were opened when this partition was not so far yet are not decided any more.

        No snapshot has it: a new owner closes whatever was opened before its claim."""
        self.tentative: dict[int, int] = {}
        """Deadline of each tentative share, in milliseconds UTC, by number."""
        self.due: list[tuple[int, StockKey]] = []
        """A heap of when a stock has something to expire: never late, sometimes early."""

    def mark_due(self, stock: Stock, due_ms: int) -> None:
        """Remember that something at the stock expires at `due_ms`, in milliseconds UTC."""
        if due_ms < stock.due_ms:
            stock.due_ms = due_ms
            heapq.heappush(self.due, (due_ms, (stock.site, stock.sku)))

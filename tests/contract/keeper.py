"""An owner of one partition as small as can be: it decides, appends, applies and takes snapshots."""

from collections.abc import Callable
from typing import Any

from engine.apply import apply
from engine.commands import Command, ReceiveStock, ReserveLine, ReserveStock, StockKey
from engine.decide import decide
from engine.entries import Entry
from engine.images import Rows, capture, restore
from engine.refusals import Refused
from engine.state import Partition, Reservation
from persistence.ports import Head, Ledger, Recovery, Snapshots

NOON_MS = 1_800_000_000_000
DAY_MS = 24 * 3600 * 1000
EMPTY = Rows([], [], [])


class Keeper:
    def __init__(self, number: int, ledger: Ledger, snapshots: Snapshots, host: str = "h1") -> None:
        self.state = Partition(number)
        self.ledger = ledger
        self.snapshots = snapshots
        self.host = host
        self.now_ms = NOON_MS
        self.head = Head(number, 0, 0, 0, 0)
        self.dirty_stocks: dict[StockKey, None] = {}
        self.dirty_reservations: dict[int, None] = {}

    async def take_over(self) -> Recovery:
        """Claim the partition and start from what is stored."""
        (head,) = await self.snapshots.claim(self.host, f"{self.host}:1", [self.state.number], self.now_ms)
        recovery = await self.snapshots.recover([self.state.number], 100)
        assert recovery.heads == [head]
        self.head = head
        state = self.state = Partition(self.state.number)
        restore(state, [stock for _, stock in recovery.stocks], recovery.rows)
        state.seq = head.snapshot_seq
        self._apply(recovery.tail)
        assert state.seq == head.seq
        return recovery

    async def do(self, command: Command, key: str | None = None) -> list[Entry]:
        entries = decide(self.state, command, self.now_ms, key, None if key is None else 7)
        assert not isinstance(entries, Refused), entries
        await self.ledger.append(entries)
        self._apply(entries)
        return entries

    async def receive(
        self, quantity: int, sku: str = "tea", location: str = "A-1", **more: Any
    ) -> list[Entry]:
        key = more.pop("key", None)
        return await self.do(ReceiveStock("LDN", sku, location, quantity, **more), key)

    async def reserve(self, *quantities: tuple[str, int], **more: Any) -> Reservation:
        key = more.pop("key", None)
        lines = tuple(
            ReserveLine("LDN", sku, quantity, index=i) for i, (sku, quantity) in enumerate(quantities)
        )
        entries = await self.do(ReserveStock(lines, **more), key)
        assert entries[0].reservation is not None
        return self.state.reservations[entries[0].reservation]

    async def save(self) -> frozenset[int]:
        rows = capture(self.state, self.dirty_stocks, self.dirty_reservations)
        self.dirty_stocks, self.dirty_reservations = {}, {}
        number = self.state.number
        return await self.snapshots.save({number: (self.head.epoch, self.state.seq, self.state.at_ms)}, rows)

    def _apply(self, entries: list[Entry]) -> None:
        for entry in entries:
            apply(self.state, entry)
            if entry.site is not None and entry.sku is not None:
                self.dirty_stocks[entry.site, entry.sku] = None
            if entry.reservation is not None:
                self.dirty_reservations[entry.reservation] = None


def received(partition: int, seq: int, key: str | None = None, **changes: Any) -> Entry:
    """Return an entry that the ledger takes: one more unit of tea."""
    entry = Entry(
        partition, seq, NOON_MS + seq, "stock_received", key, None if key is None else 7, 1,
        "LDN", "tea", "A-1", "", 1, seq, 0, 0, None, None, None, None, None, None, None,
    )  # fmt: skip
    return entry._replace(**changes)


Make = Callable[..., Keeper]
"""Makes the keeper of a partition: the fixture `keeper`."""

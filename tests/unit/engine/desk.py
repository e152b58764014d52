"""A desk that gives orders to one partition, keeps its ledger and checks it after every command."""

from copy import deepcopy
from typing import Any

from engine.apply import apply, apply_filtered
from engine.commands import Command, ReceiveStock, ReserveLine, ReserveStock, StockKey
from engine.decide import decide
from engine.draft import Draft
from engine.entries import Entry
from engine.images import capture
from engine.refusals import Refusal, Refused
from engine.reserving import reserve
from engine.state import Bin, Lot, Partition, Reservation, Stock
from engine.views import answer, reservation_view

SITE = "LDN"
SKU = "tea"
NOON_MS = 1_800_000_000_000


def everything(partition: Partition) -> dict[str, Any]:
    """Return all that a partition remembers, as plain values, but for due times: see `due_times`."""
    rows = capture(partition, sorted(partition.stocks), sorted(partition.reservations))
    return {
        "seq": partition.seq,
        "at_ms": partition.at_ms,
        "lots": sorted(rows.lots),
        "reservations": rows.reservations,
        "lines": rows.lines,
        "bins": sorted(
            (key, bin_.location, bin_.seq)
            for key, stock in partition.stocks.items()
            for bin_ in stock.bins.values()
        ),
        "open_at": {
            key: sorted(stock.reservations) for key, stock in partition.stocks.items() if stock.reservations
        },
        "attempts": dict(partition.attempts),
        "tentative": dict(partition.tentative),
    }


def due_times(partition: Partition) -> dict[StockKey, int]:
    """Return from when on each stock may have something to expire. A restored one knows it more precisely."""
    return {key: stock.due_ms for key, stock in partition.stocks.items()}


def replayed(ledger: list[Entry], number: int = 0) -> Partition:
    """Return a partition rebuilt from its entries."""
    partition = Partition(number)
    for entry in ledger:
        apply(partition, entry)
    return partition


class Desk:
    """One partition, its ledger and a clock that the test holds."""

    def __init__(self, number: int = 0) -> None:
        self.partition = Partition(number)
        self.ledger: list[Entry] = []
        self.now_ms = NOON_MS

    def decide(self, command: Command, key: str | None = None) -> list[Entry] | Refused:
        """Decide a command twice: it is the same, and neither time changes anything."""
        before = everything(self.partition)
        outcome = decide(self.partition, command, self.now_ms, key, None if key is None else 7)
        assert decide(self.partition, command, self.now_ms, key, None if key is None else 7) == outcome
        assert everything(self.partition) == before, "a decision changed the state"
        if type(command) is ReserveStock:
            self._check_straight(command, outcome, key)
        return outcome

    def _check_straight(self, command: ReserveStock, outcome: list[Entry] | Refused, key: str | None) -> None:
        """Check that the straight way, where it is taken, decides what the long way does."""
        draft = Draft(self.partition, self.now_ms, key, None if key is None else 7)
        refusal = reserve(self.partition, command, draft)
        assert outcome == (draft.finish() if refusal is None else refusal)

    def apply(self, entries: list[Entry]) -> None:
        for entry in entries:
            by_the_long_way = deepcopy(self.partition) if entry.reservation == entry.seq else None
            apply(self.partition, entry)
            self.ledger.append(entry)
            if by_the_long_way is not None:
                apply_filtered(by_the_long_way, entry)
                assert everything(self.partition) == everything(by_the_long_way)
                assert due_times(self.partition) == due_times(by_the_long_way)
        self.check()

    def do(self, command: Command, key: str | None = None) -> list[Entry]:
        """Carry a command out and return its entries."""
        entries = self.decide(command, key)
        assert not isinstance(entries, Refused), entries
        self.apply(entries)
        if type(command) is ReserveStock and entries[0].reservation is not None:
            reservation = self.partition.reservations[entries[0].reservation]
            assert answer(self.partition, command, entries) == reservation_view(self.partition, reservation)
        return entries

    def ask(self, command: Command) -> dict[str, Any]:
        """Carry a command out and return its answer."""
        return answer(self.partition, command, self.do(command))

    def refusal(self, command: Command) -> Refused:
        """Return why a command is refused."""
        outcome = self.decide(command)
        assert isinstance(outcome, Refused), outcome
        return outcome

    def code(self, command: Command) -> Refusal:
        return self.refusal(command).code

    def check(self) -> None:
        """Check that totals follow from the records that explain them."""
        promised: dict[tuple[str, str, str, str], int] = {}
        for reservation in self.partition.reservations.values():
            allocated = 0
            for line in reservation.lines:
                for part in line.allocations:
                    place = (line.site, line.sku, part.location, part.lot)
                    promised[place] = promised.get(place, 0) + part.open
                    allocated += part.open
                    assert 0 <= part.open <= part.quantity
                    linked = self.partition.stocks[line.site, line.sku].reservations or {}
                    assert not part.open or linked[reservation.number] is reservation
                given_back = line.picked + line.released + line.expired + line.short
                assert line.quantity == given_back + sum(part.open for part in line.allocations)
                assert line.quantity <= line.requested
            assert allocated == reservation.open
        for (site, sku), stock in self.partition.stocks.items():
            for bin_ in stock.bins.values():
                for lot in bin_.lots:
                    assert 0 <= lot.reserved + lot.held <= lot.on_hand
                    assert lot.reserved == promised.get((site, sku, bin_.location, lot.code), 0)
                    assert lot.held == sum((lot.holds or {}).values())
                    assert all((lot.holds or {}).values())

    # Short ways to say what most tests say.

    def receive(self, quantity: int, location: str = "A-1", **more: Any) -> list[Entry]:
        return self.do(ReceiveStock(more.pop("site", SITE), more.pop("sku", SKU), location, quantity, **more))

    def reserve(
        self, quantity: int, *, ttl_s: int | None = None, partial: bool = False, **line: Any
    ) -> Reservation:
        return self.reserve_lines(reserve_line(quantity, **line), ttl_s=ttl_s, partial=partial)

    def reserve_lines(
        self, *lines: ReserveLine, ttl_s: int | None = None, partial: bool = False
    ) -> Reservation:
        entries = self.do(ReserveStock(lines, ttl_s, None, partial))
        assert entries[0].reservation is not None
        return self.partition.reservations[entries[0].reservation]

    def stock(self, sku: str = SKU) -> Stock:
        return self.partition.stocks[SITE, sku]

    def bin(self, location: str = "A-1", sku: str = SKU) -> Bin:
        return self.stock(sku).bins[location]

    def lot(self, location: str = "A-1", lot: str = "", sku: str = SKU) -> Lot:
        found = self.bin(location, sku).lot(lot)
        assert found is not None
        return found

    def balance(self, location: str = "A-1", lot: str = "", sku: str = SKU) -> tuple[int, int, int]:
        """Return (on hand, reserved, held)."""
        found = self.lot(location, lot, sku)
        return found.on_hand, found.reserved, found.held


def reserve_line(quantity: int, **more: Any) -> ReserveLine:
    return ReserveLine(more.pop("site", SITE), more.pop("sku", SKU), quantity, **more)


def named(reservation: Reservation) -> tuple[int, int]:
    """Return what commands name a reservation by."""
    return reservation.number, reservation.opened_at_ms


def places(reservation: Reservation) -> list[tuple[str, str, int]]:
    """Return (location, lot, open units) of all allocations that are open."""
    return [
        (part.location, part.lot, part.open)
        for line in reservation.lines
        for part in line.allocations
        if part.open
    ]

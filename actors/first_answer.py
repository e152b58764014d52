"""The first answer to a key, worked out again from the ledger.

An answer shows the state right after its command's entries, and the ledger rebuilds that state at any
sequence number: so the answer need not be stored.
"""

from actors.queries import Query
from engine.apply import apply_filtered
from engine.commands import (
    AbandonReservation,
    Command,
    ConfirmReservation,
    CountStock,
    ExtendReservation,
    NoteRequest,
    PickReservation,
    ReleaseReservation,
    ReserveStock,
    ReserveTentatively,
    ReserveTogether,
    SettleAttempt,
    StockKey,
)
from engine.entries import EFFECTS, Entry
from engine.state import Bin, Lot, Partition, Stock
from engine.views import View, answer
from persistence.ports import Ledger

_PAGE = 500
"""Entries applied in one go, about 5 ms: what else the host does gets its turn in between."""
_SHOWS_RESERVATION = (
    ReserveStock, ReserveTentatively, ReserveTogether, ConfirmReservation, AbandonReservation,
    ExtendReservation, PickReservation, ReleaseReservation,
)  # fmt: skip


async def first_answer(ledger: Ledger, command: Command | Query, first: Entry) -> View:
    """Return what the caller of `command` was told when its entries, from `first` on, were made.

    Raises Unavailable.
    """
    last_seq = first.seq + first.span - 1
    partition = Partition(first.partition)
    entries = [first]
    if isinstance(command, SettleAttempt | NoteRequest):
        apply_filtered(partition, first)
    elif isinstance(command, _SHOWS_RESERVATION):
        assert first.reservation is not None
        entries = await ledger.of_reservation(first.partition, first.reservation, last_seq)
        for entry in entries:
            _prime(partition, entry)
            apply_filtered(partition, entry)
    else:
        stock = (command.site, command.sku)  # type: ignore[union-attr]  # all others are about one SKU
        entries = await _replay_stock(ledger, partition, stock, first.seq, last_seq)
    own = [entry for entry in entries if first.seq <= entry.seq <= last_seq]
    if isinstance(command, CountStock):
        command = command._replace(seen_seq=None)
    return answer(partition, command, own)  # type: ignore[arg-type]


async def _replay_stock(
    ledger: Ledger, partition: Partition, stock: StockKey, first_seq: int, last_seq: int
) -> list[Entry]:
    """Bring a SKU to its state at `last_seq`; return its entries from `first_seq` on."""
    own: list[Entry] = []
    while True:
        page = await ledger.history(partition.number, stock, partition.seq, _PAGE)
        for entry in page:
            if entry.seq > last_seq:
                return own
            apply_filtered(partition, entry)
            if entry.seq >= first_seq:
                own.append(entry)
        if len(page) < _PAGE:
            return own


def _prime(partition: Partition, entry: Entry) -> None:
    """Set a lot to its balances before an entry, since the entries of other reservations are left out."""
    if entry.sku is None or entry.site is None or entry.location is None or entry.lot is None:
        return
    stock = partition.stocks.setdefault((entry.site, entry.sku), Stock(entry.site, entry.sku))
    bin_ = stock.bins.setdefault(entry.location, Bin(entry.location))
    lot = bin_.lot(entry.lot) or bin_.add(Lot(entry.lot))
    on_hand, reserved, held = (effect * entry.quantity for effect in EFFECTS[entry.kind])
    lot.on_hand = entry.on_hand - on_hand
    lot.reserved = entry.reserved - (reserved if entry.reservation is not None else 0)
    lot.held = entry.held - held
    if held < 0 and entry.reason is not None:
        lot.holds = {entry.reason: -held}

"""A ledger in which everything happens that can, made by the engine."""

from engine.apply import apply
from engine.commands import (
    AbandonReservation,
    AdjustStock,
    ConfirmReservation,
    CountStock,
    ExpireStock,
    ExtendReservation,
    HoldStock,
    MoveStock,
    NoteRequest,
    PickReservation,
    PickStock,
    ReleaseReservation,
    ReserveLine,
    ReserveTentatively,
    ReserveTogether,
    SettleAttempt,
    UnholdStock,
)
from engine.entries import Entry
from engine.images import Rows, capture
from persistence.claims import claim_entry
from tests.unit.engine.desk import SITE, SKU, Desk, named


class Book(Desk):
    """A desk whose partition is claimed now and then."""

    epoch = 0

    def claim(self) -> None:
        state = self.partition
        self.epoch += 1
        entry = claim_entry(
            state.number, state.seq + 1, self.now_ms, host="h", address="h:1", epoch=self.epoch
        )
        apply(state, entry)
        self.ledger.append(entry)

    def rows(self) -> Rows:
        """Return what a snapshot of now holds."""
        return capture(self.partition, self.partition.stocks, self.partition.reservations)


def written(number: int = 0) -> Book:
    """Return a book with every kind of entry."""
    book = Book(number)
    book.claim()
    for location, lot in (("A-1", ""), ("A-2", ""), ("B-1", "L1")):
        book.receive(20, location, lot=lot or None)
    book.receive(9, "C-1", sku="jam")
    book.receive(5, "C-2", sku="jam", lot="OLD", expires_at_ms=book.now_ms + 90_000)
    soft = book.reserve(4, ttl_s=60, location="A-1")
    book.do(ExtendReservation(*named(soft), 120), "extend")
    picked = book.reserve(6, location="A-1")
    book.do(PickReservation(*named(picked), 2))
    book.do(PickReservation(*named(picked), 1, location="A-2"))
    book.do(PickReservation(*named(picked), 1, short_reason="broken"))
    several = book.reserve_lines(
        ReserveLine(SITE, SKU, 3, "A-2", index=0), ReserveLine(SITE, "jam", 2, index=1)
    )
    book.do(ReleaseReservation(*named(several), 1, SKU))
    book.do(MoveStock(SITE, SKU, "A-2", "A-3", 19))
    book.claim()
    book.now_ms += 1000
    book.do(HoldStock(SITE, SKU, "B-1", 3, "L1", "damage"))
    book.do(UnholdStock(SITE, SKU, "B-1", 2, "L1", "damage"))
    book.do(AdjustStock(SITE, SKU, "B-1", -1, "L1", "lost"))
    book.do(CountStock(SITE, SKU, "A-1", 15, None, None), "count")
    book.do(PickStock(SITE, SKU, 2, "B-1"), "pick")
    line = (ReserveLine(SITE, SKU, 1, "B-1"),)
    share = book.do(ReserveTentatively("one", 1, 3, line))[0]
    book.do(ConfirmReservation(share.seq, share.at_ms, 7))
    other = book.do(ReserveTentatively("two", 1, 4, line))[0]
    book.do(AbandonReservation(other.seq, other.at_ms))
    book.do(ReserveTogether("three", book.partition.seq, ((1, 7, book.now_ms),), line, 60))
    book.now_ms += 5
    book.do(SettleAttempt("four", book.partition.seq))
    book.do(NoteRequest(7), "noted")
    book.now_ms += 200_000
    book.do(ExpireStock(SITE, SKU))
    book.do(ExpireStock(SITE, "jam"))
    book.claim()
    return book


def index_of(ledger: list[Entry], kind: str, nth: int = 0) -> int:
    """Return where the nth entry of a kind is."""
    return [index for index, entry in enumerate(ledger) if entry.kind == kind][nth]

"""The engine's own way through a partition's ledger: what it says of it, and what a snapshot must hold."""

from typing import NamedTuple

from binkeeper.verify.findings import Sort, Tell
from binkeeper.verify.fold import LedgerFold
from engine.apply import UNFIT, apply
from engine.entries import Entry
from engine.images import LineRow, LotRow, ReservationRow, Rows, capture
from engine.state import Partition

_LotKey = tuple[str, str, str, str]


class Image(NamedTuple):
    """What the snapshot of a partition holds as of one sequence number, by the rows' keys."""

    seq: int
    at_ms: int
    lots: dict[_LotKey, LotRow]
    reservations: dict[int, ReservationRow]
    lines: dict[tuple[int, int], LineRow]

    @property
    def rows(self) -> Rows:
        """The same as rows."""
        return Rows(list(self.lots.values()), list(self.reservations.values()), list(self.lines.values()))


class Replay:
    """Applies entry after entry until the engine refuses one."""

    def __init__(self, partition: int, tell: Tell) -> None:
        self.state = Partition(partition)
        self.is_sound = True
        """Whether the engine took all entries so far."""
        self._tell = tell

    def take(self, entry: Entry) -> None:
        """Apply an entry; after the first that is refused, none."""
        if not self.is_sound:
            return
        try:
            apply(self.state, entry)
        except UNFIT as fault:
            self.is_sound = False
            why = str(fault) or type(fault).__name__
            self._tell(Sort.REPLAY, entry.seq, str(entry.kind), "an entry that the engine can apply", why)

    def image(self) -> Image:
        """Return what a snapshot of this moment holds."""
        state = self.state
        rows = capture(state, state.stocks, state.reservations)
        return Image(
            state.seq,
            state.at_ms,
            {row[1:5]: row for row in rows.lots},
            {row.number: row for row in rows.reservations},
            {(row.number, row.line): row for row in rows.lines},
        )

    def compare(self, fold: LedgerFold) -> None:
        """Tell where the engine's state is not what the model comes to."""
        self._compare_lots(fold)
        for number, promise in fold.promises.of.items():
            reservation = self.state.reservations.get(number)
            told = f"reservation {number}"
            if reservation is None or reservation.open != promise.units:
                found = "none" if reservation is None else f"{reservation.open} open"
                self._tell(Sort.REPLAY, promise.seq, told, f"{promise.units} open", found)
                continue
            if reservation.expires_at_ms != promise.expires_at_ms:
                ends = f"its end at {promise.expires_at_ms}"
                self._tell(Sort.REPLAY, promise.seq, told, ends, reservation.expires_at_ms)
            lines = {line.index: line for line in reservation.lines}
            for index, wanted in promise.lines.items():
                line = lines.get(index)
                expected = (wanted.site, wanted.sku, wanted.quantity, *wanted.counts.values())
                found_line = line and (
                    line.site, line.sku, line.quantity, line.picked, line.released, line.expired, line.short,
                )  # fmt: skip
                if found_line != expected:
                    self._tell(Sort.REPLAY, promise.seq, f"{told}, line {index}", expected, found_line)

    def _compare_lots(self, fold: LedgerFold) -> None:
        count = 0
        for (site, sku), stock in self.state.stocks.items():
            for bin_ in stock.bins.values():
                for lot in bin_.lots:
                    count += 1
                    place = (site, sku, bin_.location, lot.code)
                    wanted = fold.lots.get(place)
                    found = (lot.on_hand, lot.reserved, lot.held, lot.holds or {}, lot.expires_at_ms)
                    expected = wanted and (*wanted.balance, wanted.holds, wanted.expires_at_ms)
                    if found != expected:
                        self._tell(Sort.REPLAY, lot.seq, "/".join(place), expected, found)
        if count != len(fold.lots):
            self._tell(Sort.REPLAY, fold.seq, "", f"{len(fold.lots)} lots", f"{count} lots")

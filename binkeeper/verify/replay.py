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

    def compare(self, fold: LedgerFold, image: Image) -> None:
        """Tell where the engine's state, as its image shows it, is not what the model comes to."""
        for place, lot in fold.lots.items():
            row = image.lots.get(place)
            found = row and (row.on_hand, row.reserved, row.held)
            if found != lot.balance:
                self._tell(Sort.REPLAY, lot.seq, "/".join(place), lot.balance, found)
        for place in image.lots.keys() - fold.lots.keys():
            self._tell(Sort.REPLAY, image.lots[place].seq, "/".join(place), "no such lot", "one")
        for number, promise in fold.promises.of.items():
            reservation = image.reservations.get(number)
            told = f"reservation {number}"
            found_open = reservation and reservation.open
            if found_open != promise.units:
                self._tell(Sort.REPLAY, promise.seq, told, f"{promise.units} open", f"{found_open} open")
            for index, line in promise.lines.items():
                line_row = image.lines.get((number, index))
                expected = (line.site, line.sku, line.quantity, *line.counts.values())
                found_line = line_row and (line_row.site, line_row.sku, line_row.quantity, *line_row[7:11])
                if found_line != expected:
                    self._tell(Sort.REPLAY, promise.seq, f"{told}, line {index}", expected, found_line)

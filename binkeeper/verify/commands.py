"""A partition's entries as commands: whole, one after another, with the key on the first entry."""

from binkeeper.verify.findings import Sort, Tell
from engine.entries import Entry

_ARRIVES = {"stock_moved_out": "stock_moved_in", "reservation_moved_out": "reservation_moved_in"}
_ARRIVALS = frozenset(_ARRIVES.values())


class CommandOrder:
    """Tells where a command is not whole, a key is not where it belongs, or what left does not arrive."""

    def __init__(self, tell: Tell) -> None:
        self.first_seq = 0
        """The first entry of the command that is under way."""
        self._first_at_ms = 0
        self._remaining = 0
        self._left: Entry | None = None
        """The entry by which units have just left for another bin."""
        self._tell = tell

    def take(self, entry: Entry) -> None:
        """Take the next entry."""
        if entry.span == 0:
            self._go_on(entry)
        else:
            self._begin(entry)
        if self._left is not None or entry.kind in _ARRIVALS:
            self._arrive(entry)
        if entry.kind in _ARRIVES:
            self._left = entry

    def end(self, seq: int) -> None:
        """Say that there are no more entries after `seq`."""
        self._be_whole(seq, "the end of the ledger")
        self._left = None

    def _begin(self, entry: Entry) -> None:
        self._be_whole(entry.seq, "another command")
        if entry.span < 0:
            self._tell(Sort.KEY, entry.seq, "", "a span of at least 1", entry.span)
        if (entry.key is None) != (entry.fingerprint is None):
            self._tell(Sort.KEY, entry.seq, "", "a key with a fingerprint, or neither", "one of them")
        self.first_seq = entry.seq
        self._first_at_ms = entry.at_ms
        self._remaining = max(0, entry.span - 1)

    def _be_whole(self, seq: int, found: str) -> None:
        if self._remaining:
            expected = f"{self._remaining} more entries of the command that began at entry {self.first_seq}"
            self._tell(Sort.KEY, seq, "", expected, found)
            self._remaining = 0

    def _go_on(self, entry: Entry) -> None:
        if not self._remaining:
            self._tell(Sort.KEY, entry.seq, "", "the first entry of a command, with a span", "span 0")
            self.first_seq = entry.seq
            self._first_at_ms = entry.at_ms
        else:
            self._remaining -= 1
        if entry.key is not None:
            self._tell(Sort.KEY, entry.seq, entry.key, "a key on a command's first entry only", "a key")
        if entry.at_ms != self._first_at_ms:
            expected = f"at_ms {self._first_at_ms}, as the rest of its command"
            self._tell(Sort.TIME, entry.seq, "", expected, entry.at_ms)

    def _arrive(self, entry: Entry) -> None:
        left, self._left = self._left, None
        if left is None:
            self._tell(Sort.MOVE, entry.seq, _told(entry), "units that left another bin just before", "none")
            return
        expected = (_ARRIVES[left.kind], *_moved(left), left.counterpart, left.location)
        found = (entry.kind, *_moved(entry), entry.location, entry.counterpart)
        if left.kind == "stock_moved_out":
            expected, found = (*expected, left.lot), (*found, entry.lot)
        if found != expected:
            arrival = f"{_ARRIVES[left.kind]} of {left.quantity} at {left.counterpart}"
            self._tell(Sort.MOVE, entry.seq, _told(left), arrival, _told(entry))


def _moved(entry: Entry) -> tuple[object, ...]:
    return entry.site, entry.sku, entry.quantity, entry.reservation, entry.line


def _told(entry: Entry) -> str:
    return f"{entry.kind} of {entry.quantity} of {entry.site}/{entry.sku} at {entry.location}"

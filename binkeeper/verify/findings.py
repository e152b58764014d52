"""What does not fit, and how much of it: the lowest places of each kind are kept, all are counted."""

from bisect import insort
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import Any, NamedTuple

KEPT_MAX = 20
"""Places of each kind that are kept."""
_TOLD_MAX = 1_000
"""Characters of what was expected and found."""


class Sort(StrEnum):
    """In what way something does not fit. The names are permanent: `binkeeper verify --json` tells them."""

    SEQUENCE = "sequence"
    """An entry is missing, or comes twice."""
    CHECKSUM = "checksum"
    """A row is not as it was written: it was changed afterwards, or its checksum was."""
    TIME = "time"
    """A time falls, differs within a command, or had not come when a lot expired."""
    CLAIM = "claim"
    """A claim does not raise the epoch."""
    KEY = "key"
    """A key is not on its command's first entry, or was used twice, or a command is not whole."""
    ENTRY = "entry"
    """A row is no entry: its kind is not known, or it lacks what its kind needs."""
    PLACE = "place"
    """A SKU lies in another partition."""
    BALANCE = "balance"
    """Balances do not follow from those before."""
    BOUNDS = "bounds"
    """`0 <= reserved + held <= on_hand` does not hold."""
    HOLD = "hold"
    """More is put back on sale than was held for the reason."""
    RESERVATION = "reservation"
    """Units enter or leave a reservation that does not have them, or that is over."""
    MOVE = "move"
    """Units leave a bin for another and do not arrive."""
    REPLAY = "replay"
    """The engine itself refuses the entry, or makes another state of the ledger than the model does."""
    PARTITION = "partition"
    """A partition's own row is missing or says what the ledger does not, or a partition should not be."""
    SNAPSHOT = "snapshot"
    """A row of the snapshots is missing, too many, or differs."""


LEDGER_SORTS = frozenset(Sort) - {Sort.SNAPSHOT, Sort.PARTITION}
"""What is wrong with the ledger itself, so that no snapshot can be made from it."""


class Finding(NamedTuple):
    """One thing that does not fit."""

    sort: Sort
    partition: int
    seq: int
    """The entry at which it shows; for a row of the snapshots, the entry that it claims to be of."""
    place: str
    """What it is about: a lot in a bin, a reservation, a key; may be empty."""
    expected: str
    found: str

    def __str__(self) -> str:
        about = f" ({self.place})" if self.place else ""
        return (
            f"{self.sort}: partition {self.partition}, entry {self.seq}{about}:"
            f" expected {self.expected}, found {self.found}"
        )

    def plain(self) -> dict[str, Any]:
        """Return the finding as plain values."""
        return self._asdict()


Tell = Callable[[Sort, int, str, object, object], None]
"""(sort, seq, place, expected, found): how a check of one partition tells what does not fit."""


class Findings:
    """All that was found so far."""

    def __init__(self, kept_max: int = KEPT_MAX) -> None:
        self.counts: Counter[Sort] = Counter()
        self._kept: dict[Sort, list[tuple[int, int, int, Finding]]] = {}
        """The lowest (partition, seq) of each sort, and in which order they were told."""
        self._kept_max = kept_max

    @property
    def kept(self) -> list[Finding]:
        """The first places of each sort, by partition and sequence number."""
        return [kept[3] for kept in sorted(one for of_sort in self._kept.values() for one in of_sort)]

    def add(self, finding: Finding) -> None:
        """Count a finding, and keep it if it is among the first of its sort, whenever it is told."""
        self.counts[finding.sort] += 1
        kept = self._kept.setdefault(finding.sort, [])
        place = (finding.partition, finding.seq, self.total, finding)
        if len(kept) < self._kept_max or place < kept[-1]:
            insort(kept, place)
            del kept[self._kept_max :]

    def teller(self, partition: int) -> Tell:
        """Return what a check of one partition tells by. Long values are cut."""

        def tell(sort: Sort, seq: int, place: str, expected: object, found: object) -> None:
            self.add(Finding(sort, partition, seq, place, _cut(expected), _cut(found)))

        return tell

    @property
    def total(self) -> int:
        """How many there are."""
        return self.counts.total()

    @property
    def of_ledger(self) -> int:
        """How many of them are about the ledger itself."""
        return sum(count for sort, count in self.counts.items() if sort in LEDGER_SORTS)

    @property
    def first(self) -> Finding | None:
        """The first entry that does not fit: of the lowest partition, at the lowest sequence number.

        What is wrong with the ledger comes before what is wrong with a snapshot that is made from it.
        """
        return min(
            self.kept,
            key=lambda finding: (finding.sort not in LEDGER_SORTS, finding.partition, finding.seq),
            default=None,
        )


def _cut(value: object) -> str:
    text = str(value)
    return text if len(text) <= _TOLD_MAX else f"{text[:_TOLD_MAX]}... ({len(text)} characters)"

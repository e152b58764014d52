"""What is still to be broadcast: entries by partition, and the bins that they changed."""

from collections import deque
from collections.abc import Iterable, Iterator

from actors.owned import OwnedPartition
from engine.entries import Entry

BinKey = tuple[int, str, str, str]
"""(partition, site, sku, location)"""


class Track:
    """How far one partition's entries are broadcast."""

    __slots__ = (
        "buffer",
        "committed_seq",
        "cursor",
        "looks_back",
        "owned",
        "taken_s",
        "taken_seq",
    )

    def __init__(self, owned: OwnedPartition, taken_s: float) -> None:
        self.owned = owned
        self.taken_s = taken_s
        """When the partition was taken, by the loop."""
        self.cursor = -1
        """The last entry that the `LEDGER` stream has; -1 until it is known."""
        self.committed_seq = owned.committed_seq
        self.taken_seq = owned.committed_seq
        """The last entry when the partition was taken."""
        self.buffer: deque[Entry] = deque()
        """The last entries, without a gap. What is between the cursor and them is in the ledger."""
        self.looks_back = False
        """Whether bins that changed shortly before the cursor may be missing in `STOCK`."""

    @property
    def number(self) -> int:
        """The partition's."""
        return self.owned.state.number

    @property
    def missing_until(self) -> int:
        """The last entry that must be read from the ledger, if it is after the cursor."""
        return self.buffer[0].seq - 1 if self.buffer else self.committed_seq

    def take(self, most: int) -> list[Entry]:
        """Take the next entries after the cursor out of the buffer."""
        entries: list[Entry] = []
        while self.buffer and len(entries) < most:
            entry = self.buffer.popleft()
            if entry.seq > self.cursor:
                entries.append(entry)
        return entries


class ChangedBins:
    """Bins whose state is still to be broadcast, the longest waiting first, each once."""

    __slots__ = ("_first_seqs",)

    def __init__(self) -> None:
        self._first_seqs: dict[BinKey, int] = {}
        """The first entry of each bin that its last broadcast does not include."""

    def __len__(self) -> int:
        return len(self._first_seqs)

    def note(self, entries: Iterable[Entry]) -> None:
        """Remember the bins that entries changed."""
        first_seqs = self._first_seqs
        for entry in entries:
            if entry.sku is not None and entry.site is not None and entry.location is not None:
                first_seqs.setdefault((entry.partition, entry.site, entry.sku, entry.location), entry.seq)

    def add(self, bins: Iterable[tuple[BinKey, int]]) -> None:
        """Remember bins, each with the first entry that its broadcast is to include."""
        for key, seq in bins:
            self._first_seqs.setdefault(key, seq)

    def take(self, most: int) -> dict[BinKey, int]:
        """Take bins out, the longest waiting first."""
        first_seqs = self._first_seqs
        keys = [key for key, _ in zip(first_seqs, range(most), strict=False)]
        return {key: first_seqs.pop(key) for key in keys}

    def put_back(self, taken: dict[BinKey, int]) -> None:
        """Put bins back whose broadcast failed, in front of the others."""
        self._first_seqs = {**taken, **self._first_seqs, **taken}

    def forget(self, partition: int) -> None:
        """Forget a partition's bins: it has another owner, or starts over."""
        gone = [key for key in self._first_seqs if key[0] == partition]
        for key in gone:
            del self._first_seqs[key]

    def first_seqs(self) -> Iterator[tuple[int, int]]:
        """Return (partition, first entry that is not broadcast) of each bin."""
        return ((key[0], seq) for key, seq in self._first_seqs.items())

"""The newest command keys with their first answers: what makes most repeats cheap.

The key of a command that is still in flight is never forgotten, however small the window: only so can a batch
not have a key twice. A repeat that is older than the window meets the ledger's unique index instead
(`actors.host`).
"""

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from actors.requests import Status
from engine.entries import Entry


class Remembered(NamedTuple):
    """The first answer to a key, or the ledger's entry that it can be worked out from."""

    fingerprint: int | None
    status: Status
    encoded: bytes | None
    entry: Entry | None = None


_Stored = tuple[int | None, int, bytes | None, Entry | None]
"""What `Remembered` says, as a plain tuple that the garbage collector need not look at."""


class KeyWindow:
    """First answers by key, bounded in number and bytes: the oldest leaves first, when the host says so."""

    __slots__ = ("_answers", "_bytes_left", "_gone", "_order", "_size", "is_whole")

    def __init__(self, size: int, bytes_max: int = 64 * 1024 * 1024) -> None:
        self._answers: dict[str, _Stored] = {}
        self._order: deque[str] = deque()
        self._gone: dict[str, int] = {}
        """How many places of a key in `_order` stand for nothing, because it was forgotten."""
        self._size = size
        self._bytes_left = bytes_max
        self.is_whole = True
        """Whether it knows every key that is in the ledger."""

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: str) -> Remembered | None:
        """Return what is remembered of a key."""
        stored = self._answers.get(key)
        return None if stored is None else Remembered(stored[0], Status(stored[1]), stored[2], stored[3])

    def remember(
        self,
        key: str,
        fingerprint: int | None,
        status: Status,
        encoded: bytes | None,
        entry: Entry | None = None,
    ) -> None:
        """Remember a first answer: as the newest, or in the place of what was known of the same key."""
        before = self._answers.get(key)
        if before is None:
            self._order.append(key)
        else:
            self._bytes_left += len(before[2] or b"")
        if encoded is not None:
            self._bytes_left -= len(encoded)
        self._answers[key] = (fingerprint, int(status), encoded, entry)

    def recall(self, entries: Iterable[Entry]) -> None:
        """Fill what room there is with keys that are older than all that are known, newest first."""
        for entry in entries:
            if len(self._answers) >= self._size:
                self.is_whole = False
                return
            assert entry.key is not None
            if entry.key not in self._answers:
                self._answers[entry.key] = (entry.fingerprint, int(Status.ANSWERED), None, entry)
                self._order.appendleft(entry.key)

    def trim(self, in_flight: int) -> None:
        """Forget the oldest beyond the window's size, but none of the newest `in_flight`."""
        answers = self._answers
        most = max(self._size, in_flight)
        while len(answers) > most or (self._bytes_left < 0 and len(answers) > in_flight):
            key = self._order.popleft()
            gone = self._gone.pop(key, 0) if self._gone else 0
            if gone > 1:
                self._gone[key] = gone - 1
            if not gone:
                self._bytes_left += len(answers.pop(key)[2] or b"")
                self.is_whole = False

    def forget_refusals(self) -> None:
        """Forget every refusal: another owner may have carried the same command out since."""
        refused = [key for key, stored in self._answers.items() if stored[1] == Status.REFUSED]
        for key in refused:
            self.forget(key, self._answers[key][0])

    def forget(self, key: str, fingerprint: int | None) -> None:
        """Forget a key whose command turned out not to have happened; not that of another body."""
        stored = self._answers.get(key)
        if stored is not None and stored[0] == fingerprint:
            del self._answers[key]
            self._bytes_left += len(stored[2] or b"")
            self._gone[key] = self._gone.get(key, 0) + 1

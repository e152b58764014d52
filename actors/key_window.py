"""The newest command keys with their first answers: what makes most repeats cheap.

The key of a command that is still in flight is never forgotten, however small the window: only so can a batch
not have a key twice. A repeat that is older than the window meets the ledger's unique index instead
(`actors.host`).
"""

from collections import OrderedDict
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


class KeyWindow:
    """First answers by key, bounded: the oldest leaves first, when the host says so."""

    __slots__ = ("_answers", "_size", "is_whole")

    def __init__(self, size: int) -> None:
        self._answers: OrderedDict[str, Remembered] = OrderedDict()
        self._size = size
        self.is_whole = True
        """Whether it knows every key that is in the ledger."""

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: str) -> Remembered | None:
        """Return what is remembered of a key."""
        return self._answers.get(key)

    def remember(self, key: str, remembered: Remembered) -> None:
        """Remember a first answer as the newest."""
        self._answers[key] = remembered

    def recall(self, entries: Iterable[Entry]) -> None:
        """Fill what room there is with keys that are older than all that are known, newest first."""
        for entry in entries:
            if len(self._answers) >= self._size:
                self.is_whole = False
                return
            assert entry.key is not None
            if entry.key not in self._answers:
                self._answers[entry.key] = Remembered(entry.fingerprint, Status.ANSWERED, None, entry)
                self._answers.move_to_end(entry.key, last=False)

    def trim(self, in_flight: int) -> None:
        """Forget the oldest beyond the window's size, but none of the newest `in_flight`."""
        for _ in range(len(self._answers) - max(self._size, in_flight)):
            self._answers.popitem(last=False)
            self.is_whole = False

    def forget(self, key: str, fingerprint: int | None) -> None:
        """Forget a key whose command turned out not to have happened; not that of another body."""
        remembered = self._answers.get(key)
        if remembered is not None and remembered.fingerprint == fingerprint:
            del self._answers[key]

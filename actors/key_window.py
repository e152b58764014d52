"""The newest command keys with their first answers: what makes most repeats cheap.

A repeat that is older than the window meets the ledger's unique index instead (`actors.host`).
"""

from collections import OrderedDict
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
    """First answers by key, bounded: the oldest leaves first."""

    __slots__ = ("_answers", "_size")

    def __init__(self, size: int) -> None:
        self._answers: OrderedDict[str, Remembered] = OrderedDict()
        self._size = size

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: str) -> Remembered | None:
        """Return what is remembered of a key."""
        return self._answers.get(key)

    def remember(self, key: str, remembered: Remembered) -> None:
        """Remember a first answer, and forget the oldest beyond the window's size."""
        self._answers[key] = remembered
        if len(self._answers) > self._size:
            self._answers.popitem(last=False)

    def forget(self, key: str) -> None:
        """Forget a key whose command turned out not to have happened."""
        self._answers.pop(key, None)

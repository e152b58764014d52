"""What an audit found: places that are not as they should be, counted in units, and each told in the log."""

from collections.abc import Iterable

import structlog

from actors.origins import Wrong
from actors.sums import Balance, Place
from engine.commands import StockKey

_LOGGED_MAX = 100
"""Places that are logged in a round."""

_log = structlog.get_logger()


class Drift:
    """The drift of one round, and within it that of one partition."""

    def __init__(self) -> None:
        self.units = 0
        """By how many units places differ, all taken together."""
        self._places = 0
        self._firsts: dict[str, str] = {}
        """The first place of the partition where each of the things compared differs."""
        self._changed: set[tuple[int, int]] = set()
        """(partition, seq) of entries that are not as they were written."""

    def next_partition(self) -> None:
        """Go on with another partition of the round."""
        self._firsts.clear()

    @property
    def to_mend(self) -> str | None:
        """What a rebuild of the partition would mend, in words; None for nothing.

        Not where the ledger itself does not add up: nothing right can be made of it.
        """
        if not self._firsts or "entries" in self._firsts:
            return None
        what, place = next(iter(self._firsts.items()))
        return f"the audit of {what} found drift at {place}"

    def compare(self, key: StockKey, place: Place, what: str, found: Balance, expected: Balance) -> None:
        """Count by how many units a place differs, and log it."""
        if found == expected:
            return
        site, sku = key
        location, lot = place
        units = sum(abs(one - other) for one, other in zip(found, expected, strict=True))
        first = f"{site}/{sku} at {location}"
        fields = {"site": site, "sku": sku, "location": location, "lot": lot}
        self.tell(what, first, units, **fields, found=found, expected=expected)

    def of_origins(self, of: str, wrong: Iterable[Wrong]) -> None:
        """Count what no balance shows, and log it: each place as one unit."""
        for one in wrong:
            self.tell(f"origins in {of}", str(one), place=one.place, found=one.found, expected=one.expected)

    def of_missing(self, partition: int, seq: int) -> None:
        """Count an entry of a partition that has no row, and log it."""
        self.tell("entries", f"entry {seq}", partition=partition, seq=seq, found="none", expected="a row")

    def of_changed(self, partition: int, seq: int) -> None:
        """Count an entry of a partition that is not as it was written, and log it once."""
        if (partition, seq) not in self._changed:
            self._changed.add((partition, seq))
            found, expected = "a changed row", "a row as it was written"
            self.tell("entries", f"entry {seq}", partition=partition, seq=seq, found=found, expected=expected)

    def of_all_changed(self, places: dict[int, int]) -> None:
        """Do the same with several: sequence numbers by partition."""
        for partition, seq in places.items():
            self.of_changed(partition, seq)

    def tell(self, what: str, first: str, units: int = 1, **fields: object) -> None:
        """Count something that differs, and log it. `first` names it if it is the partition's first."""
        self._firsts.setdefault(what, first)
        self.units += units
        self._places += 1
        if self._places <= _LOGGED_MAX:
            _log.error("drift", of=what, **fields)

"""One whole look at a database: every partition's ledger and snapshot, and the keys over all of them.

Memory holds one partition at a time: its lots, its reservations, and `STRETCH` entries.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from binkeeper.verify.findings import Finding, Findings, Sort
from binkeeper.verify.fold import LedgerFold
from binkeeper.verify.images import compare_rows
from binkeeper.verify.replay import Image, Replay
from persistence.survey import Record, View

_KEYS_MAX = 1_000

Mend = Callable[[Record, Image], Awaitable[None]]
"""Writes a partition's snapshot anew, as of its last entry."""


@dataclass
class Report:
    """What was looked at, and what does not fit."""

    findings: Findings = field(default_factory=Findings)
    partitions: int = 0
    entries: int = 0
    rows: int = 0
    """Rows of the snapshots that were compared."""
    not_compared: list[int] = field(default_factory=list)
    """Partitions whose snapshots could not be compared, because their ledger does not hold."""
    rebuilt: list[int] = field(default_factory=list)
    """Partitions whose snapshots were written anew."""
    mended: int = 0
    """How many of the findings that took back."""
    took_s: float = 0.0

    @property
    def is_clean(self) -> bool:
        """Whether everything fits now."""
        return self.findings.total == self.mended

    def plain(self) -> dict[str, Any]:
        """Return the report as plain values."""
        first = self.findings.first
        return {
            "clean": self.is_clean,
            "partitions": self.partitions,
            "entries": self.entries,
            "snapshot_rows": self.rows,
            "findings": self.findings.total,
            "counts": {str(sort): count for sort, count in sorted(self.findings.counts.items())},
            "first": first.plain() if first is not None else None,
            "kept": [finding.plain() for finding in self.findings.kept],
            "snapshots_not_compared": self.not_compared,
            "snapshots_rebuilt": self.rebuilt,
            "took_s": round(self.took_s, 3),
            "entries_per_s": round(self.entries / self.took_s) if self.took_s else 0,
        }


class Examination:
    """Looks at a view of a database. `step` is told how many entries were looked at."""

    def __init__(
        self, view: View, step: Callable[[int], None] = lambda _: None, mend: Mend | None = None
    ) -> None:
        self._view = view
        self._step = step
        self._mend = mend
        self.report = Report()

    async def run(self) -> Report:
        """Look at everything. Raises Unavailable."""
        began_s = time.monotonic()
        partitions = await self._view.partitions()
        if partitions is None:
            tell = self.report.findings.teller(0)
            tell(Sort.PARTITION, 0, "", "the setting that says how many partitions there are", "none")
        for record in await self._view.records():
            await self._examine(record, partitions)
        for repeated in await self._view.repeated_keys(_KEYS_MAX):
            partition, seq = repeated.places[1]
            found = "also at " + ", ".join(f"partition {p}, entry {s}" for p, s in repeated.places)
            self.report.findings.add(
                Finding(Sort.KEY, partition, seq, repeated.key, "a key that was used once", found)
            )
        self.report.took_s = time.monotonic() - began_s
        return self.report

    async def _examine(self, record: Record, partitions: int | None) -> None:
        """Look at one partition."""
        report, findings = self.report, self.report.findings
        tell = findings.teller(record.partition)
        before, before_ledger = findings.total, findings.of_ledger
        fold, replay = LedgerFold(record.partition, partitions, tell), Replay(record.partition, tell)
        image = replay.image() if record.is_recorded and record.snapshot_seq == 0 else None
        async for stretch in self._view.entries(record.partition):
            for changed in stretch.changed:
                expected = f"checksum {changed.own}, if the row were as it was written"
                tell(Sort.CHECKSUM, changed.seq, "", expected, f"checksum {changed.stored}")
            for entry in stretch.entries:
                fold.take(entry)
                replay.take(entry)
                if entry.seq == record.snapshot_seq and record.is_recorded:
                    image = replay.image()
            report.entries += len(stretch.entries)
            self._step(len(stretch.entries))
        fold.end()
        report.partitions += 1
        if replay.is_sound:
            replay.compare(fold)
        is_sound = replay.is_sound and findings.of_ledger == before_ledger
        unmendable = self._look_at_record(record, fold, partitions)
        if image is not None and is_sound:
            report.rows += await compare_rows(self._view, image, record.partition, tell)
        else:
            report.not_compared.append(record.partition)
        mendable = findings.total - before - unmendable
        if self._mend is not None and is_sound and mendable and record.is_recorded:
            await self._mend(record, replay.image())
            report.rebuilt.append(record.partition)
            report.mended += mendable

    def _look_at_record(self, record: Record, fold: LedgerFold, partitions: int | None) -> int:
        """See that the partition's own row fits its ledger; return how much a new snapshot does not mend."""
        tell = self.report.findings.teller(record.partition)
        is_beyond = partitions is not None and record.partition >= partitions
        if is_beyond:
            expected = f"nothing of a partition beyond the {partitions} that there are"
            tell(Sort.PARTITION, fold.seq, "", expected, f"{fold.seq} entries, or other rows")
        if not record.is_recorded:
            if not is_beyond:
                tell(Sort.PARTITION, fold.seq, "", "a row of its own in the table of partitions", "none")
            return 1
        unmendable = is_beyond + (record.epoch != fold.epoch) + (record.cursor > fold.seq)
        if record.epoch != fold.epoch:
            found = f"epoch {record.epoch} in the partition's row"
            tell(Sort.PARTITION, fold.seq, "", f"epoch {fold.epoch}, of the last claim", found)
        if record.snapshot_seq > fold.seq:
            found = f"a snapshot of entry {record.snapshot_seq}: what came after was recorded and is gone"
            tell(Sort.PARTITION, fold.seq, "", f"a snapshot of entry {fold.seq} at most", found)
        if record.cursor > fold.seq:
            found = f"a broadcast up to entry {record.cursor}"
            tell(Sort.PARTITION, fold.seq, "", f"a broadcast up to entry {fold.seq} at most", found)
        return unmendable

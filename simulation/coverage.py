"""What histories are said to try, and what of it never happened in them.

A fault that is claimed and not played proves nothing, and neither does an entry that no command ever makes.
"""

from collections import Counter
from collections.abc import Iterable

from engine.entries import Kind
from simulation.plan import FAULTS
from simulation.run import Result

EFFECTS = (
    "answer of the database lost",
    "bin set back by a deposed host",
    "bin set back by a late message",
    "bin set back by an overtaken owner",
    "bin set back by who says it again",
    "commit cancelled, its outcome unknown",
    "commit late",
    "commit refused",
    "commit without an answer",
    "cut after a frame",
    "cut before a frame",
    "cut within a frame",
    "frame late, its sender has sent it again",
    "host killed before it listened",
    "host killed before it served",
    "host restarted after its ledger was mended",
    "host woken after it was replaced",
    "partition moved as it was wished",
    "request of a host that is cut off",
    "request refused, the ledger does not hold",
    "row harmed as its owner died",
    "snapshot rebuilt after a row was harmed",
    "stream message forgotten",
    "stream message late, its sender has sent it again",
    "stream message twice, and dropped",
)
"""What comes of faults, by the names under which it is counted."""

RUNS_MIN = 500
"""In so many histories of 1,000 operations, each fault, effect and kind of entry happens many times."""


def counted(results: Iterable[Result]) -> dict[str, dict[str, int]]:
    """Return how often each fault met something to harm, what came of them, and the entries by kind."""
    faults, effects = Counter(dict.fromkeys(FAULTS, 0)), Counter(dict.fromkeys(EFFECTS, 0))
    entries = Counter({kind.value: 0 for kind in Kind})
    for result in results:
        faults.update(result.faults_by_kind)
        effects.update(result.effects)
        entries.update(result.entries_by_kind)
    return {"faults_by_kind": dict(faults), "effects": dict(effects), "entries_by_kind": dict(entries)}


def never_happened(counts: dict[str, dict[str, int]]) -> list[str]:
    """Return what was claimed and did not happen once, by `counted`."""
    return [name for group in counts.values() for name, count in group.items() if not count]

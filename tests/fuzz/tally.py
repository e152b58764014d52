"""What a fuzzer tried, how often, and how it ended; and how a case that failed is repeated.

A run is a seed and a number of cases. Each case has a random generator of its own, made from the seed and
the case's number, so that one case can be repeated without those before it.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random

SEED = int(os.environ.get("FUZZ_SEED", "20261122"))
"""The tests' seed, always the same unless told otherwise."""


def cases_of(default: int) -> int:
    """Return how many cases a test tries: FUZZ_CASES, or so many."""
    return int(os.environ.get("FUZZ_CASES", default))


@dataclass(frozen=True, slots=True)
class Case:
    """One try: the kind of harm, and the generator that makes it."""

    number: int
    kind: str
    rng: Random


@dataclass
class Tally:
    """One fuzzer's run."""

    fuzzer: str
    seed: int
    cases: int
    only: int | None = None
    """The number of the one case that is to be repeated."""
    endings: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often each (kind, ending) was seen."""
    notes: dict[str, object] = field(default_factory=dict)
    """Figures beside the cases, such as memory."""

    def plan(self, kinds: Sequence[str], costly: Sequence[str] = ()) -> Iterator[Case]:
        """Return the cases: each kind once, then by lot; of those that are costly one in a hundred."""
        all_kinds = [*kinds, *costly]
        for number in range(self.cases):
            rng = Random(f"{self.seed}/{number}")
            kind = rng.choice(costly if costly and rng.random() < 0.01 else kinds)
            if number < len(all_kinds):
                kind = all_kinds[number]
            if self.only is None or self.only == number:
                yield Case(number, kind, rng)

    def count(self, kind: str, ending: str) -> None:
        """Count one case that ended as it should."""
        self.endings[kind, ending] += 1

    @contextmanager
    def trying(self, case: Case) -> Iterator[None]:
        """Say how to repeat the case if it fails."""
        try:
            yield
        except Exception as fault:
            how = f"python -m tests.fuzz {self.fuzzer} --seed {self.seed} --case {case.number}"
            reason = str(fault) or type(fault).__name__
            raise AssertionError(f"{case.kind}: {reason}\nrepeat by: {how} --cases {self.cases}") from fault

    @property
    def total(self) -> int:
        """How many cases ended."""
        return self.endings.total()

    def lines(self) -> list[str]:
        """Return the summary: a line for the run, one for each kind."""
        by_kind: dict[str, list[str]] = {}
        for (kind, ending), count in sorted(self.endings.items()):
            by_kind.setdefault(kind, []).append(f"{count:,} {ending}")
        notes = "".join(f", {name} {value}" for name, value in self.notes.items())
        return [
            f"{self.fuzzer}: {self.total:,} cases, seed {self.seed}{notes}",
            *(f"  {kind:<34} {', '.join(parts)}" for kind, parts in by_kind.items()),
        ]

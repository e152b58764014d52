"""The result of a run as a file: raw values by round, from which tables, pictures and comparisons are made.

One JSON object, all numbers plain, latencies in ms. Any series may be empty: a quick run leaves some out. A
file that says another `format` than `FORMAT` is not read at all.
"""

from pathlib import Path
from typing import Any, Self

import msgspec
from msgspec import Struct

from bench.samples import Spread

FORMAT = 1
FILE_NAME = "result.json"
OURS = "Binkeeper"
"""What our contenders' names begin with."""

Value = float | int | str | bool | None


class NotAResult(Exception):
    """There is no result to be read: nothing was read. The message names the file, and why."""


class Percentiles(Struct, kw_only=True, frozen=True):
    """Latencies in ms; None where nothing was answered."""

    p50_ms: float | None = None
    p90_ms: float | None = None
    p99_ms: float | None = None
    p999_ms: float | None = None
    max_ms: float | None = None


class Throughput(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A contender's capacity, by a closed loop."""

    contender: str
    workload: str
    in_flight: int
    rounds: list[float]
    """Operations a second, by round."""
    latencies: Percentiles = Percentiles()
    cpu_s_per_million: dict[str, float] = {}
    """CPU seconds of a million operations, by role of the server processes."""

    @property
    def spread(self) -> Spread:
        """The median over the rounds, with its least and most."""
        return Spread.of(self.rounds)


class Latency(Percentiles, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A contender's latencies at a share of its own capacity, by an open loop."""

    contender: str
    workload: str
    load: float
    offered_s: float
    accepted_s: float
    histogram: str = ""
    """As `bench.latency` writes it."""


class Broadcast(Percentiles, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """From the commit to a subscriber."""

    load: float
    offered_s: float
    histogram: str = ""


class Point(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A rate at a size. Lines are those of orders."""

    at: int
    ops_s: float
    lines_s: float | None = None


class Growth(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """How the rate changes with a size; the rest stays the same."""

    bins: list[Point] = []
    in_flight: list[Point] = []
    lines: list[Point] = []
    hosts: list[Point] = []


class Memory(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What a resting bin takes, among so many."""

    bins: int
    bytes_per_bin: float


class Recovery(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """How long a killed host is away, with so many bins and so many entries since their snapshots."""

    bins: int
    tail: int
    seconds: float


class NotRun(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A contender that was left out."""

    contender: str
    why: str


class Result(Struct, kw_only=True, forbid_unknown_fields=True):
    """Everything that a run found."""

    date: str
    """When the run began: ISO 8601."""
    seconds: float
    quick: bool
    seed: int
    commit: str
    audits: int
    format: int = FORMAT
    plan: dict[str, Value] = {}
    machine: dict[str, Value] = {}
    figures: dict[str, Value] = {}
    rounds: dict[str, list[float]] = {}
    """Raw values by round."""
    ratios: dict[str, tuple[str, str]] = {}
    """Figures that are one of `rounds` over another, round by round."""
    throughput: list[Throughput] = []
    latency_by_load: list[Latency] = []
    growth: Growth = Growth()
    memory: list[Memory] = []
    recovery: list[Recovery] = []
    broadcast: Broadcast | None = None
    not_run: list[NotRun] = []

    @classmethod
    def of(cls, plain: dict[str, Any]) -> Self:
        """Return the result that plain values describe. Raises NotAResult."""
        try:
            made = msgspec.convert(plain, cls)
        except msgspec.ValidationError as error:
            raise NotAResult(f"no result of the benchmark: {error}") from None
        made.check()
        return made

    def check(self) -> None:
        """Raise NotAResult where parts do not fit each other."""
        for name, sides in self.ratios.items():
            for side in sides:
                if side not in self.rounds:
                    raise NotAResult(f"no result of the benchmark: {name} is made of {side}, not in rounds")
            ours, theirs = (self.rounds[side] for side in sides)
            if not ours or len(ours) != len(theirs):
                raise NotAResult(
                    f"no result of the benchmark: {name} is of {len(ours)} and {len(theirs)} rounds"
                )
            if min(theirs) <= 0:
                raise NotAResult(f"no result of the benchmark: {name} is over a round of {min(theirs):g}")
        for row in self.throughput:
            if not row.rounds:
                raise NotAResult(f"no result of the benchmark: {row.contender}, {row.workload}: no rounds")

    def ratio_rounds(self, name: str) -> list[float]:
        """Return a ratio, round by round: both sides of one round had the same machine."""
        ours, theirs = self.ratios[name]
        return [our / their for our, their in zip(self.rounds[ours], self.rounds[theirs], strict=True)]

    def rounds_of(self, name: str) -> list[float]:
        """Return the values by round of a ratio or of what was measured; none if it was measured once."""
        return self.ratio_rounds(name) if name in self.ratios else self.rounds.get(name, [])

    def spread_of(self, name: str) -> Spread | None:
        """Return a figure over its rounds. Measured once it is its own ends; None if not at all."""
        if values := self.rounds_of(name):
            return Spread.of(values)
        value = _number(self.figures.get(name))
        if value is None:
            return None
        ends = (_number(self.figures.get(f"{name}_{end}")) for end in ("min", "max"))
        least, most = (value if end is None else end for end in ends)
        return Spread(value, least, most)

    def number(self, name: str) -> float | None:
        """Return a figure; None if it was not measured."""
        spread = self.spread_of(name)
        return None if spread is None else spread.median


def write(result: Result, folder: Path) -> Path:
    """Write a result into a folder, which is made if it is not there; return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE_NAME
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
    return path


def read(path: Path) -> Result:
    """Read a result from its file, or from the folder that it is in. Raises NotAResult."""
    file = path / FILE_NAME if path.is_dir() else path
    try:
        plain = msgspec.json.decode(file.read_bytes())
    except FileNotFoundError:
        raise NotAResult(f"{file}: there is no such file") from None
    except OSError as error:
        raise NotAResult(f"{file}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NotAResult(f"{file}: no result of the benchmark: {error}") from None
    found = plain.get("format") if isinstance(plain, dict) else None
    if not isinstance(found, int) or isinstance(found, bool):
        raise NotAResult(f"{file}: no result of the benchmark: it does not say its format")
    if found != FORMAT:
        raise NotAResult(f"{file}: a result in format {found}, and this version reads format {FORMAT}")
    try:
        return Result.of(plain)
    except NotAResult as error:
        raise NotAResult(f"{file}: {error}") from None


def _number(value: Value) -> float | None:
    return None if isinstance(value, bool | str) or value is None else float(value)

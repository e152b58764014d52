"""What the model of scale rests on: costs from a benchmark's result, and the measurements it is held against.

A process's time on a core has two parts: so much for each operation, and so much for each commit, whatever
it carries. They are told apart by rows of one workload with few and many requests in flight: alone a request
has a commit of its own, and of n in flight half are in a commit while the others wait for the next.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

import asyncpg
import msgspec
from msgspec import Struct

from bench.result import Latency, NotAResult, Result, Throughput, read
from bench.samples import rounded

ENTRY_BYTES = 370.0
"""Of an entry on disk: 213 of its row (ADR 25), and 45 MB of indexes over 288,000 rows (ADR 2)."""
COPY_ROWS = 2_000
"""Of a COPY by which its rate is measured."""
ROLES = ("host", "postgres", "nats", "client")
_LANES, _HTTP, _WORKLOAD = "Binkeeper, lanes", "Binkeeper, HTTP", "spread"
_ENTRY_BYTES = "SELECT pg_total_relation_size('ledger')::float8 / nullif(count(*), 0) FROM ledger"
_BATCHED_FROM = 8
"""Requests in flight from which a commit is shared."""


class TooLittle(NotAResult):
    """The result has not what the model needs. The message says what is missing."""


class Cost(Struct, frozen=True):
    """Microseconds."""

    operation_us: float
    commit_us: float

    def us(self, batch: float) -> float:
        """Return what an operation costs of which so many share a commit."""
        return self.operation_us + self.commit_us / batch


class Closed(Struct, frozen=True):
    """What was measured with so many requests under way."""

    in_flight: int
    ops_s: float
    hosts: int = 1
    p50_ms: float | None = None
    p99_ms: float | None = None


class Open(Struct, frozen=True):
    """Latencies that were measured under an offered load."""

    load: float
    offered_s: float
    p50_ms: float
    p99_ms: float


class Basis(Struct, frozen=True, forbid_unknown_fields=True):
    """What the model knows."""

    date: str
    commit: str
    quick: bool
    cpu: str
    cores: int
    cpu_us: dict[str, Cost]
    """On a core, by role: `ROLES`."""
    api_us: float | None
    """Of an API process for a request that comes alone over HTTP; None if none was measured."""
    commit_ms: float
    """From sending one row to Postgres until it is durable."""
    entry_us: float
    """How much longer that takes for each row more."""
    entry_bytes: float
    closed: tuple[Closed, ...]
    open: tuple[Open, ...]

    @classmethod
    def of(cls, result: Result, entry_bytes: float = ENTRY_BYTES) -> Self:
        """Return what a result says. Raises TooLittle."""
        rows = {
            row.in_flight: row
            for row in result.throughput
            if (row.contender, row.workload) == (_LANES, _WORKLOAD) and row.cpu_s_per_million
        }
        if 1 not in rows or max(rows) < _BATCHED_FROM:
            raise TooLittle("no rows of lanes, spread, with the CPU of one request in flight and of many")
        commit_ms, copy_s = _needed(result, "commit_p50_ms"), _needed(result, "copy_rows_s")
        entry_us = max(0.1, (COPY_ROWS / copy_s * 1e6 - commit_ms * 1e3) / (COPY_ROWS - 1))
        http = [
            row
            for row in result.throughput
            if (row.contender, row.workload) == (_HTTP, _WORKLOAD) and "api" in row.cpu_s_per_million
        ]
        return cls(
            date=result.date,
            commit=result.commit,
            quick=result.quick,
            cpu=str(result.machine.get("cpu", "a machine")),
            cores=int(result.machine.get("cores") or 1),
            cpu_us={role: _cost(role, rows[1], rows[max(rows)]) for role in ROLES},
            api_us=http[0].cpu_s_per_million["api"] if http else None,
            commit_ms=rounded(commit_ms),
            entry_us=rounded(entry_us),
            entry_bytes=entry_bytes,
            closed=tuple(_closed(result, rows)),
            open=tuple(_open(row) for row in result.latency_by_load if _is_lanes(row)),
        )

    def with_cost(self, role: str, cost: Cost) -> Self:
        """Return the same with another cost of a role."""
        return msgspec.structs.replace(self, cpu_us={**self.cpu_us, role: cost})


def newest(folder: Path) -> Path:
    """Return the newest folder of a result below a folder. Raises NotAResult."""
    found = sorted(file.parent for file in folder.glob("*/result.json"))
    if not found:
        raise NotAResult(f"{folder}: there is no result: run `make bench`, or name one")
    return found[-1]


def basis_of(path: Path, entry_bytes: float = ENTRY_BYTES) -> Basis:
    """Read what the model needs from a result's file or folder. Raises NotAResult."""
    try:
        return Basis.of(read(path), entry_bytes)
    except TooLittle as error:
        raise TooLittle(f"{path}: {error}") from None


def plain(basis: Basis) -> str:
    """Return a basis as JSON, for a page to keep."""
    return msgspec.json.format(msgspec.json.encode(basis), indent=1).decode()


def from_plain(text: str) -> Basis:
    """Return the basis that a page keeps. Raises NotAResult."""
    try:
        return msgspec.json.decode(text, type=Basis)
    except msgspec.DecodeError as error:
        raise NotAResult(f"no basis of the model: {error}") from None


async def entry_bytes_of(postgres_url: str) -> float:
    """Return what an entry takes on the disk of a database, with indexes. Raises NotAResult."""
    try:
        connection = await asyncpg.connect(postgres_url)
        try:
            found = await connection.fetchval(_ENTRY_BYTES)
        finally:
            await connection.close()
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise NotAResult(f"Postgres: {error}") from None
    if found is None:
        raise NotAResult("the ledger is empty: it does not say what an entry takes")
    return rounded(float(found))


def _cost(role: str, alone: Throughput, many: Throughput) -> Cost:
    """Tell the two parts of a role's cost apart: a + b = alone, a + b / batch = of many."""
    one, shared = (row.cpu_s_per_million.get(role, 0.0) for row in (alone, many))
    batch = many.in_flight / 2
    commit_us = max(0.0, (one - shared) / (1 - 1 / batch))
    return Cost(rounded(max(0.0, shared - commit_us / batch)), rounded(commit_us))


def _needed(result: Result, name: str) -> float:
    value = result.number(name)
    if not value or value <= 0:
        raise TooLittle(f"no {name}")
    return value


def _closed(result: Result, rows: Mapping[int, Throughput]) -> Iterator[Closed]:
    """Yield rates by requests in flight: from the rounds, which are the longer ones, else from growth."""
    found = {point.at: Closed(point.at, rounded(point.ops_s)) for point in result.growth.in_flight}
    for in_flight, row in rows.items():
        told = row.latencies
        found[in_flight] = Closed(in_flight, rounded(row.spread.median), 1, told.p50_ms, told.p99_ms)
    yield from sorted(found.values(), key=lambda one: one.in_flight)
    for point in result.growth.hosts:
        if point.at > 1:
            yield Closed(max(rows), rounded(point.ops_s), point.at)


def _is_lanes(row: Latency) -> bool:
    return (row.contender, row.workload) == (_LANES, _WORKLOAD) and None not in (row.p50_ms, row.p99_ms)


def _open(row: Latency) -> Open:
    assert row.p50_ms is not None
    assert row.p99_ms is not None
    return Open(row.load, rounded(row.offered_s), rounded(row.p50_ms), rounded(row.p99_ms))

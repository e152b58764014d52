"""The p99 of the peers at the load that lanes carry at 75 % of their own capacity.

Each contender was loaded by shares of its own capacity, so that hardly two were offered the same. A peer is
compared where it was offered as much. Elsewhere: one that is slower with less load, or faster with more, is
so at that load too; and one whose capacity is less cannot carry it: its latencies grow for as long as it
lasts.
"""

from dataclasses import dataclass
from typing import Literal

from bench.result import OURS, Latency, Result

LANES = f"{OURS}, lanes"
_LOAD = 0.75
_SAME = 0.1
"""How far two offered rates may be apart to count as the same."""

State = Literal["lanes are lower", "the peer is lower", "cannot carry it", "not measured there"]


@dataclass(frozen=True, slots=True)
class AtLoad:
    """A peer at the load of lanes."""

    contender: str
    capacity_s: float | None
    p99_ms: float | None
    state: State


def lanes_at_75(result: Result) -> Latency | None:
    """Return what lanes showed at 75 % of their capacity, spread; None if that was not measured."""
    rows = [
        row
        for row in result.latency_by_load
        if row.contender == LANES and row.workload == "spread" and abs(row.load - _LOAD) < 0.01
    ]
    return rows[0] if rows and rows[0].p99_ms is not None else None


def peers_at_75(result: Result) -> list[AtLoad]:
    """Return every peer that had the workload of lanes, at their load."""
    ours = lanes_at_75(result)
    if ours is None:
        return []
    capacities: dict[str, float] = {}
    for row in result.throughput:
        if row.workload == ours.workload:
            capacities[row.contender] = max(capacities.get(row.contender, 0.0), row.spread.median)
    loaded = [row for row in result.latency_by_load if row.workload == ours.workload]
    names = dict.fromkeys([*capacities, *(row.contender for row in loaded)])
    return [
        _at(ours, name, capacities.get(name), [row for row in loaded if row.contender == name])
        for name in names
        if not name.startswith(OURS)
    ]


def slower_than_a_peer(result: Result) -> list[str]:
    """Return the peers whose p99 is lower."""
    return [peer.contender for peer in peers_at_75(result) if peer.state == "the peer is lower"]


def _at(ours: Latency, name: str, capacity_s: float | None, rows: list[Latency]) -> AtLoad:
    """Compare at the nearest load; else by what follows from latency growing with load."""
    p99_ms = ours.p99_ms
    assert p99_ms is not None
    known = [(row.offered_s / ours.offered_s, row.p99_ms) for row in rows if row.p99_ms is not None]
    near = [(abs(share - 1), theirs) for share, theirs in known if abs(share - 1) <= _SAME]
    if near:
        theirs = min(near)[1]
        return AtLoad(name, capacity_s, theirs, "lanes are lower" if p99_ms < theirs else "the peer is lower")
    if lower := [theirs for share, theirs in known if share > 1 and theirs <= p99_ms]:
        return AtLoad(name, capacity_s, min(lower), "the peer is lower")
    if capacity_s is not None and capacity_s < ours.offered_s:
        return AtLoad(name, capacity_s, None, "cannot carry it")
    if higher := [theirs for share, theirs in known if share < 1 and theirs > p99_ms]:
        return AtLoad(name, capacity_s, max(higher), "lanes are lower")
    return AtLoad(name, capacity_s, None, "not measured there")

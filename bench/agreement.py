"""Holding the simulation against what was measured, and asking it for the latencies of what was not."""

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from bench.basis import Basis
from bench.queueing import Seen, World, closed, open_loop
from bench.scale import Carried, Site

LOG_SHARE = 0.5
"""Of the time of a commit alone: while the log is written, and no core is needed. Not measured."""
_REQUESTS = 12_000
_SIMULATED_S = (0.1, 2.0)
"""At least and at most."""
_WARM = 0.3


class Agreement(NamedTuple):
    """A figure that was measured, and what the simulation says."""

    what: str
    unit: str
    measured: float
    simulated: float

    @property
    def error_pct(self) -> float:
        """How much more the simulation says."""
        return (self.simulated / self.measured - 1) * 100


def this_machine(basis: Basis, hosts: int = 1) -> World:
    """Return the machine on which was measured: host, Postgres, NATS and caller share its cores."""
    nats, caller = basis.cpu_us["nats"], basis.cpu_us["client"]
    apart = _apart(basis, hosts)
    return replace(
        apart,
        shared_cores=basis.cores,
        beside_each_s=apart.beside_each_s + nats.operation_us / 1e6,
        beside_once_s=apart.beside_once_s + nats.commit_us / 1e6,
        caller_each_s=caller.operation_us / 1e6,
        caller_once_s=caller.commit_us / 1e6,
    )


def agreements(basis: Basis) -> list[Agreement]:
    """Simulate everything that was measured, under the same loads."""
    found = []
    for row in basis.closed:
        seen = closed(
            this_machine(basis, row.hosts),
            row.in_flight,
            seconds=_seconds(row.ops_s),
            warm_s=_WARM * _seconds(row.ops_s),
        )
        hosts = "" if row.hosts == 1 else f", {row.hosts} hosts"
        what = f"{row.in_flight} in flight{hosts}"
        found.append(Agreement(what, "operations/s", row.ops_s, seen.rate_s))
        for name, measured, share in (("p50", row.p50_ms, 0.5), ("p99", row.p99_ms, 0.99)):
            if measured is not None:
                found.append(Agreement(f"{what}, {name}", "ms", measured, seen.at_ms(share)))
    for load in basis.open:
        seen = _offered(this_machine(basis), load.offered_s)
        what = f"{load.load:.0%} load, {load.offered_s:,.0f}/s"
        found.append(Agreement(f"{what}, p50", "ms", load.p50_ms, seen.at_ms(0.5)))
        found.append(Agreement(f"{what}, p99", "ms", load.p99_ms, seen.at_ms(0.99)))
    return found


def latencies_ms(basis: Basis, site: Site, carried: Carried, load: float) -> tuple[float, float]:
    """Return p50 and p99 at a share of what is carried, by simulating one of the Postgres servers."""
    hosts = max(1, round(carried.hosts / carried.servers))
    return _apart_ms(
        _apart(basis, hosts, site.postgres_cores), round(load * carried.rate_s * hosts / carried.hosts)
    )


@lru_cache(maxsize=64)
def _apart_ms(world: World, rate_s: float) -> tuple[float, float]:
    seen = _offered(world, rate_s)
    return seen.at_ms(0.5), seen.at_ms(0.99)


def _apart(basis: Basis, hosts: int, postgres_cores: int = 1) -> World:
    """Return hosts on a Postgres server. What a commit costs it beyond a bare one is done beside it."""
    host, postgres = basis.cpu_us["host"], basis.cpu_us["postgres"]
    log_us = LOG_SHARE * basis.commit_ms * 1e3
    once_us = min(basis.commit_ms * 1e3 - log_us, postgres.commit_us)
    each_us = min(basis.entry_us, postgres.operation_us)
    return World(
        hosts=hosts,
        postgres_cores=postgres_cores,
        host_each_s=host.operation_us / 1e6,
        host_once_s=host.commit_us / 1e6,
        postgres_each_s=each_us / 1e6,
        postgres_once_s=once_us / 1e6,
        beside_each_s=(postgres.operation_us - each_us) / 1e6,
        beside_once_s=(postgres.commit_us - once_us) / 1e6,
        log_s=log_us / 1e6,
    )


def _offered(world: World, rate_s: float) -> Seen:
    seconds = _seconds(rate_s)
    return open_loop(world, rate_s, seconds=seconds, warm_s=_WARM * seconds)


def _seconds(rate_s: float) -> float:
    """Return for how long to simulate: so many requests, if that is neither a moment nor for ever."""
    least, most = _SIMULATED_S
    return min(most, max(least, _REQUESTS / rate_s))

"""The model of scale: what hosts on so many Postgres servers carry, from costs measured on one machine.

Hosts commit again and again, each its own batch. Let a commit begin every T seconds, at most `CYCLE_MS`,
so that an answer leaves within 2 T, and let a batch carry b operations. Each resource must do its part of
that in T: `fixed + b * each <= T`. The least b over all resources is what is carried, and the resource that
allows no more is the bottleneck. With too many hosts on a server not even batches of one fit: then T is
longer, and nothing is shared.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from random import Random

from bench.basis import Basis, Cost

CYCLE_MS = 10.0
"""From one commit of a host to its next, at most: an answer waits for two, and is to leave within 20 ms."""
PARTITIONS = 256
"""As a database has them unless it was made with another number."""
PARTITIONS_EACH = 8
"""Of a host, where there are so many hosts that `PARTITIONS` are too few."""
SKU_INDEX_US = 4.0
"""Of Postgres for an entry, by the index that serves questions about one SKU (ADR 2)."""
SKUS = 100_000
"""Over which uneven demand is spread, by Zipf's law with exponent 1."""

HOST, COMMIT, POSTGRES, LOG, NETWORK, NATS = (
    "host's core",
    "a host's commits",
    "Postgres's cores",
    "Postgres's log",
    "Postgres's network",
    "NATS",
)
MOVES = {
    HOST: "more hosts; a compiled host",
    COMMIT: "more hosts; a log on a faster disk; fewer columns and indexes",
    POSTGRES: "more Postgres servers; more cores; fewer columns and indexes; fewer hosts on one server",
    LOG: "more Postgres servers; a faster disk; fewer columns and indexes",
    NETWORK: "more Postgres servers; a faster network",
    NATS: "more NATS servers; stock operations do not wait for them, the broadcast falls behind",
}
"""What moves each bottleneck."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Machines that nobody measured here. A core is one of those on which the costs were measured."""

    postgres_cores: int = 8
    """Of each Postgres server, for sessions that commit."""
    nats_servers: int | None = None
    """As many as Postgres servers, if None."""
    nats_cores: int = 4
    """Of each NATS server."""
    log_bytes_s: float = 500e6
    """What the disk of a Postgres server's log takes."""
    log_bytes: float = 1_000.0
    """Of an entry in the log, with its indexes and its part of whole pages."""
    network_bytes_s: float = 1.25e9
    """Of a Postgres server: 10 Gbit/s."""
    wire_bytes: float = 300.0
    """Of an entry on its way to Postgres."""


@dataclass(frozen=True, slots=True)
class Resource:
    """What a cycle needs of something, in seconds: for each host's commit, and for each operation in it."""

    name: str
    fixed_s: float
    each_s: float

    def batch(self, cycle_s: float) -> float:
        """Return how many operations of each host fit into a cycle."""
        return (cycle_s - self.fixed_s) / self.each_s


@dataclass(frozen=True, slots=True)
class Carried:
    """What is carried, by all hosts together."""

    hosts: int
    servers: int
    rate_s: float
    """Operations a second, if all hosts have as much to do."""
    batch: float
    cycle_ms: float
    bottleneck: str
    next_bottleneck: str
    next_rate_s: float
    """What the next one would carry, if the first were out of the way."""
    uneven_s: float
    """Operations a second at which the busiest host has as much as it can, by Zipf's law."""
    api_cores: float | None
    """For requests that come one by one over HTTP."""
    ledger_gb_day: float
    """On the disk of each Postgres server, if this goes on all day."""


def resources(basis: Basis, site: Site, hosts: int, servers: int) -> list[Resource]:
    """Return what a cycle of all hosts needs."""
    a_server = hosts / servers
    host, postgres, nats = (basis.cpu_us[role] for role in ("host", "postgres", "nats"))
    postgres_cores = site.postgres_cores * 1e6
    nats_cores = site.nats_cores * 1e6 * (site.nats_servers or servers)
    return [
        Resource(HOST, host.commit_us / 1e6, host.operation_us / 1e6),
        Resource(COMMIT, basis.commit_ms / 1e3, basis.entry_us / 1e6),
        Resource(
            POSTGRES,
            a_server * postgres.commit_us / postgres_cores,
            a_server * postgres.operation_us / postgres_cores,
        ),
        Resource(LOG, 0.0, a_server * site.log_bytes / site.log_bytes_s),
        Resource(NETWORK, 0.0, a_server * site.wire_bytes / site.network_bytes_s),
        # What is behind with the broadcast sends more at once: a commit costs NATS nothing by itself.
        Resource(NATS, 0.0, hosts * nats.operation_us / nats_cores),
    ]


def carry(basis: Basis, hosts: int, servers: int, site: Site | None = None) -> Carried:
    """Return what so many hosts on so many Postgres servers carry. Servers without a host do nothing."""
    assert hosts >= 1
    assert servers >= 1
    servers = min(servers, hosts)
    found = [need for need in resources(basis, site or Site(), hosts, servers) if need.each_s > 0]
    cycle_s = max(CYCLE_MS / 1e3, *(need.fixed_s + need.each_s for need in found))
    first, second = sorted(found, key=lambda need: need.batch(cycle_s))[:2]
    batch = first.batch(cycle_s)
    rate_s = hosts * batch / cycle_s
    alone = min(need.batch(cycle_s) for need in found if need.name in (HOST, COMMIT)) / cycle_s
    return Carried(
        hosts=hosts,
        servers=servers,
        rate_s=rate_s,
        batch=batch,
        cycle_ms=cycle_s * 1e3,
        bottleneck=first.name,
        next_bottleneck=second.name,
        next_rate_s=hosts * second.batch(cycle_s) / cycle_s,
        uneven_s=min(rate_s, alone / max(zipf_shares(hosts))),
        api_cores=None if basis.api_us is None else rate_s * basis.api_us / 1e6,
        ledger_gb_day=rate_s / servers * basis.entry_bytes * 86_400 / 1e9,
    )


@lru_cache(maxsize=16)
def zipf_shares(hosts: int, skus: int = SKUS, seed: int = 1) -> Sequence[float]:
    """Return each host's share of demand that follows Zipf's law: SKUs lie in partitions by chance."""
    chance = Random(seed)
    partitions = max(PARTITIONS, PARTITIONS_EACH * hosts)
    weights = [0.0] * hosts
    for rank in range(1, skus + 1):
        weights[int(chance.random() * partitions) % hosts] += 1 / rank
    total = sum(weights)
    return tuple(weight / total for weight in weights)


def changes(site: Site, basis: Basis) -> dict[str, tuple[Basis, Site]]:
    """Return what could be changed, by name: the model of each is asked what it brings."""
    host, postgres = basis.cpu_us["host"], basis.cpu_us["postgres"]
    cheaper = Cost(host.operation_us / 2, host.commit_us / 2)
    lighter_us = max(postgres.operation_us / 2, postgres.operation_us - SKU_INDEX_US)
    return {
        "as it is": (basis, site),
        "half a host's cost": (basis.with_cost("host", cheaper), site),
        "no SKU index": (basis.with_cost("postgres", Cost(lighter_us, postgres.commit_us)), site),
        "twice the cores": (basis, replace(site, postgres_cores=2 * site.postgres_cores)),
        "one NATS server": (basis, replace(site, nats_servers=1)),
    }

"""Metrics in Prometheus text: this process's meters, and what the hosts say of themselves."""

from collections.abc import Iterator, Sequence
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from api.meters import Meters

API_METRICS = {
    "binkeeper_operations": "operations asked for, by operation and outcome (done, replayed, or a code)",
    "binkeeper_http_requests": "answered HTTP requests, by route and status",
    "binkeeper_http_request_seconds": "time from a request's headers to its answer, by route",
    "binkeeper_hosts": "hosts that answer",
}
HOST_METRICS = {
    "operations": ("binkeeper_host_operations", "operations that a host decided, by operation and outcome"),
    "commit_entries": ("binkeeper_commit_entries", "ledger entries in a commit"),
    "commit_seconds": ("binkeeper_commit_seconds", "time that a commit takes"),
    "in_flight": ("binkeeper_queue_depth", "operations that a host has accepted and not yet answered"),
    "max_in_flight": ("binkeeper_queue_limit", "operations that a host accepts before it refuses"),
    "tail_entries": ("binkeeper_tail_entries", "ledger entries after the last snapshot"),
    "known_keys": ("binkeeper_known_keys", "idempotency keys in memory"),
    "active_reservations": ("binkeeper_active_reservations", "reservations active in memory"),
    "courier_lag": ("binkeeper_courier_lag", "ledger entries committed and not yet broadcast"),
    "recovery_ms": ("binkeeper_recovery_ms", "time that the last recovery took"),
    "drift": ("binkeeper_drift", "units by which memory, snapshot and ledger differ: 0"),
    "audits": ("binkeeper_audits", "SKUs compared with the sum of the ledger"),
    "audit_rounds": ("binkeeper_audit_rounds", "times that all a host owns was compared"),
    "audit_age_s": ("binkeeper_audit_age_seconds", "time since all a host owns was last compared"),
    "rebuilds": ("binkeeper_rebuilds", "partitions rebuilt from the ledger: their snapshot was wrong"),
    "snapshots": ("binkeeper_snapshots", "snapshots written"),
    "rewinds": ("binkeeper_rewinds", "times that a host gave its state up and recovered"),
    "active_stocks": ("binkeeper_active_stocks", "SKUs active in memory"),
    "partitions": ("binkeeper_partitions", "partitions that a host owns"),
    "refused": ("binkeeper_partitions_refused", "partitions not served: their ledger does not hold"),
    "ready": ("binkeeper_partitions_ready", "partitions that a host owns and serves"),
}
"""What a host may say of itself: its key there, the metric's name, and what it means."""
_COUNTERS = frozenset({"audits", "audit_rounds", "snapshots", "rewinds", "rebuilds"})


def exposition(meters: Meters, hosts: Sequence[dict[str, Any]], accept: str) -> tuple[bytes, str]:
    """Return the metrics as text, and its content type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(meters, hosts))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Snapshot(Collector):
    """All metrics at one moment."""

    def __init__(self, meters: Meters, hosts: Sequence[dict[str, Any]]) -> None:
        self._meters = meters
        self._hosts = hosts

    def collect(self) -> Iterator[Metric]:
        yield from self._own()
        yield from _of_hosts(self._hosts)

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def _own(self) -> Iterator[Metric]:
        meters = self._meters
        name = "binkeeper_operations"
        operations = CounterMetricFamily(name, API_METRICS[name], labels=["operation", "outcome"])
        for (operation, outcome), count in sorted(meters.operations.items()):
            operations.add_metric([operation, outcome], count)
        yield operations
        name = "binkeeper_http_requests"
        requests = CounterMetricFamily(name, API_METRICS[name], labels=["route", "status"])
        for (route, status), count in sorted(meters.requests.items()):
            requests.add_metric([route, str(status)], count)
        yield requests
        name = "binkeeper_http_request_seconds"
        latencies = HistogramMetricFamily(name, API_METRICS[name], labels=["route"])
        for route, latency in sorted(meters.latencies.items()):
            latencies.add_metric([route], list(latency.cumulative()), latency.sum_s)
        yield latencies
        yield GaugeMetricFamily("binkeeper_hosts", API_METRICS["binkeeper_hosts"], value=len(self._hosts))


def _of_hosts(hosts: Sequence[dict[str, Any]]) -> Iterator[Metric]:
    values = [(str(host.get("host", "")), {**host, **(host.get("metrics") or {})}) for host in hosts]
    for key, (name, text) in HOST_METRICS.items():
        found = [(host, plain[key]) for host, plain in values if plain.get(key) is not None]
        if found:
            yield _family(key, name, text, found)


def _family(key: str, name: str, text: str, found: list[tuple[str, Any]]) -> Metric:
    if key == "operations":
        operations = CounterMetricFamily(name, text, labels=["host", "operation", "outcome"])
        for host, counts in found:
            for operation, outcome, count in counts:
                operations.add_metric([host, operation, outcome], count)
        return operations
    if isinstance(found[0][1], dict):
        histogram = HistogramMetricFamily(name, text, labels=["host"])
        for host, plain in found:
            total = 0
            buckets = []
            for bound, count in zip((*plain["bounds"], "+Inf"), plain["counts"], strict=True):
                total += count
                buckets.append((bound if bound == "+Inf" else str(float(bound)), total))
            histogram.add_metric([host], buckets, plain["sum"])
        return histogram
    family: CounterMetricFamily | GaugeMetricFamily
    make = CounterMetricFamily if key in _COUNTERS else GaugeMetricFamily
    family = make(name, text, labels=["host"])
    for host, value in found:
        family.add_metric([host], len(value) if isinstance(value, list | tuple) else value)
    return family

"""Health, readiness, status and metrics."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from actors.outcomes import Unavailable
from actors.reservations import SpanningReservations
from api.app import ApiOptions, create_app
from api.exposition import API_METRICS, HOST_METRICS
from persistence.claims import claim_entry
from persistence.memory.ledger import MemoryLedger
from persistence.memory.read_model import MemoryReadModel
from tests.component.api.world import World

LINE = {"site": "berlin", "sku": "apple", "quantity": 1}


async def test_the_process_is_healthy_and_everything_is_ready(world: World) -> None:
    assert (await world.get("/healthz", token=None)).body == {"status": "ok"}
    ready = await world.get("/readyz", token=None)
    assert (ready.status, ready.body) == (200, {"status": "ready", "hosts": 1, "partitions": 4})


async def test_it_is_not_ready_while_a_partition_has_no_owner(world: World) -> None:
    world.gateway.described[0]["ready"] = 3
    reply = await world.get("/readyz", token=None)
    assert (reply.status, reply.code) == (503, "not_ready")
    assert reply.body["detail"] == "3 of 4 partitions have an owner that answers."
    assert reply.headers["retry-after"] == "1"
    world.gateway.described.clear()
    assert (await world.get("/readyz", token=None)).status == 503


async def test_it_is_ready_for_the_others_while_a_partition_is_refused(world: World) -> None:
    world.gateway.described[0] |= {"ready": 3, "refused": [[2, 12, "it is missing"]]}
    ready = await world.get("/readyz", token=None)
    assert (ready.status, ready.body["partitions"]) == (200, 3)
    status = (await world.get("/v1/status")).body
    assert status["partitions_refused"] == [{"partition": 2, "seq": 12, "why": "it is missing"}]
    metrics = (await world.get("/metrics")).raw.decode()
    assert 'binkeeper_partitions_refused{host="host-0"} 1.0' in metrics


async def test_it_is_ready_for_the_others_while_the_last_row_that_it_asks_for_is_a_changed_one(
    world: World,
) -> None:
    world.database.commit([claim_entry(0, 1, 5, host="h", address="h:1", epoch=1)])
    tables = world.database.partitions[0]
    tables.ledger[0] = tables.ledger[0]._replace(at_ms=6)
    assert (await world.get("/readyz", token=None)).status == 200


async def test_status_and_metrics_tell_when_everything_was_compared(world: World) -> None:
    (host,) = world.gateway.described
    assert (await world.get("/v1/status")).body["audit_age_s"] is None
    assert "binkeeper_audit_age_seconds{" not in (await world.get("/metrics")).raw.decode()
    host["audit_age_s"] = 41.44
    host["metrics"]["rebuilds"] = 2
    world.gateway.described.append({"host": "standby", "partitions": 0, "ready": 0})
    status = (await world.get("/v1/status")).body
    assert (status["audit_age_s"], status["rebuilds"]) == (41.4, 2)
    metrics = (await world.get("/metrics")).raw.decode()
    assert 'binkeeper_audit_age_seconds{host="host-0"} 41.44' in metrics
    assert 'binkeeper_rebuilds_total{host="host-0"} 2.0' in metrics
    world.gateway.described.append({"host": "host-2", "partitions": 2, "ready": 2})
    assert (await world.get("/v1/status")).body["audit_age_s"] is None


async def test_it_is_not_ready_without_its_hosts_or_its_database(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.gateway.fault = Unavailable("x")
    assert (await world.get("/readyz", token=None)).body["detail"] == "The hosts cannot be asked."

    async def down(_: int) -> None:
        raise Unavailable("x")

    monkeypatch.setattr(world.ledger, "head", down)
    reply = await world.get("/readyz", token=None)
    assert (reply.status, reply.body["detail"]) == (503, "The database does not answer.")
    assert (await world.get("/healthz", token=None)).status == 200


async def test_status_tells_lag_and_drift(world: World) -> None:
    body = (await world.get("/v1/status")).body
    assert (body["courier_lag"], body["drift"], body["partitions"], body["partitions_owned"]) == (2, 0, 4, 4)
    assert body["hosts"][0]["host"] == "host-0"
    world.gateway.fault = Unavailable("x")
    assert (await world.get("/v1/status")).body["hosts"] == []


async def test_metrics_tell_operations_latencies_and_what_hosts_say(world: World) -> None:
    await world.stocked(1)
    await world.post("/v1/reservations", LINE, headers={"Idempotency-Key": "k"})
    await world.post("/v1/reservations", LINE, headers={"Idempotency-Key": "k"})
    await world.post("/v1/reservations", LINE)
    await world.post("/v1/reservations", {**LINE, "quantity": 0})
    await world.post("/v1/batch", {"operations": [{"op": "reserve", **LINE}, {"op": "x"}]})
    await world.get("/v1/stock/berlin/apple")
    reply = await world.get("/metrics")
    assert reply.headers["content-type"].startswith("text/plain")
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(reply.raw.decode())
        for sample in family.samples
    }
    operations = "binkeeper_operations_total"
    assert samples[operations, "done", "reserve"] == 1
    assert samples[operations, "replayed", "reserve"] == 1
    assert samples[operations, "insufficient_stock", "reserve"] == 2
    assert samples[operations, "invalid_value", "reserve"] == 1
    assert samples[operations, "invalid", "invalid_value"] == 1
    assert samples["binkeeper_http_requests_total", "201", "reserve"] == 2
    assert samples["binkeeper_http_request_seconds_count", "reserve"] == 4
    assert samples["binkeeper_http_request_seconds_bucket", "+Inf", "reserve"] == 4
    assert samples["binkeeper_commit_entries_bucket", "2.0", "host-0"] == 3
    assert samples["binkeeper_commit_seconds_count", "host-0"] == 6
    assert samples["binkeeper_commit_seconds_sum", "host-0"] == 0.2
    assert samples["binkeeper_courier_lag", "host-0"] == 2
    assert samples["binkeeper_queue_depth", "host-0"] == 3
    assert samples["binkeeper_drift", "host-0"] == 0
    assert samples["binkeeper_recovery_ms", "host-0"] == 12.5
    assert samples["binkeeper_host_operations_total", "host-0", "ok", "reserve"] == 5
    assert samples["binkeeper_hosts",] == 1


async def test_metrics_are_told_when_no_host_answers(world: World) -> None:
    world.gateway.fault = Unavailable("x")
    reply = await world.get("/metrics", headers={"accept": "application/openmetrics-text;version=1.0.0"})
    assert reply.status == 200
    assert reply.raw.endswith(b"# EOF\n")


async def test_every_metric_has_a_name_of_its_own_and_a_text() -> None:
    names = [*API_METRICS, *(name for name, _ in HOST_METRICS.values())]
    assert len(set(names)) == len(names)
    assert all(name.startswith("binkeeper_") for name in names)


async def test_readiness_does_not_wait_behind_slow_reads(world: World) -> None:
    class Slow(MemoryLedger):
        async def head(self, _: int) -> tuple[int, int]:
            raise Unavailable("every session is busy")

    world.app = create_app(
        world.gateway, SpanningReservations(world.gateway), Slow(world.database),
        MemoryReadModel(world.database), ApiOptions(tokens=("t",)), probe=MemoryLedger(world.database),
    )  # fmt: skip
    assert (await world.get("/readyz", token=None)).status == 200

"""A host on a real Postgres whose tables somebody has changed: it rebuilds snapshots and refuses ledgers."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import structlog
from typer.testing import CliRunner

from actors.gateway import LaneGateway
from actors.gauges import Gauges
from actors.host import Host
from actors.host_options import HostOptions
from actors.outcomes import Answered, LedgerRefused
from actors.queries import ReadStock
from actors.running_host import RunningHost
from binkeeper.cli import app
from engine.commands import (
    ExtendReservation,
    PickReservation,
    PickStock,
    ReceiveStock,
    ReserveLine,
    ReserveStock,
)
from engine.partitioning import ReservationAddress, partition_of, reservation_address
from persistence.memory import MemoryStreams
from persistence.postgres import (
    PostgresCursors,
    PostgresDirectory,
    PostgresLedger,
    PostgresSnapshots,
    Sessions,
)
from tests.conftest import PARTITIONS
from tests.integration.persistence.filled import execute
from tests.rows import seal_database
from tests.waiting import until

NOW_MS = 1_800_000_000_000
SKUS = [f"SKU-{number}" for number in range(24)]


class Served:
    """A host that owns everything, and a gateway to it."""

    def __init__(self, running: RunningHost, gateway: LaneGateway) -> None:
        self.host = running.host
        self.running = running
        self.gateway = gateway

    async def units(self, sku: str) -> tuple[int, int]:
        """Return (on hand, reserved) of a SKU."""
        outcome = await self.gateway.query(partition_of("LDN", sku, PARTITIONS), ReadStock("LDN", sku))
        assert isinstance(outcome, Answered), outcome
        return outcome.view["on_hand"], outcome.view["reserved"]

    async def fill(self) -> None:
        """Give every SKU two bins, an open reservation, and one that is over."""
        for sku in SKUS:
            number = partition_of("LDN", sku, PARTITIONS)
            for location in ("A", "B"):
                await self.gateway.submit(number, ReceiveStock("LDN", sku, location, 10), f"{sku} {location}")
            lines = (ReserveLine("LDN", sku, 3),)
            await self.gateway.submit(number, ReserveStock(lines), f"{sku} kept")
            outcome = await self.gateway.submit(number, ReserveStock(lines), f"{sku} picked")
            assert isinstance(outcome, Answered)
            address = reservation_address(outcome.view["id"])
            assert address is not None
            await self.gateway.submit(number, PickReservation(*address[1:]), f"{sku} pick")


@asynccontextmanager
async def served(url: str, name: str, now_ms: int = NOW_MS) -> AsyncIterator[Served]:
    sessions = Sessions(url, name, size=6)
    ledger = await PostgresLedger.open(sessions)
    host = Host(HostOptions(name), ledger, PostgresSnapshots(sessions), lambda: now_ms)
    directory = PostgresDirectory(sessions)
    faults: list[BaseException] = []
    running = RunningHost(
        host, MemoryStreams(), PostgresCursors(sessions), directory,
        token="t", partitions=PARTITIONS, on_broken=faults.append,
    )  # fmt: skip
    await running.start("127.0.0.1")
    gateway = LaneGateway(directory, "t", PARTITIONS, timeout_s=30.0)
    try:
        await running.take(list(range(PARTITIONS)))
        yield Served(running, gateway)
        assert faults == []
    finally:
        await gateway.close()
        await running.stop()
        await ledger.close()
        await sessions.close()


@pytest.fixture
async def filled(postgres_url: str) -> str:
    """A database that a host has filled, written and left."""
    async with served(postgres_url, "first") as first:
        await first.fill()
    return postgres_url


async def verified(url: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, dict[str, int]]:
    """Return `binkeeper verify`'s exit code and counts."""
    monkeypatch.setenv("BINKEEPER_POSTGRES_URL", url)
    done = await asyncio.to_thread(CliRunner().invoke, app, ["verify", "--json"])
    return done.exit_code, json.loads(done.stdout)["counts"]


@pytest.mark.parametrize(
    "harm",
    [
        "TRUNCATE stock_lot, reservation, reservation_line",
        "TRUNCATE stock_lot",
        "DELETE FROM reservation_line WHERE open > 0",
        "DELETE FROM stock_lot WHERE location = 'A'",
        "UPDATE stock_lot SET on_hand = on_hand + 5",
        "UPDATE stock_lot SET reserved = 0, seq = 1",
        "UPDATE reservation_line SET allocations = '[]' WHERE open > 0",
    ],
)
async def test_a_snapshot_that_was_harmed_is_rebuilt_when_its_stock_is_asked_for(
    filled: str, harm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await verified(filled, monkeypatch) == (0, {})
    await execute(filled, harm)
    assert (await verified(filled, monkeypatch))[0] == 1
    async with served(filled, "second") as second:
        assert await asyncio.gather(*(second.units(sku) for sku in SKUS)) == [(17, 3)] * len(SKUS)
        used = {partition_of("LDN", sku, PARTITIONS) for sku in SKUS}
        assert second.host.gauges.rebuilds == len(used)
    assert await verified(filled, monkeypatch) == (0, {})


async def test_a_reservation_whose_row_was_set_back_does_not_expire_early(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the row that was there before the extension, with the sequence number of then."""
    address: dict[str, ReservationAddress] = {}
    async with served(postgres_url, "first") as first:
        await first.fill()
        for sku in SKUS:
            number = partition_of("LDN", sku, PARTITIONS)
            lines = (ReserveLine("LDN", sku, 2),)
            outcome = await first.gateway.submit(number, ReserveStock(lines, ttl_s=60), f"{sku} soft")
            assert isinstance(outcome, Answered)
            found = reservation_address(outcome.view["id"])
            assert found is not None
            address[sku] = found
        await first.running.snapshotter.flush()
        await execute(
            postgres_url, "DROP TABLE IF EXISTS kept", "CREATE TABLE kept AS SELECT * FROM reservation"
        )
        for sku, (number, one, opened_at_ms) in address.items():
            await first.gateway.submit(number, ExtendReservation(one, opened_at_ms, 900), f"{sku} extend")
    assert await verified(postgres_url, monkeypatch) == (0, {})
    await execute(
        postgres_url,
        "UPDATE reservation SET seq = kept.seq, expires_at_ms = kept.expires_at_ms FROM kept"
        " WHERE (kept.partition, kept.number) = (reservation.partition, reservation.number)",
        "DROP TABLE kept",
    )
    assert (await verified(postgres_url, monkeypatch))[0] == 1
    async with served(postgres_url, "second", NOW_MS + 61_000) as second:
        assert await asyncio.gather(*(second.units(sku) for sku in SKUS)) == [(17, 5)] * len(SKUS)
        assert second.host.gauges.rebuilds == len({number for number, _, _ in address.values()})
    assert await verified(postgres_url, monkeypatch) == (0, {})


async def test_a_lot_whose_row_was_set_back_is_not_believed(
    filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Units of B are gone, and more entries of A followed than are looked at where nothing rests long."""
    await execute(filled, "DROP TABLE IF EXISTS kept", "CREATE TABLE kept AS SELECT * FROM stock_lot")
    async with served(filled, "second") as second:
        number = partition_of("LDN", "SKU-0", PARTITIONS)
        await second.gateway.submit(number, PickStock("LDN", "SKU-0", 4, "B"), "from B")
        for n in range(250):
            await second.gateway.submit(number, ReceiveStock("LDN", "SKU-0", "A", 1), f"more {n}")
    await execute(
        filled,
        "UPDATE stock_lot SET seq = kept.seq, on_hand = kept.on_hand FROM kept"
        " WHERE kept.sku = 'SKU-0' AND (kept.sku, kept.location) = (stock_lot.sku, stock_lot.location)"
        " AND kept.location = 'B'",
        "DROP TABLE kept",
    )
    async with served(filled, "third") as third:
        assert await third.units("SKU-0") == (17 - 4 + 250, 3)
        assert third.host.gauges.rebuilds == 1
    assert await verified(filled, monkeypatch) == (0, {})


async def test_a_snapshot_that_nobody_asks_for_is_rebuilt_by_the_auditor(
    filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await execute(filled, "DELETE FROM stock_lot WHERE sku = 'SKU-3'")
    async with served(filled, "second") as second:
        await until(lambda: second.host.gauges.rebuilds, deadline_s=60)
        assert await second.units("SKU-3") == (17, 3)
    assert await verified(filled, monkeypatch) == (0, {})


@pytest.mark.parametrize(
    "harm, seq, is_sealed",
    [
        ("DELETE FROM ledger WHERE partition = {number} AND seq = 3", 3, False),
        ("UPDATE ledger SET quantity = 99 WHERE partition = {number} AND seq = 3", 3, True),
        ("UPDATE ledger SET quantity = 99 WHERE partition = {number} AND seq = 3", 3, False),
        ("UPDATE ledger SET on_hand = on_hand + 1 WHERE partition = {number} AND seq = 2", 2, True),
        ("UPDATE ledger SET reason = 'theft' WHERE partition = {number} AND seq = 2", 2, False),
        ("UPDATE ledger SET key = 'another' WHERE partition = {number} AND seq = 3", 3, False),
        ("DELETE FROM ledger WHERE partition = {number} AND seq > 4", 5, False),
    ],
)
async def test_a_ledger_with_a_gap_or_a_changed_row_is_refused_and_the_others_are_served(
    filled: str, harm: str, seq: int, is_sealed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sealed: with the checksum of what it says now, so that only what it says can tell."""
    number = partition_of("LDN", "SKU-0", PARTITIONS)
    # The row is in what the new owner reads: a snapshot of nothing has no row to be wrong.
    if "seq > 4" not in harm:
        await execute(
            filled,
            "TRUNCATE stock_lot, reservation, reservation_line",
            "UPDATE partition SET snapshot_seq = 0",
        )
    await execute(filled, harm.format(number=number))
    if is_sealed:
        await seal_database(filled)
    async with served(filled, "second") as second:
        for sku in SKUS:
            if partition_of("LDN", sku, PARTITIONS) != number:
                assert await second.units(sku) == (17, 3)
        with pytest.raises(LedgerRefused, match=f"Partition {number} is not served.* at entry {seq}:"):
            await second.units("SKU-0")
        assert list(second.host.refused) == [number]
    assert (await verified(filled, monkeypatch))[0] == 1
    done = await asyncio.to_thread(CliRunner().invoke, app, ["verify", "--json"])
    first = json.loads(done.stdout)["first"]
    assert (first["partition"], first["seq"]) == (number, min(seq, 4))  # The last that is left.


@pytest.mark.parametrize(
    "change",
    ["reason = 'theft'", "key = 'another'", "fingerprint = 8", "reference = 'till 4'", "quantity = 9"],
)
async def test_a_row_that_is_changed_behind_the_snapshot_while_its_owner_serves_is_told_by_the_auditor(
    filled: str, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else reads it: the snapshot is ahead of it, its stock in memory, its broadcast done."""
    monkeypatch.setattr("actors.auditor._ROUND_S", 0.05)
    number = partition_of("LDN", "SKU-0", PARTITIONS)
    async with served(filled, "second") as second:
        gauges = second.host.gauges
        assert await second.units("SKU-0") == (17, 3)
        await second.running.snapshotter.flush()
        await rounds(gauges, 1)
        assert gauges.drift == 0
        with structlog.testing.capture_logs() as logs:
            edit = f"UPDATE ledger SET {change} WHERE partition = {number} AND seq = 3"  # noqa: S608 - ours
            await execute(filled, edit)
            await rounds(gauges, gauges.audit_rounds + 2)
        told = {(log["partition"], log["seq"]) for log in logs if log.get("of") == "entries" and "seq" in log}
        assert told == {(number, 3)}
        assert gauges.drift >= 1
        assert gauges.rebuilds == 0
        (described,) = await second.gateway.hosts()
        assert described["drift"] == gauges.drift
        # What it serves is not what is wrong: memory does not come from that row.
        assert await second.units("SKU-0") == (17, 3)
    code, counts = await verified(filled, monkeypatch)
    assert (code, counts["checksum"]) == (1, 1)


async def rounds(gauges: Gauges, wanted: int) -> None:
    """Wait for the auditor."""
    await until(lambda: gauges.audit_rounds >= wanted, deadline_s=60)

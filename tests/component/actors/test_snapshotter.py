"""Snapshots: never ahead of the ledger, fenced, and together with the tail the same state."""

import asyncio

import pytest

from actors.image import Image
from engine.apply import apply
from engine.commands import HoldStock, MoveStock, PickStock
from engine.entries import Entry
from engine.images import digest, restore
from engine.state import Partition
from tests.component.actors.world import PARTITIONS, World, number_of, until, view_of, world


async def work(w: World, first: int = 0) -> None:
    for n in range(first, first + 40):
        sku = f"SKU-{n % 9}"
        await w.receive(sku, 10, f"L{n % 4}", expires_at_ms=w.now_ms + 10**9 if n % 3 else None)
        held = view_of(await w.reserve(sku, 3, ttl_s=600 if n % 2 else None))
        if n % 4 == 0:
            await w.reservations.release(held["id"], quantity=None, sku=None, key=w.key())
        if n % 5 == 0:
            await w.reservations.pick(
                held["id"], quantity=2, sku=None, location=None, lot=None, short_reason=None, key=w.key()
            )
        if n % 6 == 0:
            await w.ask(MoveStock("LON", sku, f"L{n % 4}", "L9", 2))
        if n % 7 == 0:
            await w.ask(HoldStock("LON", sku, f"L{n % 4}", 1, None, "damage"))
            await w.ask(PickStock("LON", sku, 1))


def state_of(w: World, index: int) -> dict[int, dict[str, object]]:
    """Return what a host has in memory, its claims left out."""
    owned = w.hosts[index].host.owned
    return {number: {**digest(owned[number].state), "seq": 0} for number in sorted(owned)}


async def wake_all(w: World) -> None:
    for n in range(9):
        await w.stock(f"SKU-{n}")


@pytest.mark.parametrize("tail", [False, True])
async def test_a_snapshot_and_the_tail_are_the_state(tail: bool) -> None:
    async with world() as w:
        await work(w)
        await w.hosts[0].snapshotter.flush()
        if tail:
            await work(w, 40)
        before = state_of(w, 0)
        await w.kill(w.hosts[0])
        await w.host("second")
        await wake_all(w)
        assert state_of(w, 0) == before


async def test_a_snapshot_made_while_commands_are_decided_is_as_of_its_sequence_number() -> None:
    async with world() as w:
        await w.receive("TEA", 1000)
        asked = []
        for _ in range(5):
            asked += [asyncio.ensure_future(w.reserve("TEA", 1)) for _ in range(20)]
            await asyncio.gather(w.hosts[0].snapshotter.flush(), asked[-1])
            tables = w.database.partitions[number_of("TEA")]
            (lot,) = tables.lots["LON", "TEA"].values()
            entry = tables.ledger[lot.seq - 1]
            assert (lot.on_hand, lot.reserved) == (entry.on_hand, entry.reserved)
            assert lot.seq <= tables.snapshot_seq <= len(tables.ledger)
        for outcome in await asyncio.gather(*asked):
            view_of(outcome)


def stored(w: World, number: int) -> Partition:
    """Return what the snapshot's rows of a partition say."""
    tables, state = w.database.partitions[number], Partition(number)
    rows = w.database.rows_of_stocks(number, tables.lots, tables.reservations)
    restore(state, tables.lots, rows)
    state.seq = tables.snapshot_seq
    return state


def replayed(w: World, number: int) -> Partition:
    """Return what the ledger says up to where the snapshot of a partition reaches."""
    tables, state = w.database.partitions[number], Partition(number)
    for entry in tables.ledger[: tables.snapshot_seq]:
        apply(state, entry)
    return state


async def test_what_changes_while_an_image_is_made_is_captured_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actors.snapshotter._CAPTURED_MAX", 1)
    before = Image.before
    early = 0

    def counting_before(image: Image, entries: list[Entry]) -> None:
        nonlocal early
        size = image.size
        before(image, entries)
        early += image.size - size

    monkeypatch.setattr(Image, "before", counting_before)
    async with world() as w:
        held = []
        for _ in range(3):
            for n in range(9):
                await w.receive(f"SKU-{n}", 30, f"L{n % 3}")
            reserved = await asyncio.gather(*(w.reserve(f"SKU-{n % 9}", 1) for n in range(180)))
            held += [view_of(outcome)["id"] for outcome in reserved]
            flushing = asyncio.ensure_future(w.hosts[0].snapshotter.flush())
            for outcome in await asyncio.gather(
                *(w.reservations.release(id_, quantity=None, sku=None, key=w.key()) for id_ in held[-120:])
            ):
                view_of(outcome)
            await flushing
            for number in w.hosts[0].host.owned:
                assert digest(stored(w, number)) == digest(replayed(w, number))
        assert early > 20
        before_kill = state_of(w, 0)
        await w.kill(w.hosts[0])
        await w.host("second")
        await wake_all(w)
        assert state_of(w, 0) == before_kill


async def test_a_large_partition_is_captured_some_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    grow, grown = Image.grow, []

    def watched_grow(image: Image, rows: int) -> int:
        grown.append(grow(image, rows))
        return grown[-1]

    monkeypatch.setattr(Image, "grow", watched_grow)
    async with world() as w:
        await w.receive("TEA", 1000)
        await asyncio.gather(*(w.reserve("TEA", 1) for _ in range(1000)))
        await w.hosts[0].snapshotter.flush()
        tables = w.database.partitions[number_of("TEA")]
        assert len(tables.reservations) == 1000
        assert tables.snapshot_seq == len(tables.ledger)
        assert sum(grown) >= 1001
        assert max(grown) <= 200


async def test_many_resolved_reservations_are_let_go_some_at_a_time() -> None:
    async with world() as w:
        await w.receive("TEA", 700)
        reserved = await asyncio.gather(*(w.reserve("TEA", 1) for _ in range(700)))
        ids = [view_of(outcome)["id"] for outcome in reserved]
        await asyncio.gather(
            *(w.reservations.release(id_, quantity=None, sku=None, key=w.key()) for id_ in ids[:600])
        )
        await w.hosts[0].snapshotter.flush()
        state = w.hosts[0].host.owned[number_of("TEA")].state
        assert len(state.reservations) == 100
        view = view_of(await w.reservations.find(ids[0]))
        assert view["state"] == "released"


async def test_partitions_found_lost_by_a_snapshot_are_given_up_with_what_waits_there() -> None:
    """They were taken over after the last commit: only the snapshot learns of it."""
    async with world() as w:
        await work(w)
        await w.hosts[0].snapshotter.flush()
        await w.receive("TEA", 1)
        host = w.hosts[0].host
        with w.snapshots[0].load_gate.held():
            state = host.owned[number_of("TEA")].state
            state.stocks.clear()
            host.owned[number_of("TEA")].complete = False
            waiting = asyncio.ensure_future(w.stock("TEA"))
            await until(lambda: bool(host.owned[number_of("TEA")].queue))
            await w.host("second", [number_of("TEA")])
            await w.hosts[0].snapshotter.flush()
            assert number_of("TEA") not in host.owned
            assert len(host.owned) == PARTITIONS - 1
        assert await waiting == (1, 0)


async def test_a_partition_that_was_claimed_back_meanwhile_is_kept() -> None:
    async with world() as w:
        await w.receive("TEA", 1)
        host, number = w.hosts[0].host, number_of("TEA")
        with w.snapshots[0].save_gate.held():
            flushing = asyncio.ensure_future(w.hosts[0].snapshotter.flush())
            await until(lambda: w.snapshots[0].save_gate.waiting == 1)
            await w.host("second", [number])
            await w.hosts[0].take([number])
        await flushing
        assert number in host.owned
        assert await w.stock("TEA") == (1, 0)


async def test_a_snapshot_waits_for_its_batch() -> None:
    async with world() as w:
        await w.receive("TEA", 1)
        tables = w.database.partitions[number_of("TEA")]
        with w.ledgers[0].gate.held():
            asked = asyncio.ensure_future(w.receive("TEA", 1))
            await until(lambda: w.ledgers[0].gate.waiting == 1)
            flushing = asyncio.ensure_future(w.hosts[0].snapshotter.flush())
            owned = w.hosts[0].host.owned[number_of("TEA")]
            await until(lambda: not owned.dirty and owned.image is None)  # It is captured.
            for _ in range(50):
                await asyncio.sleep(0)
            assert tables.snapshot_seq == 0
        await asyncio.gather(asked, flushing)
        assert tables.snapshot_seq == len(tables.ledger)


async def test_a_deposed_host_writes_no_snapshot() -> None:
    async with world() as w:
        await work(w)
        await w.host("second")
        seqs = [tables.snapshot_seq for tables in w.database.partitions]
        await w.hosts[0].snapshotter.flush()
        assert [tables.snapshot_seq for tables in w.database.partitions] == seqs
        assert w.hosts[0].host.owned == {}
        await wake_all(w)


async def test_a_snapshot_that_cannot_be_written_now_is_written_later() -> None:
    async with world() as w:
        await work(w)
        w.snapshots[0].failing.add("save")
        flushing = asyncio.ensure_future(w.hosts[0].snapshotter.flush())
        await w.receive("TEA", 1)
        assert not flushing.done()
        w.snapshots[0].failing.clear()
        await flushing
        await w.hosts[0].snapshotter.flush()
        assert all(tables.snapshot_seq == len(tables.ledger) for tables in w.database.partitions)


async def test_a_long_tail_is_written_at_once() -> None:
    async with world(snapshot_interval_s=3600, snapshot_entries=20) as w:
        await asyncio.gather(*(w.receive("TEA", 1) for _ in range(50)))
        await until(lambda: w.database.partitions[number_of("TEA")].snapshot_seq >= 50)


async def test_takeovers_between_a_snapshot_and_its_end_lose_nothing() -> None:
    async with world() as w:
        await work(w)
        with w.snapshots[0].save_gate.held():
            flushing = asyncio.ensure_future(w.hosts[0].snapshotter.flush())
            await until(lambda: w.snapshots[0].save_gate.waiting == 1)
            await w.host("second")
            await work(w, 40)
            await w.hosts[1].snapshotter.flush()
        await flushing
        before = state_of(w, 1)
        await w.host("third")
        await wake_all(w)
        assert state_of(w, 2) == before

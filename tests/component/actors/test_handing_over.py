"""Partitions handed from one host to another on purpose, under load: nobody sees an error."""

import asyncio
import inspect
from typing import Any

import pytest

from actors import handing_over
from actors.gateway import LaneGateway
from actors.handing_over import HandedOver
from actors.outcomes import Unavailable
from actors.queries import ReadStock
from actors.running_host import RunningHost
from engine.commands import ReceiveStock, ReserveLine
from persistence.placement import Placement
from tests.component.actors.auditing import audit, fill
from tests.component.actors.harm import parked
from tests.component.actors.steered import Gate
from tests.component.actors.traffic import traffic
from tests.component.actors.world import World, number_of, skus_in, until, view_of, world

_SKUS = [f"SKU-{n}" for n in range(8)]


async def _owner(w: World, sku: str) -> str:
    placements: list[Placement] = await w.directory.placements()
    return next(placement.host for placement in placements if placement.partition == number_of(sku))


async def _empty_host(w: World, name: str) -> RunningHost:
    running = w.build(name)
    await running.start("127.0.0.1")
    return running


async def test_partitions_move_to_another_host_and_back_under_load_and_nothing_fails() -> None:
    async with world() as w:
        w.ledgers[0].commit_s = w.commit_s = 0.002
        first, second = w.hosts[0], await _empty_host(w, "second")
        numbers = sorted({number_of(sku) for sku in _SKUS})
        async with traffic(w, _SKUS) as t:
            for source, target in ((first, second), (second, first), (first, second)):
                handed = await source.handing_over.hand_over(numbers, target.address)
                assert handed.moved == numbers
                assert set(numbers) <= target.host.owned.keys()
                assert not source.host.owned.keys() & set(numbers)
                await t.more(100)
        assert t.waited_s_max < 2


async def test_what_is_not_handed_over_is_served_all_the_time() -> None:
    async with world() as w:
        stays, goes = "TEA", next(sku for sku in _SKUS if number_of(sku) != number_of("TEA"))
        await w.receive(stays, 10)
        await w.receive(goes, 10)
        second = await _empty_host(w, "second")
        w.snapshots[1].recover_gate.hold()
        moving = asyncio.create_task(w.hosts[0].handing_over.hand_over([number_of(goes)], second.address))
        await until(lambda: w.snapshots[1].recover_gate.waiting > 0)
        waiting = asyncio.ensure_future(w.reserve(goes, 1))
        view_of(await w.reserve(stays, 1))
        assert not waiting.done()
        ready = (await w.gateway.control(w.hosts[0].address, "describe", None))["ready"]
        assert ready == len(w.hosts[0].host.owned)  # A hand-over does not make a server unready.
        w.snapshots[1].recover_gate.release()
        view_of(await waiting)
        assert (await moving).moved == [number_of(goes)]
        assert await _owner(w, goes) == "second"
        assert await _owner(w, stays) == "first"


async def test_a_read_that_waits_for_a_hand_over_sees_what_was_acknowledged_before() -> None:
    async with world() as w:
        await w.receive("TEA", 10)
        second = await _empty_host(w, "second")
        view_of(await w.reserve("TEA", 3))
        w.snapshots[1].recover_gate.hold()
        moving = asyncio.create_task(w.hosts[0].handing_over.hand_over([number_of("TEA")], second.address))
        await until(lambda: w.snapshots[1].recover_gate.waiting > 0)
        asked = w.gateway.query(number_of("TEA"), ReadStock("LON", "TEA"))
        w.snapshots[1].recover_gate.release()
        assert view_of(await asked)["reserved"] == 3
        await moving


async def test_a_host_that_cannot_take_leaves_the_partitions_where_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world() as w:
        second = await _empty_host(w, "second")

        async def refuse(*_: object) -> None:
            raise Unavailable("no")

        monkeypatch.setattr(second.host.snapshots, "claim", refuse)
        async with traffic(w, _SKUS):
            with pytest.raises(Unavailable):
                await w.hosts[0].handing_over.hand_over([number_of(_SKUS[0])], second.address)
            assert await _owner(w, _SKUS[0]) == "first"
        assert w.hosts[0].handing_over.leaving == {}


async def test_a_hand_over_that_fails_does_not_serve_a_partition_that_is_to_be_rebuilt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world() as w:
        await w.receive("TEA", 10)
        first, second, number = w.hosts[0].host, await _empty_host(w, "second"), number_of("TEA")
        owned, gate, lost = first.owned[number], Gate(), w.snapshots[0].lost
        gate.hold()

        async def lost_later(epochs: dict[int, int]) -> frozenset[int]:
            monkeypatch.undo()  # Whoever asks next is the hand-over.
            await gate.passed()
            return await lost(epochs)

        async def refuse(*_: object) -> None:
            monkeypatch.setattr(w.snapshots[0], "lost", lost_later)
            first.ownership.distrust(number, "a test says so")
            await until(lambda: gate.waiting == 1)
            raise Unavailable("no")

        monkeypatch.setattr(second.host.snapshots, "claim", refuse)
        with pytest.raises(Unavailable):
            await w.hosts[0].handing_over.hand_over([number], second.address)
        assert first.owned[number] is owned
        assert not owned.is_ready
        asked = asyncio.ensure_future(w.receive("TEA", 1))
        await until(lambda: parked(owned, ReceiveStock) == 1)
        gate.release()
        assert (await asked)["on_hand"] == 11
        assert first.gauges.rebuilds == 1


async def test_a_host_that_claimed_without_telling_has_the_partitions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world() as w:
        second = await _empty_host(w, "second")
        gate = w.snapshots[1].recover_gate
        gate.hold()
        ask = LaneGateway.control

        async def answer_is_lost(*asked: Any, **named: Any) -> None:
            takes = asyncio.ensure_future(ask(*asked, **named))
            await until(lambda: gate.waiting == 1)
            takes.cancel()
            raise Unavailable("no answer")

        async with traffic(w, _SKUS):
            with monkeypatch.context() as patch:
                patch.setattr(LaneGateway, "control", answer_is_lost)
                handed = await w.hosts[0].handing_over.hand_over([number_of(_SKUS[0])], second.address)
            assert handed.moved == [number_of(_SKUS[0])]
            gate.release()
        assert await _owner(w, _SKUS[0]) == "second"


async def test_commits_that_do_not_end_end_the_hand_over_and_nothing_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actors.handing_over._DRAIN_S_MAX", 0.1)
    monkeypatch.setattr("actors.handing_over._SNAPSHOT_S_MAX", 0.1)
    async with world() as w:
        await w.receive("TEA", 10)
        second = await _empty_host(w, "second")
        with w.ledgers[0].gate.held():
            asked = [asyncio.ensure_future(w.reserve("TEA", 1)) for _ in range(5)]
            await until(lambda: w.hosts[0].host.in_flight == 5)
            with pytest.raises(Unavailable):
                await w.hosts[0].handing_over.hand_over([number_of("TEA")], second.address)
        for outcome in await asyncio.gather(*asked):
            view_of(outcome)
        assert await w.stock("TEA") == (10, 5)
        assert await _owner(w, "TEA") == "first"


async def test_a_snapshot_that_comes_too_late_for_a_hand_over_is_written_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actors.handing_over._SNAPSHOT_S_MAX", 0.05)
    async with world() as w:
        await fill(w)
        first, second = w.hosts[0], await _empty_host(w, "second")

        async def refuse(*_: object) -> None:
            raise Unavailable("no")

        monkeypatch.setattr(second.host.snapshots, "claim", refuse)
        with w.snapshots[0].save_gate.held():
            for _ in range(2):  # The second finds the flush of the first.
                with pytest.raises(Unavailable):
                    await first.handing_over.hand_over([number_of("TEA"), number_of("JAM")], second.address)
            assert w.snapshots[0].save_gate.waiting == 1
        view_of(await w.reserve("TEA", 1))
        await first.snapshotter.flush()
        assert w.database.partitions[number_of("TEA")].snapshot_seq == len(
            w.database.partitions[number_of("TEA")].ledger
        )
        compared, drift = await audit(w)
        assert compared >= 2
        assert drift == 0


def test_a_pause_is_shorter_than_a_callers_patience() -> None:
    patience_s = inspect.signature(LaneGateway).parameters["timeout_s"].default
    assert patience_s - 2 >= handing_over._DRAIN_S_MAX + handing_over._TAKE_S_MAX


async def test_partitions_of_others_are_left_out() -> None:
    async with world() as w:
        second = await _empty_host(w, "second")
        assert await second.handing_over.hand_over([1, 2], w.hosts[0].address) == HandedOver([], [], 0.0)


async def test_lines_of_several_skus_are_reserved_together_while_their_partitions_move() -> None:
    async with world() as w:
        w.ledgers[0].commit_s = w.commit_s = 0.001
        one, other = skus_in(3, 1)[0], skus_in(5, 1)[0]
        await w.receive(one, 1000)
        await w.receive(other, 1000)
        first, second = w.hosts[0], await _empty_host(w, "second")
        lines = (ReserveLine("LON", one, 1), ReserveLine("LON", other, 1, index=1))
        is_over = False

        async def call() -> int:
            times = 0
            while not is_over:
                key = w.key()
                view_of(
                    await w.reservations.reserve(lines, ttl_s=None, reference=None, partial=False, key=key)
                )
                times += 1
            return times

        calls = [asyncio.create_task(call()) for _ in range(4)]
        for source, target in ((first, second), (second, first)):
            await source.handing_over.hand_over([3], target.address)
            await source.handing_over.hand_over([5], target.address)
        is_over = True
        times = sum(await asyncio.gather(*calls))
        assert times > 0
        assert (await w.stock(one))[1] == (await w.stock(other))[1] == times

"""The supervisor: every place has a host, a dead one is replaced, a standby is ready."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from actors.supervisor import HostProcess
from tests.component.actors.in_process import InProcessHost
from tests.component.actors.supervised import Supervised, supervised
from tests.component.actors.world import PARTITIONS, number_of, until, view_of


async def test_every_partition_has_a_host_and_a_standby_is_ready() -> None:
    async with supervised() as s:
        for n in range(20):
            await s.world.receive(f"SKU-{n}", 1)
        owned = [set(place.process.running.host.owned) for place in s.supervisor.places]  # type: ignore[union-attr]
        assert set.union(*owned) == set(range(PARTITIONS))
        assert not set.intersection(*owned)
        await until(s.has_standby)


async def test_a_host_whose_lane_breaks_is_replaced_by_the_standby_at_once() -> None:
    async with supervised() as s:
        w = s.world
        await w.receive("TEA", 100)
        await until(s.has_standby)
        dead = s.owner("TEA")
        asked = [asyncio.ensure_future(w.reserve("TEA", 1)) for _ in range(30)]
        await asyncio.sleep(0)
        launched = len(s.launcher.launched)
        await s.launcher.crash(dead)
        async with asyncio.timeout(3):
            for outcome in await asyncio.gather(*asked):
                view_of(outcome)
        assert s.owner("TEA").name in [process.name for process in s.launcher.launched[:launched]]
        assert await w.stock("TEA") == (100, 30)
        await until(lambda: dead.name in s.launcher.killed)
        await until(s.has_standby)


async def test_a_host_that_does_not_answer_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.supervisor._SUSPECT_S", 0.1)
    monkeypatch.setattr("actors.supervisor._PING_S", 0.05)
    async with supervised() as s:
        await s.world.receive("TEA", 5)
        silent = s.owner("TEA")
        hangs = asyncio.Event()
        monkeypatch.setitem(silent.running.lanes.controls, "ping", lambda _: hangs.wait())
        await until(lambda: silent.name in s.launcher.killed)
        view_of(await s.world.reserve("TEA", 5))
        assert s.owner("TEA").name != silent.name


@pytest.mark.parametrize("loses", [False, True])
async def test_a_host_that_falls_silent_while_it_takes_partitions_is_replaced(
    monkeypatch: pytest.MonkeyPatch, *, loses: bool
) -> None:
    monkeypatch.setattr("actors.supervisor._SUSPECT_S", 0.1)
    monkeypatch.setattr("actors.supervisor._PING_S", 0.05)
    async with supervised(hosts=1, standbys=1) as s:
        await until(s.has_standby)
        await s.world.receive("TEA", 5)
        owner = s.owner("TEA")
        silent = owner if loses else next(p for p in s.launcher.launched if p is not owner)
        hangs, controls = asyncio.Event(), silent.running.lanes.controls

        def stopped(_: object) -> Coroutine[Any, Any, Any]:
            controls["ping"] = lambda _: hangs.wait()
            return hangs.wait()

        monkeypatch.setitem(controls, "ping", controls["ping"])
        monkeypatch.setitem(controls, "take", stopped)
        if loses:
            owner.running.host.ownership.lose(frozenset({number_of("TEA")}), [])
        else:
            await s.launcher.crash(owner)
        await until(lambda: silent.name in s.launcher.killed)  # Not after the 30 s that taking may last.
        view_of(await s.world.reserve("TEA", 5))
        assert s.owner("TEA") not in (owner, silent)


async def test_a_host_that_takes_long_and_lives_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.supervisor._SUSPECT_S", 2.0)
    monkeypatch.setattr("actors.supervisor._PING_S", 0.01)
    async with supervised(hosts=1, standbys=1) as s:
        await until(s.has_standby)
        await s.world.receive("TEA", 5)
        spare = next(p for p in s.launcher.launched if p is not s.owner("TEA"))
        pings, controls = 0, spare.running.lanes.controls
        ping = controls["ping"]

        def counted(fields: object) -> Coroutine[Any, Any, Any]:
            nonlocal pings
            pings += 1
            return ping(fields)

        monkeypatch.setitem(controls, "ping", counted)
        with s.world.snapshots[1].recover_gate.held():
            await s.launcher.crash(s.owner("TEA"))
            await until(lambda: pings >= 5)
            assert spare.name not in s.launcher.killed
        view_of(await s.world.reserve("TEA", 5))
        assert s.owner("TEA") is spare


async def test_a_host_that_lost_partitions_takes_them_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.supervisor._PING_S", 0.02)
    async with supervised(hosts=1, standbys=0) as s:
        await s.world.receive("TEA", 5)
        await s.world.receive("MUG", 5)
        host = s.owner("TEA").running.host
        kept = host.owned[number_of("MUG")]
        host.ownership.lose(frozenset({number_of("TEA")}), [])
        view_of(await s.world.reserve("TEA", 5))
        assert host.owned[number_of("MUG")] is kept
        assert s.launcher.killed == []


async def test_a_defect_of_the_launcher_or_of_a_watcher_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.spares._RETRY_S_MAX", 0.02)
    async with supervised(hosts=1, standbys=1) as s:
        await until(s.has_standby)
        await s.world.receive("TEA", 5)
        launch, defects = s.launcher.launch, [TypeError("a defect")] * 2

        async def defective(name: str, node: str | None = None) -> HostProcess:
            if defects:
                raise defects.pop()
            return await launch(name, node)

        monkeypatch.setattr(s.launcher, "launch", defective)
        await s.launcher.crash(s.supervisor._spares.ready[0])
        await s.launcher.crash(s.owner("TEA"))
        view_of(await s.world.reserve("TEA", 5))
        s.standbys_are_due.set()
        await until(s.has_standby)


async def test_a_standby_that_dies_is_replaced() -> None:
    async with supervised() as s:
        await until(s.has_standby)
        (spare,) = s.supervisor._spares.ready
        assert isinstance(spare, InProcessHost)
        await s.launcher.crash(spare)
        s.standbys_are_due.set()
        await until(lambda: spare.name in s.launcher.killed and s.has_standby())


@asynccontextmanager
async def launching_one_at_a_time(s: Supervised) -> AsyncIterator[asyncio.Semaphore]:
    """Let a host start only when the test says so."""
    permits, launch = asyncio.Semaphore(0), s.launcher.launch

    async def permitted(name: str, node: str | None = None) -> HostProcess:
        s.asked.append(name)
        await permits.acquire()
        return await launch(name, node)

    s.launcher.launch = permitted  # type: ignore[method-assign]
    await s.supervisor.start()
    try:
        yield permits
    finally:
        await s.supervisor.stop()
        await s.world.close()


async def test_the_standby_is_launched_together_with_the_first_hosts() -> None:
    s = Supervised(hosts=2, standbys=1)
    async with launching_one_at_a_time(s) as permits:
        await until(lambda: len(s.asked) == 3)
        permits.release()
        permits.release()
        await s.supervisor.serving()
        assert len(s.asked) == 3


async def test_a_place_waits_for_the_standby_that_is_on_its_way_and_launches_no_other() -> None:
    s = Supervised(hosts=1, standbys=1)
    async with launching_one_at_a_time(s) as permits:
        permits.release()
        await s.supervisor.serving()
        await s.world.receive("TEA", 5)
        await s.launcher.crash(s.owner("TEA"))
        asked = asyncio.ensure_future(s.world.reserve("TEA", 5))
        await until(lambda: s.supervisor.places[0].process is None)
        assert len(s.asked) == 2
        permits.release()
        view_of(await asked)
        assert s.owner("TEA") is s.launcher.launched[1]
        await until(lambda: len(s.asked) == 3)  # The next standby, once the place is served.


async def test_a_dead_standby_does_not_stand_in_the_way() -> None:
    async with supervised() as s:
        await until(s.has_standby)
        await s.world.receive("TEA", 5)
        (spare,) = s.supervisor._spares.ready
        await s.launcher.crash(spare)
        await s.launcher.crash(s.owner("TEA"))
        view_of(await s.world.reserve("TEA", 5))


async def test_without_room_for_a_host_it_is_tried_again() -> None:
    async with supervised(hosts=1, standbys=0) as s:
        await s.world.receive("TEA", 5)
        s.launcher.is_out_of_room = True
        await s.launcher.crash(s.owner("TEA"))
        asked = asyncio.ensure_future(s.world.reserve("TEA", 5))
        await until(lambda: s.launcher.refused >= 1)
        s.launcher.is_out_of_room = False
        view_of(await asked)


async def test_a_host_that_cannot_take_its_partitions_now_is_asked_again_not_replaced() -> None:
    async with supervised(hosts=1, standbys=1) as s:
        await until(s.has_standby)
        await s.world.receive("TEA", 5)
        spare_snapshots = s.world.snapshots[1]
        spare_snapshots.failing.add("recover")
        await s.launcher.crash(s.owner("TEA"))
        asked = asyncio.ensure_future(s.world.reserve("TEA", 5))
        await until(lambda: s.supervisor.places[0].process is s.launcher.launched[1])
        await until(lambda: spare_snapshots.failed >= 2)
        spare_snapshots.failing.clear()
        view_of(await asked)
        assert s.launcher.launched[1].name not in s.launcher.killed


async def test_a_stop_answers_what_is_in_flight_and_stops_every_host() -> None:
    s = Supervised(hosts=2, standbys=1)
    await s.supervisor.start()
    await s.supervisor.serving()
    await until(s.has_standby)
    w = s.world
    await w.receive("TEA", 100)
    ledger = next(ledger for ledger in w.ledgers if ledger.host == s.owner("TEA").name)
    with ledger.gate.held():
        asked = [asyncio.ensure_future(w.reserve("TEA", 1)) for _ in range(30)]
        await until(lambda: s.owner("TEA").running.host.in_flight >= 30)
        stopping = asyncio.ensure_future(s.supervisor.stop())
        await until(lambda: s.owner("TEA").running.host.is_stopping)
    for outcome in await asyncio.gather(*asked):
        view_of(outcome)
    await stopping
    assert sorted(s.launcher.stopped) == sorted(process.name for process in s.launcher.launched)
    assert w.hosts == []
    await w.close()


async def test_who_watches_is_told_of_every_change() -> None:
    async with supervised(hosts=1, standbys=1) as s:
        await until(s.has_standby)
        before = s.seen[-1]
        await s.world.receive("TEA", 1)
        await s.launcher.crash(s.owner("TEA"))
        await until(lambda: len(s.seen[-1]) == 2 and s.seen[-1] != before)
        assert s.seen[-1][0] == before[1]


async def test_a_host_that_owns_what_is_not_its_own_still_gets_back_what_it_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Seed 46 of the simulations: partitions were counted, and the number was right.
    monkeypatch.setattr("actors.ownership._LOOK_EVERY_S", 0.02)
    monkeypatch.setattr("actors.supervisor._PING_S", 0.02)
    async with supervised(hosts=2) as s:
        one, two = (place.process for place in s.supervisor.places)
        assert isinstance(one, InProcessHost)
        assert isinstance(two, InProcessHost)
        lost, gained = min(s.supervisor.places[0].partitions), min(s.supervisor.places[1].partitions)
        await asyncio.gather(two.running.take([lost]), one.running.take([gained]))
        tables = s.world.database.partitions
        await until(lambda: (tables[lost].host, tables[gained].host) == (one.name, two.name))

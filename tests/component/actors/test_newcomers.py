"""Nodes that were added take their share by themselves: with patience, in one movement, without errors."""

import asyncio
from itertools import pairwise

from actors.newcomers import _LOOK_S, _REST_S, _REST_S_MAX, _SOUND_S, Newcomers
from actors.places import Place, crowded
from tests.component.actors.growing import cluster
from tests.component.actors.placed import granted
from tests.component.actors.traffic import traffic
from tests.component.actors.world import PARTITIONS, number_of, until

_SKUS = [f"SKU-{n}" for n in range(10)]
_HOT = _SKUS[0]


async def test_a_node_that_was_added_takes_its_share_by_itself_under_load_and_nothing_fails() -> None:
    async with cluster(hosts=2) as c, traffic(c.s.world, _SKUS) as t:
        c.s.launcher.node_names = ["", "added"]
        await c.passes(_SOUND_S + 2 * _LOOK_S)
        assert c.shares() == {"": [PARTITIONS // 2], "added": [PARTITIONS // 2]}
        await t.more()
        c.s.launcher.node_names = ["", "added", "another"]
        await c.passes(_REST_S + _SOUND_S + 2 * _LOOK_S)
        counts = c.shares()
        assert set(counts) == {"", "added", "another"}
        assert sum(map(sum, counts.values())) == PARTITIONS
        assert max(map(max, counts.values())) - min(map(min, counts.values())) <= 1
        await t.more()


async def test_one_node_alone_sees_no_change_however_many_hosts_it_has() -> None:
    async with cluster(hosts=4, standbys=1) as c:
        before, launched = c.places(), len(c.s.launcher.launched)
        await c.passes(10 * _REST_S_MAX)
        assert c.places() == before
        assert len(c.s.launcher.launched) == launched


async def test_a_node_is_given_nothing_before_it_has_been_there_for_a_while() -> None:
    async with cluster() as c:
        before = c.places()
        for _ in range(5):  # It comes and goes.
            c.s.launcher.node_names = ["", "added"]
            await c.passes(_SOUND_S - 1)
            c.s.launcher.node_names = [""]
            await c.passes(_SOUND_S - 1)
        assert c.places() == before


async def test_nothing_is_moved_while_a_host_is_being_replaced() -> None:
    async with cluster() as c:
        c.s.launcher.node_names = ["", "added"]
        c.s.place_of(_HOT).is_serving = False
        before = c.places()
        await c.passes(4 * _SOUND_S)
        assert c.places() == before
        c.s.place_of(_HOT).is_serving = True
        await c.passes(_SOUND_S - 1)  # The node must be seen for as long again.
        assert c.places() == before
        await c.passes(2 * _LOOK_S)
        assert set(c.shares()) == {"", "added"}


async def test_nodes_that_keep_coming_and_going_have_partitions_moved_less_and_less_often() -> None:
    async with cluster(hosts=1) as c:
        moved_s = []
        for number in range(40):  # Each comes back under another name, as Ray's nodes do.
            before = c.places()
            c.s.launcher.node_names = ["", f"node-{number}"]
            await c.passes(_SOUND_S + 2 * _LOOK_S)
            if c.places() != before:
                moved_s.append(c.clock.now_s)
            c.s.launcher.node_names = [""]
            for place in c.s.supervisor.places:
                if place.process is not None and place.process.node:
                    await c.s.launcher.crash(place.process)
            await until(lambda: all(p.is_serving and not _node(p) for p in c.s.supervisor.places))
        rests_s = [later - earlier for earlier, later in pairwise(moved_s)]
        assert len(rests_s) >= 2
        assert rests_s == sorted(rests_s)
        assert rests_s[0] >= _REST_S
        assert rests_s[1] >= 2 * _REST_S


def _node(place: Place) -> str:
    assert place.process is not None
    return place.process.node


async def test_hosts_of_a_node_with_many_go_to_a_node_that_was_added() -> None:
    async with cluster(hosts=4) as c, traffic(c.s.world, _SKUS):
        c.s.launcher.node_names = ["", "added"]
        await c.passes(_SOUND_S + 2 * _LOOK_S)
        counts = c.shares()
        assert [len(counts[node]) for node in ("", "added")] == [2, 2]
        settled = c.places()
        await c.passes(4 * _REST_S_MAX)
        assert c.places() == settled


async def test_several_nodes_that_were_added_are_given_their_shares_together() -> None:
    async with cluster(hosts=1) as c:
        c.s.launcher.node_names = ["", "added", "another"]
        await c.passes(_SOUND_S + 2 * _LOOK_S)
        assert set(c.shares()) == {"", "added", "another"}


async def test_the_standby_of_a_node_that_was_added_becomes_its_host() -> None:
    async with cluster(hosts=2, standbys=1) as c:
        (spare,) = c.s.supervisor._spares.ready
        spare.node = "added"
        c.s.launcher.node_names = ["", "added"]
        await c.passes(_SOUND_S + 2 * _LOOK_S)
        assert spare in [place.process for place in c.s.supervisor.places]
        await until(c.s.has_standby)


async def test_isolated_skus_stay_where_they_are_when_a_node_is_added() -> None:
    async with cluster(hosts=1) as c, traffic(c.s.world, _SKUS):
        alone = {number_of(sku): sku for sku in _SKUS}
        assert len(alone) >= 4
        for sku in alone.values():
            await c.wishes.isolate(("LON", sku))
        await c.placing.carry_out(await c.wishes.wished(), await c.wishes.granted())
        hosts = {number: c.s.owner(sku) for number, sku in alone.items()}
        c.s.launcher.node_names = ["", "added"]
        await c.passes(_SOUND_S + 2 * _LOOK_S)
        assert {number: c.s.owner(sku) for number, sku in alone.items()} == hosts
        assert "added" in c.shares()


async def test_who_asked_for_so_many_hosts_gets_no_more_when_a_node_is_added() -> None:
    async with cluster(hosts=2) as c:
        await c.wishes.spread(1)
        await c.placing.carry_out(await c.wishes.wished(), await c.wishes.granted())
        c.s.launcher.node_names = ["", "added"]
        await c.passes(4 * _SOUND_S)
        assert c.shares() == {"": [PARTITIONS]}


async def test_placing_looks_at_the_nodes_between_wishes_and_leaves_them_alone_when_told_to() -> None:
    for newcomers in (Newcomers(asyncio.get_running_loop().time), None):
        async with cluster(hosts=2) as c:
            c.placing._newcomers = newcomers
            if newcomers is not None:
                newcomers._since_s["added"] = -_SOUND_S
            c.s.launcher.node_names = ["", "added"]
            running = asyncio.create_task(c.placing.run())
            if newcomers is not None:
                await until(lambda: set(c.shares()) == {"", "added"})
            else:
                number = await c.wishes.isolate(("LON", _HOT))
                await granted(c.wishes, number)
                assert {p.node for p in c.s.supervisor.processes()} <= {"", "added"}
                assert len([p for p in c.s.supervisor.places if not p.is_dedicated]) == 2
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def test_a_host_that_must_stay_is_not_the_one_that_goes() -> None:
    class Process:
        name, address, pid, node = "host", "", 0, "full"

    places = [Place(number, ()) for number in range(3)]
    for place in places:
        place.process = Process()
    assert crowded(places, ["full", "empty"], places[2:]) == (places[2], "empty")
    assert crowded(places, ["full", "empty"], []) is None
    assert crowded(places[:1], ["full", "empty"]) is None

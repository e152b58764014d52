"""Partitions moved on purpose by the supervisor, under load: isolated SKUs, an even spread, no errors."""

import pytest
import structlog

from actors.outcomes import Unavailable
from actors.places import HostProcess, Place, even_moves, first_places
from persistence.memory import MemoryWishes
from tests.component.actors.placed import Placed, placed
from tests.component.actors.supervised import supervised
from tests.component.actors.traffic import traffic
from tests.component.actors.world import PARTITIONS, number_of, until

_SKUS = [f"SKU-{n}" for n in range(10)]
_HOT = _SKUS[0]


async def test_a_hot_sku_gets_a_host_of_its_own_and_goes_back_under_load_and_nothing_fails() -> None:
    async with placed() as p, traffic(p.s.world, _SKUS) as t:
        granted = await p.granted(await p.wishes.isolate(("LON", _HOT)))
        assert (granted.moved, granted.hosts) == (1, 3)
        alone = p.s.place_of(_HOT)
        assert alone.is_dedicated
        assert p.owned()[p.s.owner(_HOT).name] == {number_of(_HOT)}
        await t.more()
        was = p.s.owner(_HOT)
        granted = await p.granted(await p.wishes.join(("LON", _HOT)))
        assert (granted.moved, granted.hosts) == (1, 2)
        assert not p.s.place_of(_HOT).is_dedicated
        assert was.name in p.s.launcher.stopped
        assert set.union(*p.owned().values()) == set(range(PARTITIONS))


async def test_an_isolated_sku_keeps_a_host_of_its_own_when_that_dies() -> None:
    async with placed() as p, traffic(p.s.world, _SKUS):
        await p.granted(await p.wishes.isolate(("LON", _HOT)))
        dead = p.s.owner(_HOT)
        await p.s.launcher.crash(dead)
        await until(lambda: p.s.place_of(_HOT).is_serving and p.s.owner(_HOT) is not dead)
        assert p.owned()[p.s.owner(_HOT).name] == {number_of(_HOT)}


async def test_two_hot_skus_of_one_partition_share_a_host_until_both_join() -> None:
    async with placed() as p:
        other = next(f"X-{n}" for n in range(1000) if number_of(f"X-{n}") == number_of(_HOT))
        await p.granted(await p.wishes.isolate(("LON", _HOT)))
        await p.granted(await p.wishes.isolate(("LON", other)))
        assert len(p.s.supervisor.places) == 3
        await p.granted(await p.wishes.join(("LON", _HOT)))
        assert p.s.place_of(other).is_dedicated
        await p.granted(await p.wishes.join(("LON", other)))
        assert len(p.s.supervisor.places) == 2


async def test_more_and_fewer_hosts_share_the_partitions_evenly_under_load_and_nothing_fails() -> None:
    async with placed() as p, traffic(p.s.world, _SKUS) as t:
        await p.granted(await p.wishes.isolate(("LON", _HOT)))
        for hosts in (4, 1, 3):
            granted = await p.granted(await p.wishes.spread(hosts))
            counts = sorted(
                len(place.partitions) for place in p.s.supervisor.places if not place.is_dedicated
            )
            assert len(counts) == hosts
            assert counts[-1] - counts[0] <= 1
            assert granted.hosts == hosts + 1
            assert p.s.place_of(_HOT).is_dedicated
            for place in p.s.supervisor.places:
                assert place.process is not None
                assert p.owned()[place.process.name] == place.partitions
            await t.more(100)


async def test_a_node_that_was_added_takes_its_share() -> None:
    async with placed(hosts=2, standbys=0) as p, traffic(p.s.world, _SKUS):
        p.s.launcher.node_names = ["", "added"]
        await p.granted(await p.wishes.spread(None))
        nodes = sorted(process.node for process in p.s.supervisor.processes())
        assert nodes == ["", "added"]
        p.s.launcher.node_names = ["", "added", "another"]
        await p.granted(await p.wishes.spread(None))
        assert sorted(process.node for process in p.s.supervisor.processes()) == ["", "added", "another"]


async def test_a_node_that_starts_no_hosts_is_left_out_of_a_spread_and_the_others_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with placed(hosts=3, standbys=0) as p:
        launch, tried = p.s.launcher.launch, []

        async def refusing(name: str, node: str | None = None) -> HostProcess:
            tried.append(node)
            if node == "broken":
                raise Unavailable("no room")
            return await launch(name, node)

        monkeypatch.setattr(p.s.launcher, "launch", refusing)
        p.s.launcher.node_names = ["", "broken", "sound"]
        with structlog.testing.capture_logs() as logs:
            await p.granted(await p.wishes.spread(None))
        assert sorted(process.node for process in p.s.supervisor.processes()) == ["", "", "sound"]
        assert tried == ["broken", "sound"]
        assert [line["node"] for line in logs if line["event"] == "node_left_out"] == ["broken"]


async def test_a_node_that_was_just_lost_is_not_tried_by_a_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    async with placed(hosts=2, standbys=0) as p:
        launch, tried = p.s.launcher.launch, []

        async def watched(name: str, node: str | None = None) -> HostProcess:
            tried.append(node)
            return await launch(name, node)

        monkeypatch.setattr(p.s.launcher, "launch", watched)
        p.s.launcher.node_names = ["", "lost"]  # Ray still believes in it.
        p.s.supervisor._nodes.lost("lost")
        await p.granted(await p.wishes.spread(None))
        assert tried == []


async def test_a_wish_waits_for_ray_and_is_not_granted_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with placed(hosts=2, standbys=0) as p:
        ask, is_away, asked_in_vain = p.s.supervisor.nodes, False, 0

        async def refusing(_: str, __: str | None = None) -> HostProcess:
            nonlocal is_away
            is_away = True
            raise Unavailable("Ray's control store is away")

        async def nodes() -> list[str]:
            nonlocal asked_in_vain
            if is_away:
                asked_in_vain += 1
                raise Unavailable("Ray's control store is away")
            return await ask()

        p.s.launcher.node_names = ["", "added"]
        with monkeypatch.context() as lost:
            lost.setattr(p.s.launcher, "launch", refusing)
            lost.setattr(p.s.supervisor, "nodes", nodes)
            number = await p.wishes.spread(None)
            await until(lambda: asked_in_vain >= 2)
            assert (await p.wishes.granted()).number < number
        p.s.supervisor._nodes._lost_s.clear()
        await p.granted(number)
        assert sorted(process.node for process in p.s.supervisor.processes()) == ["", "added"]


async def test_a_host_that_came_on_another_node_than_was_asked_for_is_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with supervised() as s:
        launch = s.launcher.launch

        async def elsewhere(name: str, _: str | None = None) -> HostProcess:
            return await launch(name, "")

        monkeypatch.setattr(s.launcher, "launch", elsewhere)
        with pytest.raises(Unavailable, match="node full takes no host"):
            await s.supervisor.take_on("full")
        assert s.launcher.killed == [s.launcher.launched[-1].name]


async def test_a_wish_outlives_its_supervisor() -> None:
    wishes = MemoryWishes()
    number = await wishes.isolate(("LON", _HOT))
    async with supervised() as s:  # Nobody carries it out here.
        assert not s.place_of(_HOT).is_dedicated
    isolated = [number_of(sku) for _, sku in (await wishes.wished()).isolated]
    async with supervised(isolated=isolated) as s:
        assert s.place_of(_HOT).is_dedicated
        p = Placed(s, hosts=2, wishes=wishes)
        await p.placing.carry_out(await wishes.wished(), await wishes.granted())
        assert (await p.granted(number)).moved == 0


async def test_a_move_that_fails_is_tried_again_until_the_wish_is_granted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with placed() as p, traffic(p.s.world, _SKUS):
        faults = [Unavailable("a lane was lost")] * 3
        move = p.s.supervisor.move

        async def failing(*moves: object) -> float:
            if faults:
                raise faults.pop()
            return await move(*moves)  # type: ignore[arg-type]

        monkeypatch.setattr(p.s.supervisor, "move", failing)
        granted = await p.granted(await p.wishes.isolate(("LON", _HOT)))
        assert (granted.moved, granted.hosts) == (1, 3)
        assert faults == []


async def test_a_host_that_dies_while_it_hands_over_is_replaced_and_the_wish_is_granted() -> None:
    async with placed(standbys=2) as p, traffic(p.s.world, _SKUS):
        source = p.s.owner(_HOT)
        with source.running.host.ledger.gate.held():  # type: ignore[attr-defined]
            number = await p.wishes.isolate(("LON", _HOT))
            await until(
                lambda: source.running.handing_over.leaving != {} or source.running.host.in_flight > 5
            )
            await p.s.launcher.crash(source)
        await p.granted(number)
        assert p.owned()[p.s.owner(_HOT).name] == {number_of(_HOT)}


def test_moves_are_as_few_as_an_even_spread_needs() -> None:
    places = [*first_places(16, 2), Place(2, ()), Place(3, ())]
    moves = even_moves(places)
    assert sum(len(move.partitions) for move in moves) == 8
    assert even_moves(first_places(16, 3)) == []


def test_a_supervisor_begins_with_what_is_isolated_in_places_of_its_own() -> None:
    places = first_places(8, 2, [3])
    assert [sorted(place.partitions) for place in places] == [[0, 2, 5, 7], [1, 4, 6], [3]]
    assert [place.is_dedicated for place in places] == [False, False, True]

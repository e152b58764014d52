"""Partitions that cannot move, their ledger being refused: they stay, the others move, and it is said."""

import pytest
import structlog

from actors.places import Move
from actors.rebuilding import Misfit
from tests.component.actors.in_process import InProcessHost
from tests.component.actors.placed import Placed, placed
from tests.component.actors.supervised import supervised
from tests.component.actors.world import PARTITIONS, number_of

_SKUS = [f"SKU-{n}" for n in range(10)]
_HOT = _SKUS[0]


def _refuse(p: Placed, sku: str) -> InProcessHost:
    """Have the owner of a SKU refuse its partition, as if its ledger did not hold."""
    owner, number = p.s.owner(sku), number_of(sku)
    host = owner.running.host
    host.ownership._refuse(host.owned[number], Misfit(number, 1, "a gap"))
    return owner


async def test_a_refused_partition_is_left_out_of_a_move_and_the_others_move() -> None:
    async with placed() as p:
        for sku in _SKUS:
            await p.s.world.receive(sku, 5)
        hot = next(sku for sku in _SKUS if p.s.place_of(sku) is p.s.supervisor.places[-1])
        owner, refused = _refuse(p, hot), number_of(hot)
        for hosts, left_out in ((1, (refused,)), (4, ()), (1, (refused,))):
            granted = await p.granted(await p.wishes.spread(hosts))
            assert granted.refused == left_out
            places, owned = p.s.supervisor.places, p.owned()
            for place in places:
                assert place.process is not None
                assert owned[place.process.name] == place.partitions - {refused}
            assert set.union(*(place.partitions for place in places)) == set(range(PARTITIONS))
            assert p.s.owner(hot) is owner
        for sku in _SKUS:
            if number_of(sku) != refused:
                assert await p.s.world.stock(sku) == (5, 0)


async def test_a_wish_that_a_refused_partition_be_isolated_ends_and_says_so() -> None:
    async with placed() as p:
        owner = _refuse(p, _HOT)
        with structlog.testing.capture_logs() as logs:
            granted = await p.granted(await p.wishes.isolate(("LON", _HOT)))
        assert (granted.moved, granted.hosts, granted.refused) == (0, 2, (number_of(_HOT),))
        assert p.s.owner(_HOT) is owner
        (told,) = [line for line in logs if line["event"] == "partitions_left_out"]
        assert told["partitions"] == (number_of(_HOT),)
        granted = await p.granted(await p.wishes.join(("LON", _HOT)))
        assert granted.refused == ()


async def test_an_isolated_partition_that_is_refused_keeps_its_place_when_it_is_to_join() -> None:
    async with placed() as p:
        await p.granted(await p.wishes.isolate(("LON", _HOT)))
        owner = _refuse(p, _HOT)
        granted = await p.granted(await p.wishes.join(("LON", _HOT)))
        assert (granted.moved, granted.hosts, granted.refused) == (0, 3, (number_of(_HOT),))
        assert p.s.owner(_HOT) is owner


async def test_what_has_moved_belongs_to_its_new_place_when_something_else_has_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with supervised(hosts=2) as s:
        source, target = s.supervisor.places
        one, other = sorted(source.partitions)[:2]
        assert isinstance(source.process, InProcessHost)
        monkeypatch.setattr(source.process.running.host.owned[other], "is_ready", False)
        moved = await s.supervisor.move(Move([one, other], source, target))
        assert (moved.partitions, moved.refused) == ([one], [])
        assert one in target.partitions - source.partitions
        assert other in source.partitions - target.partitions

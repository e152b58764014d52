"""Nodes that were added and then fail, or are away, get nothing, and what was begun is brought to its end."""

import asyncio

import pytest
import structlog

from actors.newcomers import _LOOK_S, _REST_S, _SOUND_S
from actors.outcomes import Unavailable
from actors.places import HostProcess, Moved
from tests.component.actors.growing import cluster
from tests.component.actors.traffic import traffic
from tests.component.actors.world import PARTITIONS, until, view_of

_SKUS = [f"SKU-{n}" for n in range(10)]
_HOT = _SKUS[0]


async def test_a_node_that_lost_a_host_lately_is_given_nothing() -> None:
    async with cluster() as c:
        c.s.launcher.node_names = ["", "added"]
        c.s.supervisor._nodes.lost("added")
        await c.passes(4 * _SOUND_S)
        assert set(c.shares()) == {""}
        c.s.supervisor._nodes.started("added", asyncio.get_running_loop().time() + 1)
        await c.passes(2 * _SOUND_S)
        assert set(c.shares()) == {"", "added"}


async def test_a_node_on_which_no_host_starts_is_left_alone_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with cluster(hosts=2) as c:
        launch, tried_s = c.s.launcher.launch, []

        async def refusing(name: str, node: str | None = None) -> HostProcess:
            if node == "broken":
                tried_s.append(c.clock.now_s)
                raise Unavailable("no room")
            return await launch(name, node)

        monkeypatch.setattr(c.s.launcher, "launch", refusing)
        c.s.launcher.node_names = ["", "broken"]
        before = c.places()
        with structlog.testing.capture_logs() as logs:
            await c.passes(4 * _REST_S)
        assert c.places() == before
        assert len(tried_s) == 1  # It is doubted by the clock of the loop, which has not moved.
        assert [line["nodes"] for line in logs if line["event"] == "sharing_waits"] == [["broken"]]


async def test_a_movement_that_failed_is_brought_to_its_end_later(monkeypatch: pytest.MonkeyPatch) -> None:
    async with cluster(hosts=2) as c, traffic(c.s.world, _SKUS):
        moves, move = 0, c.s.supervisor.move

        async def failing(*asked: object) -> Moved:
            nonlocal moves
            moves += 1
            if moves == 2:
                raise Unavailable("a lane was lost")
            return await move(*asked)  # type: ignore[arg-type]

        monkeypatch.setattr("actors.placing._GROUP", 2)
        monkeypatch.setattr(c.s.supervisor, "move", failing)
        c.s.launcher.node_names = ["", "added", "another"]
        await c.passes(_SOUND_S + 2 * _LOOK_S)
        assert moves == 2
        await c.passes(_REST_S + 2 * _LOOK_S)
        counts = c.shares()
        assert len(c.s.supervisor.places) == 3
        assert max(map(max, counts.values())) - min(map(min, counts.values())) <= 1


async def test_while_ray_does_not_answer_nothing_is_moved_and_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with cluster() as c:
        c.s.launcher.node_names = ["", "added"]
        await c.passes(_SOUND_S - 1)

        async def unknown() -> list[str]:
            raise Unavailable("Ray's control store is away")

        with monkeypatch.context() as away, structlog.testing.capture_logs() as logs:
            away.setattr(c.s.launcher, "nodes", unknown)
            await c.passes(4 * _SOUND_S)
        assert logs == []
        await c.passes(_SOUND_S - 1)  # It must be sound for as long again.
        assert set(c.shares()) == {""}


async def test_service_goes_on_when_the_added_node_is_lost_while_it_gets_its_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with cluster(hosts=2, standbys=1) as c:
        for sku in _SKUS:
            await c.s.world.receive(sku, 5)
        monkeypatch.setattr("actors.placing._GROUP", 1)
        moves, move = 0, c.s.supervisor.move

        async def dying(*asked: object) -> Moved:
            nonlocal moves
            moves += 1
            if moves == 2:
                (lost,) = (p for p in c.s.supervisor.processes() if p.node == "added")
                c.s.launcher.node_names = [""]
                await c.s.launcher.crash(lost)
            return await move(*asked)  # type: ignore[arg-type]

        monkeypatch.setattr(c.s.supervisor, "move", dying)
        (spare,) = c.s.supervisor._spares.ready
        spare.node = ""
        c.s.launcher.node_names = ["", "added"]
        await c.passes(_SOUND_S + 2 * _LOOK_S)
        await until(lambda: all(place.is_serving for place in c.s.supervisor.places))
        await c.passes(_REST_S + 2 * _LOOK_S)
        for sku in _SKUS:
            view_of(await c.s.world.reserve(sku, 5))
        assert sum(map(sum, c.shares().values())) == PARTITIONS

"""Hosts are started on the node with the fewest, and on none where one was just lost."""

import asyncio

import pytest

from actors.outcomes import Unavailable
from actors.supervisor import HostProcess
from tests.component.actors.supervised import Supervised, supervised
from tests.component.actors.world import until, view_of


def _nodes(s: Supervised) -> list[str]:
    return sorted(process.node for process in s.supervisor.processes())


async def _standby_beside(s: Supervised, node: str) -> None:
    """Have the standby on a node, where a host of its own may lie."""
    await until(s.has_standby)
    (spare,) = s.supervisor._spares.ready
    spare.node = node


async def test_hosts_and_standbys_are_spread_over_the_nodes() -> None:
    async with supervised(hosts=1, standbys=1) as s:
        await until(s.has_standby)
        s.launcher.node_names = ["", "added", "another"]
        await s.launcher.crash(s.owner("TEA"))
        await until(lambda: _nodes(s) == ["", "added"])


async def test_the_next_host_is_not_taken_from_a_node_that_just_lost_one() -> None:
    async with supervised(hosts=1, standbys=2) as s:
        s.launcher.node_names = ["", "other"]
        await s.world.receive("TEA", 5)
        await until(lambda: len(s.supervisor.processes()) == 3)
        near, far = s.supervisor._spares.ready
        near.node, far.node = s.owner("TEA").node, "other"
        await s.launcher.crash(s.owner("TEA"))
        view_of(await s.world.reserve("TEA", 5))
        assert s.owner("TEA") is far


async def test_a_host_that_is_lost_with_its_standby_is_started_on_another_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with supervised(hosts=1, standbys=1) as s:
        await s.world.receive("TEA", 5)
        await _standby_beside(s, "")
        s.launcher.node_names = ["", "other"]
        asked: list[str | None] = []
        launch = s.launcher.launch

        async def watched(name: str, node: str | None = None) -> HostProcess:
            asked.append(node)
            return await launch(name, node)

        monkeypatch.setattr(s.launcher, "launch", watched)
        for process in s.supervisor.processes()[::-1]:
            await s.launcher.crash(process)
        view_of(await s.world.reserve("TEA", 5))
        assert asked[0] == "other"
        assert s.owner("TEA").node == "other"


async def test_what_is_being_started_on_a_lost_node_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with supervised(hosts=1, standbys=0) as s:
        await s.world.receive("TEA", 5)
        hangs, launch = asyncio.Event(), s.launcher.launch
        s.launcher.node_names = ["a", "b"]

        async def hanging(name: str, node: str | None = None) -> HostProcess:
            if node == "a":
                await hangs.wait()
            return await launch(name, node)

        monkeypatch.setattr(s.launcher, "launch", hanging)
        first = s.owner("TEA")
        first.node = "b"
        await s.launcher.crash(first)
        await until(lambda: list(s.supervisor._spares._launches.values()) == ["a"])
        lost = s.launcher.launched[0]
        lost.node = "a"
        s.supervisor._spares._nodes._lost_s.clear()
        s.supervisor._spares.lost(lost)
        s.supervisor._spares.launch_missing()
        view_of(await s.world.reserve("TEA", 5))
        assert s.owner("TEA").node == "b"
        hangs.set()


async def test_a_node_that_starts_no_hosts_does_not_take_all_launches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with supervised(hosts=1, standbys=0) as s:
        await s.world.receive("TEA", 5)
        launch = s.launcher.launch
        s.launcher.node_names = ["broken", "sound"]

        async def refusing(name: str, node: str | None = None) -> HostProcess:
            if node == "broken":
                raise Unavailable("no room")
            return await launch(name, node)

        monkeypatch.setattr(s.launcher, "launch", refusing)
        await s.launcher.crash(s.owner("TEA"))
        view_of(await s.world.reserve("TEA", 5))
        assert s.owner("TEA").node == "sound"


async def test_while_nobody_knows_the_nodes_hosts_are_started_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with supervised(hosts=1, standbys=0) as s:
        await s.world.receive("TEA", 5)

        async def unknown() -> list[str]:
            raise Unavailable("Ray's control store is away")

        monkeypatch.setattr(s.launcher, "nodes", unknown)
        await s.launcher.crash(s.owner("TEA"))
        view_of(await s.world.reserve("TEA", 5))

"""Hosts are started on the node with the fewest, and on none where one was just lost."""

import asyncio

import pytest
import structlog

from actors.nodes import LOST_S_MAX, Nodes
from actors.outcomes import Unavailable
from actors.supervisor import HostProcess
from tests.component.actors.in_process import InProcessHost
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


async def test_a_host_for_a_node_is_not_waited_for_when_the_node_loses_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with supervised(hosts=2, standbys=0) as s:
        launch = s.launcher.launch
        s.launcher.node_names = ["", "lost"]
        asked, cancelled = asyncio.Event(), asyncio.Event()

        async def hanging(name: str, node: str | None = None) -> HostProcess:
            if node == "lost":
                asked.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    cancelled.set()
            return await launch(name, node)

        monkeypatch.setattr(s.launcher, "launch", hanging)
        beside = s.owner("TEA")
        beside.node = "lost"
        taking = asyncio.ensure_future(s.supervisor.take_on("lost"))
        await asked.wait()
        await s.launcher.crash(beside)
        async with asyncio.timeout(5):  # Far less than a start may take.
            with pytest.raises(Unavailable, match="node lost starts no host"):
                await taking
        assert cancelled.is_set()
        assert s.supervisor.is_doubted("lost")
        await until(lambda: s.place_of("TEA").is_serving)
        assert s.owner("TEA").node == ""


async def test_a_host_for_a_node_is_not_waited_for_longer_than_a_start_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actors.spares._START_S_MAX", 0.05)
    async with supervised(hosts=1, standbys=0) as s:
        hangs = asyncio.Event()

        async def hanging(_: str, __: str | None = None) -> HostProcess:
            await hangs.wait()
            raise AssertionError("it was cancelled")

        monkeypatch.setattr(s.launcher, "launch", hanging)
        with pytest.raises(Unavailable, match="node silent starts no host"):
            await s.supervisor.take_on("silent")
        assert s.supervisor.is_doubted("silent")


async def test_a_host_that_was_given_up_and_comes_after_all_is_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with supervised(hosts=2, standbys=1) as s:
        await _standby_beside(s, "")
        launch, hangs = s.launcher.launch, asyncio.Event()
        late: list[HostProcess] = []
        s.launcher.node_names = ["", "slow"]

        async def hanging(name: str, node: str | None = None) -> HostProcess:
            if node != "slow":
                return await launch(name, node)
            await hangs.wait()
            late.append(await launch(name, node))
            return late[-1]

        monkeypatch.setattr(s.launcher, "launch", hanging)
        one, other = (place.process for place in s.supervisor.places)
        assert isinstance(one, InProcessHost)
        assert isinstance(other, InProcessHost)
        await s.launcher.crash(one)  # The standby takes its place; the next is started where no host is.
        await until(lambda: "slow" in s.supervisor._spares._launches.values())
        await until(lambda: not s.supervisor.is_doubted(""))
        other.node = "slow"
        await s.launcher.crash(other)  # So that is given up, and another is started elsewhere.
        await until(lambda: s.has_standby() and all(place.is_serving for place in s.supervisor.places))
        with structlog.testing.capture_logs() as logs:
            hangs.set()
            await until(lambda: late != [] and late[0].name in s.launcher.stopped)
        assert [line["host"] for line in logs if line["event"] == "surplus_ended"] == [late[0].name]
        assert s.has_standby()
        assert late[0].name not in s.seen[-1]


async def test_nothing_is_surplus_while_a_place_is_not_served() -> None:
    async with supervised(hosts=1, standbys=0) as s:
        spares = s.supervisor._spares
        s.supervisor.places[0].is_serving = False
        spares.ready.append(await s.launcher.launch("late"))
        spares._end_surplus()
        assert len(spares.ready) == 1
        s.supervisor.places[0].is_serving = True
        s.standbys_are_due.set()
        await until(lambda: s.launcher.stopped == ["late"])


class Doubted:
    """A node among others, and time that the test passes."""

    def __init__(self, s: Supervised, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        monkeypatch.setattr("actors.nodes._now_s", lambda: self.now_s)
        s.launcher.node_names = ["doubted", "other"]
        self.nodes = Nodes(s.launcher, list)

    @property
    def is_doubted(self) -> bool:
        """Whether it still is."""
        return self.nodes.is_doubted("doubted")


async def test_a_lost_node_is_doubted_until_ray_must_have_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with supervised(hosts=1, standbys=0) as s:
        d = Doubted(s, monkeypatch)
        d.nodes.lost("doubted")
        d.now_s += LOST_S_MAX - 1  # Ray still names it: it may not have noticed.
        assert await d.nodes.best([]) == "other"
        assert d.is_doubted
        d.now_s += 1
        assert not d.is_doubted
        assert await d.nodes.best([]) == "doubted"


async def test_a_node_that_ray_names_no_more_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    async with supervised(hosts=1, standbys=0) as s:
        d = Doubted(s, monkeypatch)
        d.nodes.failed("doubted")
        s.launcher.node_names = ["other"]
        assert await d.nodes.ask() == ["other"]
        assert not d.is_doubted
        assert d.nodes._failed == set()


async def test_a_node_is_trusted_again_when_a_host_on_it_was_asked_since_and_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with supervised(hosts=1, standbys=0) as s:
        d = Doubted(s, monkeypatch)
        d.nodes.lost("doubted")
        d.nodes.answered("doubted", d.now_s - 0.1)  # It was asked before: what it says is old.
        assert d.is_doubted
        d.nodes.answered("doubted", d.now_s + 0.1)
        assert not d.is_doubted


async def test_a_node_that_starts_no_hosts_is_trusted_again_when_one_was_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with supervised(hosts=1, standbys=0) as s:
        d = Doubted(s, monkeypatch)
        d.nodes.failed("doubted")
        d.nodes.answered("doubted", d.now_s + 0.1)
        assert d.is_doubted
        d.nodes.started("doubted", d.now_s + 0.1)
        assert not d.is_doubted


async def test_a_host_that_dies_alone_does_not_have_its_node_doubted_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actors.supervisor._PING_S", 0.02)
    async with supervised(hosts=2, standbys=1) as s:
        await until(s.has_standby)
        dead = s.owner("TEA")
        await s.launcher.crash(dead)
        await until(lambda: dead.name in s.launcher.killed)
        await until(lambda: not s.supervisor.is_doubted(""))

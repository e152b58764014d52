"""Finding the hosts by Ray, when Ray or some of them do not answer. No cluster is needed for that."""

import asyncio
import threading
from typing import Any

import pytest
from ray.exceptions import RayActorError

from actors import ray_doors
from actors.outcomes import Unavailable
from actors.ray_host import ACTOR_PREFIX, NAMESPACE

DOORS = {"token": "t", "partitions": 4, "placements": []}


class FakeActor:
    """An actor whose `doors` end as told."""

    def __init__(self, end: Any) -> None:
        self._end = end
        self.doors = self

    async def remote(self) -> Any:
        if isinstance(self._end, BaseException):
            raise self._end
        if isinstance(self._end, asyncio.Event):
            await self._end.wait()
        return self._end


def cluster(monkeypatch: pytest.MonkeyPatch, ends: dict[str, Any]) -> list[str]:
    """Let Ray know actors that end as told; return the list of those that are asked."""
    asked = []

    def list_named_actors(*, all_namespaces: bool) -> list[dict[str, str]]:
        assert all_namespaces
        others = [{"name": "binkeeper-x", "namespace": "other"}, {"name": "other", "namespace": NAMESPACE}]
        return others + [{"name": name, "namespace": NAMESPACE} for name in ends]

    def get_actor(name: str, namespace: str) -> FakeActor:
        assert namespace == NAMESPACE
        asked.append(name)
        if ends[name] is None:
            message = "it is gone by now"
            raise ValueError(message)
        return FakeActor(ends[name])

    monkeypatch.setattr(ray_doors, "list_named_actors", list_named_actors)
    monkeypatch.setattr(ray_doors.ray, "get_actor", get_actor)
    return asked


async def test_hosts_that_are_gone_died_or_hang_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_doors, "_TIMEOUT_S", 0.2)
    names = [f"{ACTOR_PREFIX}{n}" for n in range(5)]
    ends = [None, RayActorError(), asyncio.Event(), DOORS, DOORS]
    asked = cluster(monkeypatch, dict(zip(names, ends, strict=True)))
    assert await ray_doors.doors() == DOORS
    assert asked == names[:4]


async def test_where_no_host_answers_there_are_no_doors(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster(monkeypatch, {f"{ACTOR_PREFIX}1": RayActorError(), f"{ACTOR_PREFIX}2": None})
    assert await ray_doors.doors() is None


@pytest.mark.parametrize("fault", [RuntimeError("no cluster"), ConnectionError("cut"), RayActorError()])
async def test_a_ray_that_fails_is_unavailable_and_says_why(
    monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    def fail(**_: bool) -> list[dict[str, str]]:
        raise fault

    monkeypatch.setattr(ray_doors, "list_named_actors", fail)
    with pytest.raises(Unavailable, match=f"Ray does not say where hosts are: {str(fault)[:20]}"):
        await ray_doors.doors()


async def test_a_ray_that_hangs_is_unavailable_and_the_loop_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def hang(**_: bool) -> list[dict[str, str]]:
        over.wait()
        return []

    monkeypatch.setattr(ray_doors, "_TIMEOUT_S", 0.1)
    monkeypatch.setattr(ray_doors, "list_named_actors", hang)
    with pytest.raises(Unavailable, match="TimeoutError"):
        await ray_doors.doors()
    over.set()

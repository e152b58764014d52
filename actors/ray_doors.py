"""How a program on the Ray cluster finds the hosts: by the names of their actors."""

import asyncio
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util import list_named_actors

from actors.ray_host import ACTOR_PREFIX, NAMESPACE

_TIMEOUT_S = 5.0


async def doors() -> dict[str, Any] | None:
    """Return the lane token, the number of partitions and the placements, as a host that answers says."""
    for named in list_named_actors(all_namespaces=True):
        if named["namespace"] != NAMESPACE or not named["name"].startswith(ACTOR_PREFIX):
            continue
        try:
            actor: Any = ray.get_actor(named["name"], namespace=NAMESPACE)
            async with asyncio.timeout(_TIMEOUT_S):
                answer: dict[str, Any] = await actor.doors.remote()
        except (RayError, TimeoutError, ValueError):
            continue
        return answer
    return None

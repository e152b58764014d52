"""How a program on the Ray cluster finds the hosts: by the names of their actors."""

import asyncio
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util import list_named_actors

from actors.outcomes import Unavailable
from actors.ray_host import ACTOR_PREFIX, NAMESPACE

_TIMEOUT_S = 5.0


async def doors() -> dict[str, Any] | None:
    """Return the lane token, the number of partitions and the placements, as a host that answers says.

    None when no host answers. Raises Unavailable when Ray does not.
    """
    for name in await _names():
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                actor: Any = await asyncio.to_thread(ray.get_actor, name, NAMESPACE)
                answer: dict[str, Any] = await actor.doors.remote()
        except (RayError, TimeoutError, ValueError):
            continue
        return answer
    return None


async def _names() -> list[str]:
    """Return the names of the hosts' actors. Ray blocks while it is asked: a thread waits for it."""
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            found: list[dict[str, str]] = await asyncio.to_thread(list_named_actors, all_namespaces=True)
    except (RayError, TimeoutError, RuntimeError, ConnectionError) as fault:
        message = f"Ray does not say where hosts are: {str(fault) or type(fault).__name__}"
        raise Unavailable(message) from fault
    return [
        named["name"]
        for named in found
        if named["namespace"] == NAMESPACE and named["name"].startswith(ACTOR_PREFIX)
    ]

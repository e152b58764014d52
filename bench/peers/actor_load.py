"""Load on Ray actors, one for each bin, by plain `.remote()` calls; their cluster is this process's own."""

import asyncio
import os
import secrets
from itertools import cycle
from pathlib import Path
from time import perf_counter
from typing import Any

import psutil

from bench.peers.bin_actor import BinActor
from bench.told import Told
from bench.workloads import Workload, key_from, keys_of

_CORES_EACH = 0.001
"""An actor waits nearly all of its time."""
_END_S_MAX = 60.0
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AUTH_MODE": "token",
    # Its only effect on Linux: everything is on loopback.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "OMP_NUM_THREADS": "1",
}


class ActorLoad:
    """Reserves one by one. `folder` is for what Ray writes."""

    def __init__(self, postgres_url: str, folder: str) -> None:
        os.environ.update(_ENVIRONMENT, RAY_AUTH_TOKEN=secrets.token_hex(32))
        from actors.ray_head import LocalRay, join_ray  # noqa: PLC0415 - Ray reads its environment once

        self._postgres_url = postgres_url
        self._ray = LocalRay(Path(folder))
        join_ray(self._ray.address)
        self._actors: dict[str, list[Any]] = {}

    async def close(self) -> None:
        """End the actors and the cluster."""
        from actors.ray_head import leave_ray  # noqa: PLC0415

        leave_ray()
        self._ray.stop()

    async def start(self, workload: Workload, salt: int) -> dict[str, Any]:  # noqa: ARG002 - as of every load
        """Start an actor for each bin; return the time and the memory that each took, and the processes."""
        import ray  # noqa: PLC0415

        remote: Any = ray.remote(num_cpus=_CORES_EACH)(BinActor)
        began_s = perf_counter()
        actors = [remote.remote(self._postgres_url, workload.name, index) for index in range(workload.bins)]
        started = await asyncio.gather(*(actor.start.remote() for actor in actors))
        spent_s = perf_counter() - began_s
        self._actors[workload.name] = actors
        return {
            "start_s_per_bin": spent_s / workload.bins,
            "bytes_per_bin": sum(actor["private_bytes"] for actor in started) / workload.bins,
            "pids": _pids({actor["pid"] for actor in started}),
        }

    async def closed(
        self, workload: Workload, salt: int, *, in_flight: int, warm_s: float, seconds: float
    ) -> dict[str, Any]:
        """Keep `in_flight` reserves under way: for `warm_s`, which do not count, then for `seconds`."""
        if workload.lines_max > 1:
            raise ValueError("an order is of several bins, and actors that each have one share no commit")
        actors, told = self._actors[workload.name], Told()
        bins, keys = cycle(workload.sequence(salt)), keys_of(salt)
        is_ending = False

        async def call() -> None:
            while not is_ending:
                index = next(bins)
                began_s = perf_counter()
                is_reserved = await actors[index].reserve.remote(key_from(keys), 1)
                if is_reserved:
                    told.acknowledged[index] += 1
                    told.ended_s.append(perf_counter())
                    told.spent_s.append(told.ended_s[-1] - began_s)
                else:
                    told.refused += 1

        callers = asyncio.gather(*(call() for _ in range(in_flight)))
        await asyncio.sleep(warm_s)
        from_s = perf_counter()
        await asyncio.sleep(seconds)
        until_s = perf_counter()
        is_ending = True
        async with asyncio.timeout(_END_S_MAX):
            await callers
        return told.plain(from_s, until_s)

    async def reserved(self, workload: Workload, salt: int) -> dict[str, Any]:  # noqa: ARG002 - as of every load
        """Return the units that each actor says are reserved, as `units`."""
        actors = self._actors[workload.name]
        return {"units": await asyncio.gather(*(actor.reserved.remote() for actor in actors))}


def _pids(actors: set[int]) -> dict[str, list[int]]:
    """Return the processes of this cluster by role."""
    roles = {"gcs_server": "gcs", "raylet": "raylet"}
    found: dict[str, list[int]] = {}
    for process in psutil.Process().children(recursive=True):
        role = "actors" if process.pid in actors else roles.get(process.name(), "agents")
        found.setdefault(role, []).append(process.pid)
    return found

"""Load on Ray actors, one for each bin, by plain `.remote()` calls; their cluster is this process's own."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import psutil

from bench.demand import Demand
from bench.driving import ACCEPTED, REFUSED, Drive, Driven
from bench.peers.bin_actor import BinActor
from bench.workloads import Workload

_CORES_EACH = 0.001
"""An actor waits nearly all of its time."""
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AUTH_MODE": "token",
    # Its only effect on Linux: everything is on loopback.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "OMP_NUM_THREADS": "1",
}


class ActorLoad(Driven):
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

    @asynccontextmanager
    async def sending(
        self,
        workload: Workload,
        salt: int,
        drive: Drive,
        width: int,  # noqa: ARG002 - Ray takes any number
    ) -> AsyncIterator["_Calls"]:
        """See `Driven.sending`."""
        if workload.lines_max > 1:
            raise ValueError("an order is of several bins, and actors that each have one share no commit")
        yield _Calls(self._actors[workload.name], workload, salt, drive)

    async def reserved(self, workload: Workload, salt: int) -> dict[str, Any]:  # noqa: ARG002 - as of every load
        """Return the units that each actor says are reserved, as `units`."""
        actors = self._actors[workload.name]
        return {"units": await asyncio.gather(*(actor.reserved.remote() for actor in actors))}


class _Calls:
    """Calls the actors."""

    def __init__(self, actors: list[Any], workload: Workload, salt: int, drive: Drive) -> None:
        self._actors = actors
        self._demand = Demand(workload, salt)
        self.draws = self._demand.draws
        self._drive = drive

    def send(self, number: int) -> None:
        """Call the actor of the next reserve's bin."""
        key, (index,) = self._demand.of(number)
        answer: asyncio.Future[bool] = asyncio.ensure_future(self._actors[index].reserve.remote(key, 1))
        answer.add_done_callback(partial(self._answered, number))

    def _answered(self, number: int, answer: "asyncio.Future[bool]") -> None:
        fault = answer.exception()
        if fault is not None:
            self._drive.failed(fault)
        else:
            self._drive.ended(number, ACCEPTED if answer.result() else REFUSED)


def _pids(actors: set[int]) -> dict[str, list[int]]:
    """Return the processes of this cluster by role."""
    roles = {"gcs_server": "gcs", "raylet": "raylet"}
    found: dict[str, list[int]] = {}
    for process in psutil.Process().children(recursive=True):
        role = "actors" if process.pid in actors else roles.get(process.name(), "agents")
        found.setdefault(role, []).append(process.pid)
    return found

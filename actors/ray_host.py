"""The Ray actor that hosts bins: a process for a `RunningHost`.

Ray starts and ends it; no stock operation travels by Ray.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

import ray

from actors.running_host import RunningHost

NAMESPACE = "binkeeper"
ACTOR_PREFIX = "binkeeper-"

_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - a person chose it; others are told the node's own address

BuildHost = Callable[[str, dict[str, Any]], Awaitable[RunningHost]]
"""Makes a host with its adapters from a name and plain settings, in the process that it will live in."""


def _node_address() -> str:
    """Return the address by which other nodes of the cluster reach this one."""
    address: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    return address


class BinHost:
    """What the supervisor and `bin_at` may ask of a host by Ray."""

    def __init__(self, name: str, settings: dict[str, Any], build: BuildHost) -> None:
        self._name = name
        self._settings = settings
        self._build = build
        self._running: RunningHost | None = None

    async def start(self) -> dict[str, Any]:
        """Build the host and listen; return its address, pid and node."""
        if self._running is None:
            self._running = await self._build(self._name, self._settings)
            self._running.node = ray.get_runtime_context().get_node_id()
            listen = self._settings["lane_host"]
            advertised = _node_address() if listen in _EVERYWHERE else None
            await self._running.start(listen, advertised=advertised)
        return {
            "address": self._running.address,
            "pid": os.getpid(),
            "node": ray.get_runtime_context().get_node_id(),
        }

    async def doors(self) -> dict[str, Any]:
        """Return what a program on the cluster needs to reach the lanes."""
        return {
            "token": self._settings["lane_token"],
            "partitions": self._settings["partitions"],
            "placements": [list(placement) for placement in await self._placements()],
        }

    async def _placements(self) -> list[tuple[int, str, str, int]]:
        assert self._running is not None
        return [tuple(placement) for placement in await self._running.directory.placements()]  # type: ignore[misc]

    async def stop(self) -> None:
        """Finish what was promised."""
        if self._running is not None:
            await self._running.stop()
            self._running = None
        await asyncio.sleep(0)


RemoteBinHost = ray.remote(num_cpus=0, max_restarts=0, max_task_retries=0)(BinHost)

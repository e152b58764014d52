"""The load generator's process: `python -m bench.load KIND`, so that nothing else takes turns with it.

The first line on stdin says where to connect, as JSON; each further line asks for one load, and its answer is
a line on stdout. It ends when stdin does.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable
from typing import Any, Protocol

import uvloop

from bench.workloads import Workload


class Load(Protocol):
    """Something that makes load; each of its methods that takes a workload and a salt can be asked for."""

    def close(self) -> Awaitable[None]:
        """Let go of its connections."""


async def connected(kind: str, connection: dict[str, Any]) -> Load:
    """Return a load of a kind; only its modules are imported."""
    if kind == "lanes":
        from bench.lanes_load import LanesLoad  # noqa: PLC0415

        return LanesLoad.connect(**connection)
    if kind == "http":
        from bench.http_load import HttpLoad  # noqa: PLC0415

        return HttpLoad(**connection)
    if kind == "open-lanes":
        from bench.open_lanes import OpenLanes  # noqa: PLC0415

        return OpenLanes.connect(**connection)
    if kind == "open-http":
        from bench.open_http import OpenHttp  # noqa: PLC0415

        return OpenHttp(**connection)
    if kind == "copy":
        from bench.peers.copy_load import CopyLoad  # noqa: PLC0415

        return await CopyLoad.connect(**connection)
    if kind == "redis":
        from bench.peers.redis_load import RedisLoad  # noqa: PLC0415

        return RedisLoad(**connection)
    if kind == "ray-actors":
        from bench.peers.actor_load import ActorLoad  # noqa: PLC0415

        return ActorLoad(**connection)
    if kind == "tigerbeetle":
        from bench.peers.tigerbeetle_load import TigerBeetleLoad  # noqa: PLC0415

        return TigerBeetleLoad(**connection)
    raise ValueError(f"there is no load {kind!r}")


async def serve(kind: str) -> None:
    """Make the loads that are asked for, one after another."""
    load = await connected(kind, json.loads(sys.stdin.readline()))
    loop = asyncio.get_running_loop()
    try:
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            asked = json.loads(line)
            perform = getattr(load, asked.pop("do"))
            workload = Workload.read(asked.pop("workload"))
            try:
                answer = await perform(workload, asked.pop("salt"), **asked)
            except Exception as fault:  # noqa: BLE001 - told to whoever asked
                answer = {"failed": f"{type(fault).__name__}: {fault}"}
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
    finally:
        await load.close()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))

"""The load generator's process: `python -m bench.load KIND`, so that nothing else takes turns with it.

The first line on stdin says where to connect, as JSON; each further line asks for one load, and its answer is
a line on stdout. It ends when stdin does.
"""

import asyncio
import inspect
import json
import os
import sys
from collections.abc import Awaitable
from importlib import import_module
from typing import Any, Protocol, TextIO, cast

import uvloop

from bench.workloads import Workload


class Load(Protocol):
    """Something that makes load; each of its methods that takes a workload and a salt can be asked for."""

    def close(self) -> Awaitable[None]:
        """Let go of its connections."""


_KINDS = {
    "lanes": "bench.lanes_load:LanesLoad",
    "warehouse": "bench.warehouse_load:WarehouseLoad",
    "broadcast": "bench.broadcast_load:BroadcastLoad",
    "http": "bench.http_load:HttpLoad",
    "http-batches": "bench.batches_load:BatchesLoad",
    "open-lanes": "bench.open_lanes:OpenLanes",
    "open-http": "bench.open_http:OpenHttp",
    "copy": "bench.peers.copy_load:CopyLoad",
    "procedure": "bench.peers.procedure_load:ProcedureLoad",
    "batched": "bench.peers.batched_load:BatchedLoad",
    "redis": "bench.peers.redis_load:RedisLoad",
    "ray-actors": "bench.peers.actor_load:ActorLoad",
    "tigerbeetle": "bench.peers.tigerbeetle_load:TigerBeetleLoad",
}


async def connected(kind: str, connection: dict[str, Any]) -> Load:
    """Return a load of a kind; only its modules are imported. A class may have a `connect` of its own."""
    module, _, name = _KINDS[kind].partition(":")
    made = getattr(import_module(module), name)
    load = getattr(made, "connect", made)(**connection)
    return cast("Load", await load if inspect.isawaitable(load) else load)


def _own_stdout() -> TextIO:
    """Return a stdout that is ours alone: what libraries print there goes to stderr from now on."""
    own = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return own


async def serve(kind: str) -> None:
    """Make the loads that are asked for, one after another."""
    told = _own_stdout()
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
            told.write(json.dumps(answer) + "\n")
            told.flush()
    finally:
        await load.close()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))

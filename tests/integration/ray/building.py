"""A host on memory adapters, made in the process of a Ray actor."""

import time
from typing import Any

from actors.host import Host
from actors.host_options import HostOptions
from actors.running_host import RunningHost
from persistence.memory import (
    MemoryCursors,
    MemoryDatabase,
    MemoryDirectory,
    MemoryLedger,
    MemorySnapshots,
    MemoryStreams,
)


async def build(name: str, settings: dict[str, Any]) -> RunningHost:
    database = MemoryDatabase(settings["partitions"])
    host = Host(
        HostOptions(name),
        MemoryLedger(database, name),
        MemorySnapshots(database),
        lambda: time.time_ns() // 1_000_000,
    )
    return RunningHost(
        host,
        MemoryStreams(),
        MemoryCursors(database),
        MemoryDirectory(database),
        token=settings["lane_token"],
        partitions=settings["partitions"],
    )

"""Puts a bin host together from its settings, in the process that it will live in."""

import os
import time
from typing import Any

from actors.host import Host
from actors.host_options import HostOptions
from actors.running_host import RunningHost
from binkeeper.garbage import tidy_memory, tune_process
from binkeeper.logs import log_without_failing
from persistence.nats.streams import NatsStreams
from persistence.postgres import (
    PostgresCursors,
    PostgresDirectory,
    PostgresLedger,
    PostgresSnapshots,
    Sessions,
)

_BROKEN_EXIT = 70
"""EX_SOFTWARE: an invariant did not hold; a fresh host recovers from the ledger."""


def now_ms() -> int:
    """Return the time in milliseconds UTC."""
    return time.time_ns() // 1_000_000


async def build_host(name: str, settings: dict[str, Any]) -> RunningHost:
    """Connect a host to its servers. Raises Unavailable or UnsafeDatabase.

    `settings`: postgres_url, nats_url, lane_token, partitions, max_in_flight, key_window,
    snapshot_interval_s, log_level; plain values, since they cross processes.
    """
    log_without_failing(settings["log_level"])
    tune_process()
    unique = f"{name}-{os.getpid()}-{now_ms() % 1_000_000}"
    sessions = Sessions(settings["postgres_url"], unique, size=6)
    options = HostOptions(
        unique,
        max_in_flight=settings["max_in_flight"],
        key_window=settings["key_window"],
        snapshot_interval_s=settings["snapshot_interval_s"],
    )
    host = Host(options, await PostgresLedger.open(sessions), PostgresSnapshots(sessions), now_ms)
    host.on_quiet = tidy_memory
    return RunningHost(
        host,
        NatsStreams(settings["nats_url"]),
        PostgresCursors(sessions),
        PostgresDirectory(sessions),
        token=settings["lane_token"],
        partitions=settings["partitions"],
        on_broken=_end_process,
    )


def _end_process(_: BaseException) -> None:
    os._exit(_BROKEN_EXIT)

"""Puts a bin host together from its settings, in the process that it will live in."""

import contextlib
import ctypes
import gc
import logging
import os
import time
from typing import Any

import structlog

from actors.host import Host, HostOptions
from actors.running_host import RunningHost
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


_YOUNG = 10_000
"""New objects at which garbage is collected: 2 ms. With 200,000 it was 45 ms, and nothing was answered."""


def now_ms() -> int:
    """Return the time in milliseconds UTC."""
    return time.time_ns() // 1_000_000


async def build_host(name: str, settings: dict[str, Any]) -> RunningHost:
    """Connect a host to its servers. Raises Unavailable or UnsafeDatabase.

    `settings`: postgres_url, nats_url, lane_token, partitions, max_in_flight, key_window,
    snapshot_interval_s, log_level; plain values, since they cross processes.
    """
    level = logging.getLevelNamesMapping()[settings["log_level"].upper()]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(level))
    _tune_process()
    unique = f"{name}-{os.getpid()}-{now_ms() % 1_000_000}"
    sessions = Sessions(settings["postgres_url"], unique, size=6)
    options = HostOptions(
        unique,
        max_in_flight=settings["max_in_flight"],
        key_window=settings["key_window"],
        snapshot_interval_s=settings["snapshot_interval_s"],
    )
    host = Host(options, await PostgresLedger.open(sessions), PostgresSnapshots(sessions), now_ms)
    host.on_quiet = _tidy_memory
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


def _tune_process() -> None:
    """Look at each new object once: reference counting frees bins, and nothing else makes many that stay.

    What survives its first collection is frozen. Else a host with a million bins would look at all of them
    again and again, and stand still for a second each time.
    """
    _tidy_memory()
    gc.set_threshold(_YOUNG, 1_000_000, 1_000_000)
    gc.callbacks.append(_freeze_survivors)


def _freeze_survivors(phase: str, _: dict[str, int]) -> None:
    if phase == "stop":
        gc.freeze()


def _tidy_memory() -> None:
    """Collect what is new since the last time, and give free memory back: 200 bytes a bin after a large load.

    What is left is frozen, so that no collection looks at it again: the state of bins has no cycles.
    """
    gc.collect()
    gc.freeze()
    with contextlib.suppress(OSError, AttributeError):  # Another C library has no such call.
        ctypes.CDLL("libc.so.6").malloc_trim(0)

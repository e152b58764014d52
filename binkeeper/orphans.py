"""Processes that lost their parent: they come to the launcher, which ends them.

Ray starts processes of its own. When the one that started them is killed, the kernel hands them to the
nearest subreaper among their ancestors, and that is the launcher: so it finds them all, whatever they are.
"""

import contextlib
import ctypes
import os
import time
from collections.abc import Collection, Mapping

import psutil

_PR_SET_CHILD_SUBREAPER = 36
_PATIENCE_S = 5.0
_POLL_S = 0.02
_START_TIME_TOLERANCE_S = 1.0


def adopt_orphans() -> None:
    """From now on, descendants of this process whose parent ends become its children."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_orphans(known: Collection[int]) -> int:
    """Kills every adopted child that is not `known`, and theirs; how many there were.

    Helpers that this process runs itself share its session, and are left alone.
    """
    ended: set[int] = set()
    deadline = time.monotonic() + _PATIENCE_S
    while orphans := _orphans(known):
        for orphan in orphans:
            with contextlib.suppress(psutil.NoSuchProcess):
                orphan.kill()
            with contextlib.suppress(ChildProcessError):
                os.waitpid(orphan.pid, os.WNOHANG)
            ended.add(orphan.pid)
        if time.monotonic() > deadline:
            break
        time.sleep(_POLL_S)
    return len(ended)


def end_leftovers(processes: Collection[dict[str, object]]) -> int:
    """Kills processes that an earlier launcher listed and that still run; how many there were.

    A pid that belongs to a younger process by now is somebody else's, and is left alone.
    """
    ended = 0
    for entry in processes:
        process = listed_process(entry)
        if process is not None and process.pid != os.getpid():
            with contextlib.suppress(psutil.Error):
                process.kill()
                ended += 1
    return ended


def listed_process(entry: Mapping[str, object]) -> psutil.Process | None:
    """The process that `{pid, started}` tells of; None when it has ended, or its pid is another's by now."""
    pid, started = entry.get("pid"), entry.get("started")
    if isinstance(pid, int) and isinstance(started, int | float):
        with contextlib.suppress(psutil.Error, ValueError):
            process = psutil.Process(pid)
            if abs(process.create_time() - started) < _START_TIME_TOLERANCE_S:
                return process
    return None


def _orphans(known: Collection[int]) -> list[psutil.Process]:
    own_session = os.getsid(0)
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            if child.pid not in known and os.getsid(child.pid) != own_session:
                found.append(child)
    return found

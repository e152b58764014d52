"""Ends what an earlier run left behind in a data folder, before that folder is used again.

A server that still runs there is ours by definition, since the launcher holds the home's lock. Its pid file
is not asked: after a crash the pid may belong to anybody. Postgres and NATS work in their data folder, so the
folder a process works in is what tells.
"""

import os
import signal
import time
from pathlib import Path

_POLITE_S = 10.0
_FIRM_S = 5.0
_POLL_S = 0.02


def processes_in(folder: Path) -> list[int]:
    """The ids of the processes whose working folder is `folder`, the oldest first."""
    wanted = os.path.realpath(folder)
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if str((entry / "cwd").readlink()) == wanted:
                found.append(int(entry.name))
        except OSError:  # It ended meanwhile, or belongs to somebody else.
            continue
    return sorted(found)


def end_processes_in(folder: Path) -> None:
    """Ends every process that works in `folder`: by SIGINT, and those that stay, by SIGKILL."""
    for signal_number, patience_s in ((signal.SIGINT, _POLITE_S), (signal.SIGKILL, _FIRM_S)):
        for pid in processes_in(folder):
            try:
                os.kill(pid, signal_number)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + patience_s
        while processes_in(folder):
            if time.monotonic() > deadline:
                break
            time.sleep(_POLL_S)
        else:
            return

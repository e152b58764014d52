"""Who runs: the list of processes in the home, for `binkeeper status` and for the next `up`."""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import psutil
from rich.markup import escape

from binkeeper.home import Home
from binkeeper.kept import Kept


class Roster:
    """The launcher's children, and the processes that they report."""

    def __init__(self, home: Home, kept: list[Kept], say: Callable[[str], None]) -> None:
        self._home = home
        self._kept = kept
        self._say = say
        self.reported: list[dict[str, Any]] = []
        """What the supervisor says of its own: hosts, and Ray's processes."""
        self._unwritten: str | None = None
        """Why the home's files could not be written the last time."""

    def children(self) -> dict[int, str]:
        """Return the launcher's own children: roles by pid."""
        return {kept.child.pid: kept.role for kept in self._kept if kept.child is not None}

    def write(self) -> None:
        """Write the list as it is now."""
        own = {os.getpid(): "up", **self.children()}
        entries: list[dict[str, Any]] = [{"role": role, "pid": pid} for pid, role in own.items()]
        entries += [entry for entry in self.reported if entry.get("pid") not in own]
        listed = []
        for entry in entries:
            with contextlib.suppress(psutil.Error, TypeError, ValueError):
                listed.append({**entry, "started": psutil.Process(entry["pid"]).create_time()})
        with self.told_when_unwritten():
            self._home.write_processes(listed, others=self._offspring())

    @contextlib.contextmanager
    def told_when_unwritten(self) -> Iterator[None]:
        """Say once that the disk takes no files, and go on: what runs is worth more than a list of it."""
        try:
            yield
        except OSError as error:
            why = error.strerror or type(error).__name__
            if why != self._unwritten:
                self._say(f"[red]{escape(f'cannot write in {self._home.folder}: {why}')}[/]")
            self._unwritten = why
        else:
            self._unwritten = None

    def _offspring(self) -> list[dict[str, Any]]:
        """What the supervisor's processes started themselves: an up that finds it left behind must end it."""
        found = []
        for kept in self._kept:
            if kept.role == "supervisor" and kept.child is not None:
                with contextlib.suppress(psutil.Error):
                    offspring = psutil.Process(kept.child.pid).children(recursive=True)
                    found += [{"pid": process.pid, "started": process.create_time()} for process in offspring]
        return found

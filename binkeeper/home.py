"""The home folder: one instance at a time, room to write, and the files that tell others what runs."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from binkeeper.errors import StartError
from binkeeper.secret import write_private

FREE_BYTES_MIN = 512 * 1024 * 1024


class Home:
    """The folder that one `up` owns while it runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock: int | None = None

    def claim(self) -> None:
        """Takes the home for this process until it ends.

        Raises StartError when another instance holds it, or when nothing can be written there.
        """
        try:
            if not self.folder.exists():
                # Others may pass through to the database's files, which a different user owns under root.
                self.folder.mkdir(mode=0o711, parents=True)
            descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StartError(f"cannot use {self.folder} as home: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise StartError(
                f"another Binkeeper (pid {holder}) uses {self.folder}: stop it, or give another --home"
            ) from error
        self._lock = descriptor
        self._check_free_space()
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Gives the home up and removes the files that told what ran."""
        for file in (self.processes_file, self.run_file):
            file.unlink(missing_ok=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def processes_file(self) -> Path:
        """Which processes run, by role."""
        return self.folder / "processes.json"

    @property
    def run_file(self) -> Path:
        """Where the running server answers, and its administrator's token."""
        return self.folder / "run.json"

    def log_file(self, role: str) -> Path:
        """Where the process in `role` writes what it has to say."""
        return self.folder / "logs" / f"{role}.log"

    def write_processes(
        self, processes: Iterable[dict[str, Any]], others: Iterable[dict[str, Any]] = ()
    ) -> None:
        """Replaces the list of running processes. `others` have no role, and are ended like the rest."""
        content = {"processes": list(processes), "others": list(others)}
        write_private(self.processes_file, json.dumps(content, indent=1) + "\n")

    def read_processes(self, *, others: bool = False) -> list[dict[str, Any]]:
        """The processes last written, or none; on request those without a role too."""
        content = _read_json(self.processes_file)
        listed = [*content.get("processes", []), *(content.get("others", []) if others else [])]
        return [entry for entry in listed if isinstance(entry, dict) and isinstance(entry.get("pid"), int)]

    def write_run(self, **known: str) -> None:
        """Writes what a client needs to connect."""
        write_private(self.run_file, json.dumps(known, indent=1) + "\n")

    def read_run(self) -> dict[str, Any]:
        """What `write_run` wrote, or nothing."""
        return _read_json(self.run_file)

    def _check_free_space(self) -> None:
        free = shutil.disk_usage(self.folder).free
        if free < FREE_BYTES_MIN:
            raise StartError(
                f"only {free // 2**20} MB free on the disk of {self.folder}: "
                f"free at least {FREE_BYTES_MIN // 2**20} MB, or give another --home"
            )


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    except OSError as error:
        raise StartError(f"cannot read {file}: {error.strerror}") from error
    return content if isinstance(content, dict) else {}

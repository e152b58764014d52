"""Homes for embedded servers, and the launcher run as the person runs it: as a process of its own."""

import contextlib
import json
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from binkeeper.ports import kept_port
from tests.waiting import wait_until

DEADLINE_S = 60.0


class RunningUp:
    """The launcher with fake children of its own, on real Postgres and NATS."""

    def __init__(self, home: Path, port: int, mode: str) -> None:
        self.home = home
        script = Path(__file__).with_name("run_up.py")
        self.process = subprocess.Popen(
            [sys.executable, str(script), str(home), str(port), mode],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._queue.put(line.rstrip())
        self._queue.put(None)

    def until_line(self, part: str) -> str:
        """Reads on until a line that holds `part`."""
        while (line := self._queue.get(timeout=DEADLINE_S)) is not None:
            self.lines.append(line)
            if part in line:
                return line
        raise AssertionError(f"ended without {part!r}: {self.lines}")

    def until_ready(self) -> "RunningUp":
        self.until_line("Binkeeper is ready")
        return self

    def until_end(self) -> int:
        """Waits for the end; all lines are in `lines` then."""
        code = self.process.wait(DEADLINE_S)
        while (line := self._queue.get(timeout=DEADLINE_S)) is not None:
            self.lines.append(line)
        return code

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.until_end()

    def processes(self) -> dict[str, int]:
        """Role to pid, as told in the home."""
        content = json.loads((self.home / "processes.json").read_text())
        return {entry["role"]: entry["pid"] for entry in content["processes"]}

    def run_file(self) -> dict[str, str]:
        return json.loads((self.home / "run.json").read_text())

    def family(self) -> list[psutil.Process]:
        """The launcher and all that comes of it."""
        launcher = psutil.Process(self.process.pid)
        return [launcher, *launcher.children(recursive=True)]


def none_left(processes: list[psutil.Process]) -> bool:
    """Whether all of them end within the deadline."""
    return not psutil.wait_procs(processes, timeout=DEADLINE_S)[1]


def _remove(home: Path) -> None:
    pointer = home / "postgres" / "location"
    if pointer.exists():
        shutil.rmtree(pointer.read_text().strip(), ignore_errors=True)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def home() -> Iterator[Path]:
    """A home that `nobody` can pass through, unlike pytest's own temporary folders."""
    folder = Path(tempfile.mkdtemp(prefix="binkeeper-test-"))
    folder.chmod(0o711)
    yield folder
    _remove(folder)


@pytest.fixture(scope="module")
def lasting_home() -> Iterator[Path]:
    """A home that a module's tests use one after another, so that its database is made once."""
    folder = Path(tempfile.mkdtemp(prefix="binkeeper-test-"))
    folder.chmod(0o711)
    yield folder
    _remove(folder)


@pytest.fixture
def free_port(tmp_path: Path) -> int:
    return kept_port(tmp_path / "port")


@pytest.fixture
def start_up(free_port: int) -> Iterator[Callable[..., RunningUp]]:
    """Starts launchers, and ends them after the test whatever happened."""
    started: list[RunningUp] = []

    def start(home: Path, *, mode: str = "serve", port: int = free_port) -> RunningUp:
        started.append(RunningUp(home, port, mode))
        return started[-1]

    yield start
    for run in started:
        if run.process.poll() is None:
            family = run.family()
            for process in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            assert none_left(family)
        run.process.wait()


@pytest.fixture
def eventually() -> Callable[[Callable[[], Any], str], Any]:
    return wait_until


@pytest.fixture
def all_ended() -> Callable[[list[psutil.Process]], bool]:
    return none_left

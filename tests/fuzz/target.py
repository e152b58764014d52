"""What the fuzzers attack, and what must hold of it: it lives, and its memory stays bounded."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import psutil

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Target:
    """A product that is attacked."""

    url: str
    token: str
    lanes: str
    """host:port of a bin host."""
    pids: tuple[int, ...]
    """Processes that must live, and whose memory is watched."""
    patience_s: float
    """How long it waits for peers that are late."""

    def memory_bytes(self) -> int:
        """Return the resident memory of all of it. Raises psutil.NoSuchProcess when one has ended."""
        return sum(psutil.Process(pid).memory_info().rss for pid in self.pids)


@contextmanager
def own_target() -> Iterator[Target]:
    """Run the product in a process of its own, on memory adapters."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fuzz.target_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    last: list[str] = []
    reader = threading.Thread(target=_keep_last, args=(process, last), daemon=True)
    reader.start()
    try:
        told = json.loads(process.stdout.readline() or "{}")
        assert told, f"the target did not start: {last}"
        yield Target(**told, pids=(process.pid,), patience_s=1.0)
        assert process.poll() is None, f"the target ended with {process.returncode}: {last[-30:]}"
    finally:
        process.kill()
        process.wait()


def _keep_last(process: "subprocess.Popen[str]", last: list[str]) -> None:
    """Read what the target logs, so that it never waits for a reader; keep the end of it."""
    assert process.stderr is not None
    for line in process.stderr:
        last.append(line.rstrip())
        del last[:-100]


def own_memory_bytes() -> int:
    """Return the resident memory of this process, for fuzzers whose target runs in it."""
    return int(psutil.Process().memory_info().rss)


class MemoryWatch:
    """Looks ten times a second, from a thread, at how much memory something says that it has."""

    def __init__(self, memory_bytes: Callable[[], int]) -> None:
        self._memory_bytes = memory_bytes
        self._is_over = threading.Event()
        self.before_bytes = self.most_bytes = self.after_bytes = 0

    def __enter__(self) -> Self:
        self.before_bytes = self.most_bytes = self._memory_bytes()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        self.after_bytes = self._memory_bytes()

    def _look(self) -> None:
        while not self._is_over.wait(0.1):
            self.most_bytes = max(self.most_bytes, self._memory_bytes())

    def check(self, *, growth_bytes_max: int, peak_bytes_max: int) -> str:
        """Return the figures. Raises AssertionError when the target took more than that."""
        before, most, after = (
            count // MIB for count in (self.before_bytes, self.most_bytes, self.after_bytes)
        )
        told = f"{before} MiB before, {most} at most, {after} after"
        assert self.after_bytes - self.before_bytes <= growth_bytes_max, told
        assert self.most_bytes - self.before_bytes <= peak_bytes_max, told
        return told

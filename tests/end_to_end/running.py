"""`binkeeper up` as a process of its own, with what a caller needs to talk to it."""

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Self

import httpx
import psutil

from binkeeper.ports import kept_port

DEADLINE_S = 120.0


class Running:
    """One home, and the `up` that runs on it."""

    def __init__(self, parent: Path | None = None, **settings: str) -> None:
        """`parent` is where the home is made; `settings` are variables, without their prefix."""
        self.environment = {f"BINKEEPER_{name.upper()}": value for name, value in settings.items()}
        self.home = Path(tempfile.mkdtemp(prefix="bk-", dir=parent))
        self.home.chmod(0o711)  # The database's own user passes through it.
        self.port = kept_port(self.home / "http.port")
        self.ready_s = 0.0
        self.lines: list[tuple[float, str]] = []
        """What `up` printed, with the time."""
        self._queue: queue.Queue[str | None] = queue.Queue()

    def start(self) -> Self:
        """Start `up` and wait until it says that it is ready."""
        began_s = time.monotonic()
        self._queue = queue.Queue()
        self.process = subprocess.Popen(
            [*self.command("up"), "--port", str(self.port), "--no-demo"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **self.environment},
        )
        threading.Thread(target=self._read, daemon=True).start()
        self.until_line("Binkeeper is ready")
        self.ready_s = time.monotonic() - began_s
        return self

    def _read(self) -> None:
        assert self.process.stdout is not None
        lines = self._queue
        for line in self.process.stdout:
            self.lines.append((time.monotonic(), line.rstrip()))
            lines.put(line.rstrip())
        lines.put(None)

    def until_line(self, part: str) -> str:
        """Wait for the next line that holds `part`."""
        while (line := self._queue.get(timeout=DEADLINE_S)) is not None:
            if part in line:
                return line
        raise AssertionError(f"ended without {part!r}: {[line for _, line in self.lines]}")

    def command(self, *words: str) -> list[str]:
        """Return a `binkeeper` command on this home."""
        return [sys.executable, "-m", "binkeeper", *words, "--home", str(self.home)]

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a `binkeeper` command on this home to its end."""
        return subprocess.run(
            self.command(*words), capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )

    @property
    def run(self) -> dict[str, str]:
        """What `HOME/run.json` says."""
        return json.loads((self.home / "run.json").read_text())

    def http(self, connections: int = 100) -> httpx.AsyncClient:
        """Return an HTTP client with the administrator's token."""
        run = self.run
        return httpx.AsyncClient(
            base_url=run["url"] + "/v1",
            headers={"Authorization": f"Bearer {run['token']}"},
            timeout=60.0,
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            trust_env=False,
        )

    def pids(self, role: str) -> list[int]:
        """Return the processes of a role, as `binkeeper status --json` gives them."""
        content = json.loads((self.home / "processes.json").read_text())
        return [entry["pid"] for entry in content["processes"] if entry["role"] == role]

    def family(self) -> list[psutil.Process]:
        """Return `up` and everything that it started."""
        launcher = psutil.Process(self.process.pid)
        return [launcher, *launcher.children(recursive=True)]

    def interrupt(self) -> int:
        """Press Ctrl-C and wait for the end; return the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(DEADLINE_S)

    def kill(self, role: str) -> int:
        """Kill the process that serves in a role by signal 9; return its pid."""
        pid = self.pids(role)[0]
        os.kill(pid, signal.SIGKILL)
        return pid

    def end(self) -> None:
        """Leave nothing behind, whatever happened."""
        if self.process.poll() is None:
            family = self.family()
            self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(30)
            for process in psutil.wait_procs(family, timeout=5)[1]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        pointer = self.home / "postgres" / "location"
        if pointer.exists():
            shutil.rmtree(pointer.read_text().strip(), ignore_errors=True)
        shutil.rmtree(self.home, ignore_errors=True)


async def receive(
    http: httpx.AsyncClient, site: str, sku: str, quantity: int, location: str = "A-01"
) -> None:
    """Put units into a bin."""
    body = {"site": site, "sku": sku, "location": location, "quantity": quantity}
    answer = await http.post("/stock/receive", json=body)
    assert answer.status_code == 201, answer.text


async def stock_of(http: httpx.AsyncClient, site: str, sku: str) -> dict[str, Any]:
    """Return a SKU's stock."""
    answer = await http.get(f"/stock/{site}/{sku}")
    assert answer.status_code == 200, answer.text
    return answer.json()

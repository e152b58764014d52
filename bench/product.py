"""The product under measurement: `binkeeper up` as anyone runs it, on a fresh home, everything embedded."""

import asyncio
import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psutil

from bench.load_process import LoadFailed

_START_S_MAX = 90.0
_STOP_S_MAX = 40.0
_POLL_S = 0.02
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
_SOURCE = Path(__file__).parents[1]
_NOT_OURS = ("HOME", "HTTP_HOST", "HTTP_PORT", "POSTGRES_URL", "NATS_URL", "RAY_ADDRESS")
"""Settings that would lead to somebody's own stock; all others hold for the measurement too."""


class Product:
    """A running product and its folder."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self.home = folder / "home"
        self._process = process
        self._run: dict[str, str] = {}

    @classmethod
    @contextlib.asynccontextmanager
    async def started(cls) -> AsyncIterator["Product"]:
        """A product on a fresh home; both are gone afterwards. Raises LoadFailed when it does not start."""
        folder = _fresh_folder()
        product = None
        try:
            product = cls(folder, _start(folder))
            await product._until_ready()
            yield product
        finally:
            if product is not None:
                await asyncio.shield(product._stop())
            shutil.rmtree(folder, ignore_errors=True)

    async def _until_ready(self) -> None:
        deadline_s = time.monotonic() + _START_S_MAX
        while not (run := _read(self.home / "run.json")):
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                raise LoadFailed(f"binkeeper did not start: {self._last_line()}")
            await asyncio.sleep(_POLL_S)
        self._run = run

    async def _stop(self) -> None:
        """Stop everything as Ctrl-C does; what the database keeps outside the home goes too."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            await asyncio.to_thread(self._process.wait, _STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        location = self.home / "postgres" / "location"
        if location.exists():
            shutil.rmtree(location.read_text(encoding="utf-8").strip(), ignore_errors=True)

    def _last_line(self) -> str:
        lines = (self.folder / "up.log").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    # Where it answers

    @property
    def postgres_url(self) -> str:
        """The product's database."""
        return self._run["postgres_url"]

    @property
    def nats_url(self) -> str:
        """Its broadcast."""
        return self._run["nats_url"]

    def database_url(self, name: str) -> str:
        """Another database on the product's server."""
        return urlunsplit(urlsplit(self.postgres_url)._replace(path=f"/{name}"))

    @property
    def http(self) -> tuple[str, int, str]:
        """The API's host, port and token."""
        parts = urlsplit(self._run["url"])
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port, self._run["token"]

    @property
    def lane_token(self) -> str:
        """What a lane says at connect."""
        return (self.home / "lane.token").read_text(encoding="utf-8").strip()

    # Its processes

    def processes(self) -> list[dict[str, Any]]:
        """Return the processes that the product lists, each with role and pid."""
        listed: list[dict[str, Any]] = _read(self.home / "processes.json").get("processes", [])
        return listed

    def host_pids(self) -> list[int]:
        """Return the processes of bin hosts, those that stand by too."""
        return [entry["pid"] for entry in self.processes() if entry.get("role") == "host"]

    def cpu_s(self) -> dict[str, float]:
        """Return the CPU seconds that each role has used, children included."""
        used: dict[str, float] = {}
        roles = {entry["pid"]: str(entry["role"]) for entry in self.processes() if entry.get("role")}
        for pid, role in roles.items():
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(pid)
                # Postgres's own children do its work; other parents' are listed by themselves.
                family = [process, *process.children()] if role == "postgres" else [process]
                for member in family:
                    with contextlib.suppress(psutil.Error):
                        times = member.cpu_times()
                        used[role] = used.get(role, 0.0) + times.user + times.system
        return used


def _fresh_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="bk-bench-", dir=durable_folder()))
    folder.chmod(0o711)  # Under root, the database's user must be able to pass through.
    return folder


def _start(folder: Path) -> subprocess.Popen[bytes]:
    port = free_port()
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in {f"BINKEEPER_{suffix}" for suffix in _NOT_OURS}
    }
    paths = [str(_SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])]
    with (folder / "up.log").open("wb") as log:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "binkeeper", "up"),
                *("--home", str(folder / "home"), "--port", str(port), "--no-demo"),
            ],
            cwd=folder,  # Where no .env is.
            env={**kept, "PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches us alone, and we stop it in order.
            preexec_fn=_end_with_parent,  # noqa: PLW1509 - one system call
        )


def _end_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def durable_folder() -> Path:
    """Return a folder for temporary data on a real disk: in memory, a durable commit would be free."""
    for folder in (Path(tempfile.gettempdir()), Path("/var/tmp"), Path.cwd()):  # noqa: S108 - on disk by convention
        if folder.is_dir() and os.access(folder, os.W_OK) and filesystem(folder) not in {"tmpfs", "ramfs"}:
            return folder
    raise LoadFailed("no folder on a disk: set TMPDIR to one")


def filesystem(folder: Path) -> str:
    """Return the kind of filesystem that a folder lies on."""
    mounts = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
    for place in (folder.resolve(), *folder.resolve().parents):
        if place in mounts:
            return mounts[place]
    return "unknown"


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}

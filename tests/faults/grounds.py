"""Where faults are played: `binkeeper up` as it is, with a second API, behind a proxy, or on a small disk."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from binkeeper.embedded.postgres import EmbeddedPostgres
from binkeeper.ports import kept_port
from tests.end_to_end.running import Running
from tests.faults.proxy import PostgresProxy

ROOT = Path(__file__).parents[2]
SMALL_DISK_MB = 1_500
"""`binkeeper up` refuses to start with less than 512 MB free; an empty database and Ray take 200."""
_PAGE_BYTES = 4096


@contextmanager
def running(parent: Path | None = None, **settings: str) -> Iterator[Running]:
    """`binkeeper up` on a fresh home."""
    binkeeper = Running(parent, **settings)
    try:
        yield binkeeper.start()
    finally:
        binkeeper.end()


@contextmanager
def second_api(binkeeper: Running, seed: int) -> Iterator[tuple[str, Path]]:
    """Another API on the same hosts, whose lanes are cut while a file is there; its URL, and the file."""
    port = kept_port(binkeeper.home / "second.port")
    flag = binkeeper.home / "lanes.cut"
    run = binkeeper.run
    settings = {
        "BINKEEPER_HOME": str(binkeeper.home),
        "BINKEEPER_HTTP_PORT": str(port),
        "BINKEEPER_POSTGRES_URL": run["postgres_url"],
        "BINKEEPER_NATS_URL": run["nats_url"],
    }
    with (binkeeper.home / "logs" / "second-api.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.api_behind_proxy", str(flag), str(seed)],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, **settings},
            cwd=ROOT,
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert '"ready"' in line, line
            yield f"http://127.0.0.1:{port}", flag
        finally:
            process.kill()
            process.wait(10)


@contextmanager
def behind_proxy(seed: int) -> Iterator[tuple[Running, PostgresProxy]]:
    """`binkeeper up` whose way to Postgres leads through a proxy."""
    with EmbeddedPostgres.temporary() as postgres:
        proxy = PostgresProxy(postgres.url, seed)
        try:
            with running(postgres_url=proxy.url) as binkeeper:
                yield binkeeper, proxy
        finally:
            proxy.close()


Fill = Callable[[], Awaitable[Callable[[], None]]]
"""Fills a disk; returns what makes room again."""


@contextmanager
def small_disk() -> Iterator[tuple[Running, Fill]]:
    """`binkeeper up` on a file system of its own in memory, which only root may mount."""
    folder = Path(tempfile.mkdtemp(prefix="bk-disk-"))
    options = f"size={SMALL_DISK_MB}m,mode=0711"
    subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", options, "binkeeper", str(folder)], check=True)
    try:
        with running(folder) as binkeeper:
            assert not (binkeeper.home / "postgres" / "location").exists(), "the data lies elsewhere"

            async def fill() -> Callable[[], None]:
                ballast = folder / "ballast"
                await asyncio.to_thread(_fill, ballast)
                return ballast.unlink

            yield binkeeper, fill
    finally:
        subprocess.run(["/bin/umount", "--lazy", str(folder)], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _fill(ballast: Path) -> None:
    """Take all the room there is, in ever smaller pieces."""
    with ballast.open("wb") as file:
        size, piece = 0, 64 * 1024 * 1024
        while piece >= _PAGE_BYTES:
            try:
                os.posix_fallocate(file.fileno(), size, piece)
            except OSError:
                piece //= 2
            else:
                size += piece

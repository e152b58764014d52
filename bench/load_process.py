"""The parent's end of a load generator's process."""

import asyncio
import json
import sys
from typing import Any, Self

import psutil

from bench.workloads import Workload

_ANSWER_BYTES_MAX = 64 * 1024 * 1024
_END_S_MAX = 10.0


class LoadFailed(Exception):
    """A load could not be made as asked; there is no figure."""


class LoadProcess:
    """A process that makes load of one kind, one load at a time."""

    def __init__(self, kind: str, process: asyncio.subprocess.Process) -> None:
        self._kind = kind
        self._process = process

    @classmethod
    async def start(cls, kind: str, **connection: Any) -> Self:  # noqa: ANN401 - plain values
        """Start the process; `connection` is what its load takes (see `bench.load`)."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.load", kind),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_ANSWER_BYTES_MAX,
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(connection).encode() + b"\n")
        return cls(kind, process)

    async def ask(self, do: str, workload: Workload, salt: int, **options: Any) -> dict[str, Any]:  # noqa: ANN401 - plain values
        """Have a load made and return what came of it. Raises LoadFailed."""
        asked = {"do": do, "workload": workload.plain(), "salt": salt, **options}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        line = await self._process.stdout.readline()
        if not line:
            raise LoadFailed(
                f"the load generator for {self._kind} ended with code {await self._process.wait()}"
            )
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            raise LoadFailed(f"{self._kind} {do} {workload.name}: {answer['failed']}")
        return answer

    @property
    def cpu_s(self) -> float:
        """CPU seconds that the process has used."""
        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)

    async def stop(self) -> None:
        """End the process."""
        if self._process.returncode is not None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(_END_S_MAX):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

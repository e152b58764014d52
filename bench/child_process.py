"""A process that is there for as long as it is needed: a peer, or a part of the product by itself."""

import asyncio
import contextlib
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping

_STOP_S_MAX = 10.0


@contextlib.asynccontextmanager
async def running(*arguments: str, env: Mapping[str, str] | None = None) -> AsyncIterator[Process]:
    """A Python program, whose stdout can be read; it is told to stop in the end, and then made to."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(_STOP_S_MAX):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def first_line(process: Process, timeout_s: float) -> str:
    """Return the first line that a process says; nothing if it says none in time, or ends."""
    assert process.stdout is not None
    try:
        async with asyncio.timeout(timeout_s):
            return (await process.stdout.readline()).decode(errors="replace").strip()
    except TimeoutError:
        return ""

"""A peer's server that is a program of its own: it ends with us, and what it says goes to a log."""

import asyncio
import contextlib
import ctypes
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from bench.load_process import LoadFailed

_START_S_MAX = 60.0
_STOP_S_MAX = 10.0
_POLL_S = 0.02
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


@contextlib.asynccontextmanager
async def serving(
    command: tuple[str, ...],
    folder: Path,
    answers: Callable[[], Awaitable[bool]],
    *,
    said: bytes = b"",
) -> AsyncIterator[Process]:
    """A server that works in a folder and reads `said` from stdin, from when it answers.

    Raises LoadFailed, with the last thing that it said, when it does not. It is told to stop in the end, and
    then made to; when we are killed, the kernel kills it.
    """
    log_file = folder / f"{Path(command[0]).name}.log"
    with log_file.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=folder,
            stdin=asyncio.subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C reaches us alone.
            preexec_fn=_end_with_parent,
        )
    try:
        assert process.stdin is not None
        process.stdin.write(said)
        process.stdin.close()
        await _until(process, answers, log_file)
        yield process
    finally:
        await asyncio.shield(_stop(process))


async def _until(process: Process, answers: Callable[[], Awaitable[bool]], log_file: Path) -> None:
    try:
        async with asyncio.timeout(_START_S_MAX):
            while process.returncode is None:
                if await answers():
                    return
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        pass
    raise LoadFailed(f"{log_file.stem} does not start: {_last_line(log_file)}")


def _last_line(log_file: Path) -> str:
    lines = log_file.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


async def _stop(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(_STOP_S_MAX):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _end_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

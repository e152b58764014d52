"""One child process: it cannot outlive its parent, its output goes to a log file, it ends within a grace.

Linux only: a parent that is killed takes its children along by PR_SET_PDEATHSIG. The kernel sends that
signal when the *thread* that started the child ends, so children are started from the main thread.
"""

import asyncio
import ctypes
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self

from binkeeper.errors import StartError

LOG_BYTES_MAX = 16 * 1024 * 1024
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Account:
    """The operating system's user that a child runs as."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """How a child is started and ended. `grace_s` is how long it may take after `stop_signal`."""

    role: str
    command: tuple[str, ...]
    log_file: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    account: Account | None = None
    directory: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: signal.Signals = signal.SIGKILL
    grace_s: float = 10.0
    # Whether the child tells its events as JSON lines on stdout; otherwise stdout goes to the log file.
    tells_events: bool = False


class Child:
    """A running child process."""

    def __init__(self, spec: ChildSpec, process: subprocess.Popen[bytes]) -> None:
        self.spec = spec
        self._process = process

    @classmethod
    def start(cls, spec: ChildSpec) -> Self:
        """Starts the child in a session of its own, so that the terminal's Ctrl-C does not reach it.

        Raises StartError when its program is missing or its log cannot be written.
        """
        try:
            with opened_log(spec.log_file) as log:
                account = spec.account
                process = subprocess.Popen(
                    spec.command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE if spec.tells_events else log,
                    stderr=log,
                    cwd=spec.directory or ("/" if account else None),
                    env={**os.environ, **spec.environment},
                    start_new_session=True,
                    user=account.uid if account else None,
                    group=account.gid if account else None,
                    extra_groups=[] if account else None,
                    preexec_fn=_DiesWithParent(spec.orphan_signal),  # noqa: PLW1509 (two system calls)
                )
        except (OSError, subprocess.SubprocessError) as error:
            reason = getattr(error, "strerror", None) or error
            raise StartError(f"{spec.role} cannot be started: {spec.command[0]}: {reason}") from error
        return cls(spec, process)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def stdout(self) -> IO[bytes] | None:
        """Where the child tells its events, if it does."""
        return self._process.stdout

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative is the signal that ended it."""
        return self._process.poll()

    async def exited(self) -> int:
        """Waits until the child has ended, and answers its exit code."""
        if (code := self.exit_code) is not None:
            return code
        loop = asyncio.get_running_loop()
        descriptor = os.pidfd_open(self.pid)
        ended = asyncio.Event()
        loop.add_reader(descriptor, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
        return self._process.wait()

    def wait(self, timeout_s: float) -> bool:
        """Waits at most `timeout_s`; whether the child has ended."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def ask_to_stop(self) -> None:
        """Sends the stop signal, if the child still runs."""
        self._process.send_signal(self.spec.stop_signal)

    def kill(self) -> None:
        """Ends the child and its process group at once."""
        if self.exit_code is None:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                self._process.kill()

    def stop(self) -> bool:
        """Asks the child to stop, waits its grace, then kills it; whether it went by itself."""
        self.ask_to_stop()
        if self.wait(self.spec.grace_s):
            return True
        self.kill()
        self._process.wait()
        return False


class _DiesWithParent:
    """Runs between fork and exec, after the change of user, which would clear the setting."""

    def __init__(self, orphan_signal: signal.Signals) -> None:
        self._signal = int(orphan_signal)
        self._parent = os.getpid()

    def __call__(self) -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, self._signal, 0, 0, 0)
        if os.getppid() != self._parent:  # The parent ended before the setting was made.
            os._exit(1)


def opened_log(file: Path) -> IO[bytes]:
    """`file` open for appending; the one before is kept as `.1` once it has grown past LOG_BYTES_MAX."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.exists() and file.stat().st_size > LOG_BYTES_MAX:
        file.replace(file.with_name(file.name + ".1"))
    return file.open("ab")


def last_complaint(log_file: Path, *, start: int = 0) -> str:
    """The last line in the log from byte `start` that looks like a reason, or its last line, or ''."""
    try:
        with log_file.open("rb") as stream:
            stream.seek(max(start, log_file.stat().st_size - 65_536))
            lines = [line.strip() for line in stream.read().decode(errors="replace").splitlines()]
    except FileNotFoundError:
        return ""
    lines = [line for line in lines if line]
    telling = [line for line in lines if any(word in line for word in ("FATAL", "PANIC", "ERROR", "[FTL]"))]
    return (telling or lines or [""])[-1]

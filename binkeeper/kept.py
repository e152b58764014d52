"""Keeping a process running: it is started, watched, and started again when it ends by itself.

A start that fails the first time is the caller's to handle; later ones are tried again with a back-off.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from typing import Any, Protocol

from rich.markup import escape

from binkeeper.child import Child, ChildSpec, last_complaint, opened_log
from binkeeper.embedded.server import EmbeddedServer
from binkeeper.errors import StartError

_EVENT_BYTES_MAX = 4 * 1024 * 1024
_KILLED_S_MAX = 10.0
_LOOK_S = 2.0
"""Seconds between two looks at a process that runs."""

Event = dict[str, Any]


class BackOff:
    """How long to wait before the next start: 0.1 s, doubled up to 5 s, from the beginning after 30 s up."""

    first_s = 0.1
    most_s = 5.0
    settled_s = 30.0

    def __init__(self) -> None:
        self._next_s = self.first_s

    def after(self, lived_s: float) -> float:
        """The wait in seconds, for a process that ran for `lived_s`."""
        if lived_s >= self.settled_s:
            self._next_s = self.first_s
        delay_s = self._next_s
        self._next_s = min(self._next_s * 2, self.most_s)
        return delay_s


class Startable(Protocol):
    """Something that runs as one child process."""

    role: str

    @property
    def child(self) -> Child | None:
        """The process, once begun."""

    async def begin(self) -> Child:
        """Starts the process."""

    async def until_ready(self) -> None:
        """Waits until it serves; raises StartError when it ends or fails instead."""

    def ailment(self) -> str | None:
        """Why it must be started anew although it runs, if it must."""


class ThreadedServer:
    """An embedded server as something startable: its slow steps run in threads."""

    def __init__(self, server: EmbeddedServer) -> None:
        self.role = server.role
        self._server = server
        self._prepared = False

    @property
    def child(self) -> Child | None:
        """The process, once begun."""
        return self._server.child

    async def prepare(self) -> None:
        """Makes the server's address known before it is begun."""
        await asyncio.to_thread(self._server.prepare)
        self._prepared = True

    async def begin(self) -> Child:
        """Starts the process; what a crash left is cleared first."""
        if not self._prepared:
            await self.prepare()
        self._prepared = False
        return self._server.launch()

    async def until_ready(self) -> None:
        """Waits until it answers a client."""
        await asyncio.to_thread(self._server.wait_until_ready)

    def ailment(self) -> str | None:
        """Why it must be started anew although it runs, if it must."""
        return self._server.ailment()


class Program:
    """A child of ours that tells its events: ready, progress, processes, failed."""

    def __init__(self, spec: ChildSpec, hear: Callable[[Event], None]) -> None:
        self.role = spec.role
        self.child: Child | None = None
        self._spec = spec
        self._hear = hear
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._listening: asyncio.Task[None] | None = None
        self._log_start = 0

    async def begin(self) -> Child:
        """Starts the process and listens to it."""
        log = self._spec.log_file
        self._log_start = log.stat().st_size if log.exists() else 0
        self._ready = asyncio.get_running_loop().create_future()
        self.child = Child.start(self._spec)
        self._listening = asyncio.create_task(self._listen(self.child))
        return self.child

    async def until_ready(self) -> None:
        """Waits for the event `ready`."""
        await asyncio.shield(self._ready)

    def ailment(self) -> str | None:
        """None: our own programs end themselves when they cannot go on."""
        return None

    async def _listen(self, child: Child) -> None:
        """Hears events until the child closes its output; anything else it prints goes to its log."""
        assert child.stdout is not None
        reader = asyncio.StreamReader(limit=_EVENT_BYTES_MAX)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), child.stdout
        )
        ready = self._ready
        try:
            while line := await reader.readline():
                if (event := _event_in(line)) is None:
                    # A line is lost when the disk is full; the events after it are not.
                    with contextlib.suppress(OSError), opened_log(self._spec.log_file) as log:
                        log.write(line)
                    continue
                if event["event"] == "ready" and not ready.done():
                    ready.set_result(None)
                elif event["event"] == "failed" and not ready.done():
                    ready.set_exception(StartError(f"{self.role}: {event.get('text', 'failed')}"))
                self._hear(event)
        finally:
            transport.close()
            if not ready.done():
                complaint = last_complaint(self._spec.log_file, start=self._log_start) or "it said nothing"
                ready.set_exception(
                    StartError(f"{self.role} ended while starting: {complaint} (log: {self._spec.log_file})")
                )
            if ready.exception() is not None:
                pass  # Retrieved: nobody may be waiting when it ends during a stop.


class Kept:
    """One process that is kept running until it is told to stop."""

    def __init__(self, startable: Startable, say: Callable[[str], None], changed: Callable[[], None]) -> None:
        self.role = startable.role
        self._startable = startable
        self._say = say
        self._changed = changed
        self._back_off = BackOff()
        self._began_s = 0.0
        self._watching: asyncio.Task[None] | None = None

    @property
    def child(self) -> Child | None:
        """The process that runs now, if any."""
        child = self._startable.child
        return child if child is not None and child.exit_code is None else None

    async def begin(self) -> None:
        """Starts the process without waiting for it to be ready."""
        self._began_s = time.monotonic()
        await self._startable.begin()
        self._changed()

    async def until_ready(self) -> None:
        """Waits until the process serves, and watches it from then on."""
        await self._startable.until_ready()
        self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            child = self._startable.child
            assert child is not None
            code = await self._exited(child)
            ended_s = time.monotonic()
            delay_s = self._back_off.after(ended_s - self._began_s)
            self._say(f"[yellow]{self.role} ended ({_told(code)}): starting it again in {delay_s:.1f} s[/]")
            self._changed()
            await asyncio.sleep(delay_s)
            try:
                await self.begin()
                await self._startable.until_ready()
            except (
                StartError,
                OSError,
            ) as error:  # Such as a full disk: it is tried again until there is room.
                self._say(
                    f"[red]{escape(f'{self.role}: {error}' if isinstance(error, OSError) else str(error))}[/]"
                )
                if (failed := self.child) is not None:
                    failed.kill()
                continue
            self._say(f"[green]{self.role} is back after {time.monotonic() - ended_s:.1f} s[/]")

    async def _exited(self, child: Child) -> int:
        """Waits until the process ends; one that must be started anew is told to."""
        while True:
            try:
                return await asyncio.wait_for(child.exited(), _LOOK_S)
            except TimeoutError:
                if (why := self._startable.ailment()) is not None:
                    self._say(f"[yellow]{self.role} is stopped to be started anew: {escape(why)}[/]")
                    child.ask_to_stop()

    async def stop(self) -> None:
        """Stops the process: by its signal, and after its grace by force. Says how it went."""
        if self._watching is not None:
            self._watching.cancel()
        if (child := self.child) is None:
            return
        began_s = time.monotonic()
        child.ask_to_stop()
        try:
            await asyncio.wait_for(child.exited(), child.spec.grace_s)
            how = "stopped"
        except TimeoutError:
            child.kill()
            await asyncio.wait_for(child.exited(), _KILLED_S_MAX)
            how = f"killed: it had not stopped within {child.spec.grace_s:.0f} s"
        self._changed()
        self._say(f"{self.role:<12} {how} [dim]{time.monotonic() - began_s:.1f} s[/]")


def _event_in(line: bytes) -> Event | None:
    if not line.startswith(b"{"):
        return None
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


def _told(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"

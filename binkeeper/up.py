"""The launcher: starts, watches and stops Postgres, NATS, the supervisor with its bin hosts, and the API.

It holds no stock and answers no request. Ray, which takes longest, boots while the database starts.
"""

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import SecretStr
from rich.console import Console

from binkeeper.child import ChildSpec
from binkeeper.demo import load_demo
from binkeeper.embedded.nats import EmbeddedNats
from binkeeper.embedded.postgres import EmbeddedPostgres
from binkeeper.errors import StartError
from binkeeper.home import Home
from binkeeper.kept import Event, Kept, Program, ThreadedServer
from binkeeper.orphans import adopt_orphans, end_leftovers, end_orphans
from binkeeper.ports import why_not_free
from binkeeper.roster import Roster
from binkeeper.settings import Settings
from binkeeper.stages import Stages

_PYTHON = (sys.executable, "-m")
# The supervisor gives each of its hosts a grace of its own before it goes itself.
_SUPERVISOR_GRACES = 2
_CHILD_ENVIRONMENT = {
    "PYTHONUNBUFFERED": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "OMP_NUM_THREADS": "1",
}


@dataclass(frozen=True, slots=True)
class Programs:
    """The commands of our own children; a test gives its own."""

    migrations: tuple[str, ...] = (*_PYTHON, "binkeeper.migrations")
    supervisor: tuple[str, ...] = (*_PYTHON, "binkeeper.supervisor")
    api: tuple[str, ...] = (*_PYTHON, "binkeeper.http")


def up(settings: Settings, *, demo: bool, console: Console, programs: Programs | None = None) -> None:
    """Runs Binkeeper until Ctrl-C or SIGTERM, then stops every process in order.

    Raises StartError, with everything stopped again, when it cannot be started.
    """
    home = Home(settings.home)
    home.claim()
    try:
        end_leftovers(home.read_processes(others=True))
        if (why := why_not_free(settings.http_port, settings.http_host)) is not None:
            raise StartError(
                f"port {settings.http_port} on {settings.http_host} cannot be had ({why}): "
                "stop what uses it, or choose another by --port"
            )
        adopt_orphans()
        launcher = Launcher(settings.with_tokens(), home, Stages(console), programs or Programs())
        asyncio.run(launcher.run(demo=demo))
    finally:
        home.release()


class Launcher:
    """One run of everything."""

    def __init__(self, settings: Settings, home: Home, stages: Stages, programs: Programs) -> None:
        self._settings = settings
        self._home = home
        self._stages = stages
        self._programs = programs
        self._kept: list[Kept] = []
        self._roster = Roster(home, self._kept, stages.say)
        self._ray_address: str | None = None
        self._is_run_written = False
        self._stop_asked = asyncio.Event()

    async def run(self, *, demo: bool) -> None:
        """Starts everything, waits for a signal, stops everything."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._asked_to_stop)
        starting = asyncio.create_task(self._start(demo=demo))
        asked = asyncio.create_task(self._stop_asked.wait())
        try:
            await asyncio.wait((starting, asked), return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                await starting
                await asked
        finally:
            for task in (starting, asked):
                task.cancel()
            await asyncio.gather(starting, asked, return_exceptions=True)
            self._stages.close()
            await self._stop()

    def _asked_to_stop(self) -> None:
        if self._stop_asked.is_set():
            self._stages.say("stopping at once")
            for kept in self._kept:
                if kept.child is not None:
                    kept.child.kill()
            end_orphans(())
            self._home.release()
            os._exit(1)
        self._stop_asked.set()
        self._stages.say("stopping; Ctrl-C once more to stop at once")

    async def _start(self, *, demo: bool) -> None:
        began_s = time.monotonic()
        servers = self._servers()
        await self._prepare(servers)
        supervisor = self._program("supervisor", self._programs.supervisor)
        # From here on in parallel: Ray boots for seconds, and the supervisor waits for the database itself.
        self._stages.begin("supervisor", "starting Ray")
        await supervisor.begin()
        await _all_of(*(self._serve(kept) for kept in servers))
        await self._migrate()
        api = self._program("api", self._programs.api)
        self._stages.begin("api", "starting")
        await api.begin()
        await _all_of(self._ready(supervisor), self._ready(api))
        self._roster.write()
        try:
            self._write_run()
        except OSError as error:
            raise StartError(f"cannot write {self._home.run_file}: {error.strerror}") from error
        if demo:
            await self._load_demo()
        self._stages.close()
        self._banner(time.monotonic() - began_s)

    def _servers(self) -> list[Kept]:
        """The embedded servers, unless the settings name existing ones; in the order in which they stop."""
        self._postgres = EmbeddedPostgres(self._home.folder) if self._settings.postgres_url is None else None
        self._nats = EmbeddedNats(self._home.folder) if self._settings.nats_url is None else None
        self._embedded = [ThreadedServer(server) for server in (self._nats, self._postgres) if server]
        return [self._keep(Kept(server, self._stages.say, self._roster.write)) for server in self._embedded]

    def _keep(self, kept: Kept) -> Kept:
        self._kept.append(kept)
        return kept

    async def _prepare(self, servers: Sequence[Kept]) -> None:
        """Makes the servers' addresses known, and the settings with them complete."""
        for kept in servers:
            self._stages.begin(kept.role, "preparing")
        await _all_of(*(server.prepare() for server in self._embedded))
        if self._postgres and not self._postgres.data.is_relative_to(self._home.folder):
            self._stages.say(f"the database is kept in {self._postgres.data}, which its user can reach")
        resolved = {
            name: SecretStr(server.url)
            for name, server in (("postgres_url", self._postgres), ("nats_url", self._nats))
            if server is not None
        }
        self._settings = self._settings.model_copy(update=resolved)

    async def _serve(self, kept: Kept) -> None:
        self._stages.note(kept.role, "starting")
        await kept.begin()
        await self._ready(kept)

    async def _ready(self, kept: Kept) -> None:
        await kept.until_ready()
        self._stages.done(kept.role)

    def _program(self, role: str, command: tuple[str, ...]) -> Kept:
        program = Program(self._spec(role, command), lambda event: self._hear(role, event))
        changed = self._supervisor_changed if role == "supervisor" else self._roster.write
        kept = Kept(program, self._stages.say, changed)
        # Stopped first what was started last: api, supervisor, then the servers they need.
        self._kept.insert(0, kept)
        return kept

    def _spec(self, role: str, command: tuple[str, ...]) -> ChildSpec:
        grace_s = self._settings.shutdown_grace_s * (_SUPERVISOR_GRACES if role == "supervisor" else 1)
        return ChildSpec(
            role=role,
            command=command,
            log_file=self._home.log_file(role),
            environment={**_CHILD_ENVIRONMENT, **self._settings.environment()},
            # When we are killed, the supervisor still has Ray's processes to end; the others have none.
            orphan_signal=signal.SIGTERM if role == "supervisor" else signal.SIGKILL,
            grace_s=grace_s,
            tells_events=True,
        )

    async def _migrate(self) -> None:
        self._stages.begin("migrations", "bringing the database up to date")
        program = Program(self._spec("migrations", self._programs.migrations), lambda _: None)
        child = await program.begin()
        try:
            await program.until_ready()
            await child.exited()
        finally:
            child.kill()
        self._stages.done("migrations", "up to date")

    def _hear(self, role: str, event: Event) -> None:
        if event["event"] == "progress":
            self._stages.note(role, str(event.get("text", "")))
        elif event["event"] == "processes" and isinstance(event.get("processes"), list):
            self._roster.reported = [entry for entry in event["processes"] if isinstance(entry, dict)]
            self._roster.write()
        elif event["event"] == "ray" and isinstance(event.get("address"), str):
            self._ray_address = event["address"]
            if self._is_run_written:
                with self._roster.told_when_unwritten():
                    self._write_run()

    def _supervisor_changed(self) -> None:
        """Ends what a supervisor that is gone left behind, before the next one starts."""
        if all(kept.child is None for kept in self._kept if kept.role == "supervisor"):
            self._roster.reported = []
            end_orphans(self._roster.children())
        self._roster.write()

    def _write_run(self) -> None:
        known = {"url": self.url, "token": _plain(self._settings.admin_token)}
        known["nats_url"] = _plain(self._settings.nats_url)
        known["postgres_url"] = _plain(self._settings.postgres_url)
        if self._ray_address is not None:
            known["ray_address"] = self._ray_address
        self._home.write_run(**known)
        self._is_run_written = True

    @property
    def url(self) -> str:
        """Where the API answers on this machine."""
        host = self._settings.http_host
        if host in {"0.0.0.0", "::"}:  # noqa: S104 (asked for by the person; we only print an address for it)
            host = "127.0.0.1"
        return f"http://{f'[{host}]' if ':' in host else host}:{self._settings.http_port}"

    async def _load_demo(self) -> None:
        self._stages.begin("demo", "receiving a small warehouse")
        try:
            booked = await asyncio.to_thread(load_demo, self.url, _plain(self._settings.admin_token))
        except (httpx.HTTPError, KeyError, ValueError) as error:
            self._stages.done("demo", f"not loaded: {str(error).partition(chr(10))[0]}")
            return
        self._stages.done("demo", f"{booked} receipts booked" if booked else "the stock of last time")

    def _banner(self, took_s: float) -> None:
        token = _plain(self._settings.admin_token)
        say = self._stages.say
        say(f"\n[bold green]Binkeeper is ready[/] after {took_s:.1f} s\n")
        say(f"  address   [bold]{self.url}[/]   (try {self.url}/docs)")
        say(f"  token     {token}")
        say(f"  NATS      {without_password(_plain(self._settings.nats_url))}")
        say(f"  home      {self._home.folder}\n")
        say(f"  curl -H 'Authorization: Bearer {token}' {self.url}/v1/stock/berlin/MUG-BLUE\n")
        say("Ctrl-C stops it.")

    async def _stop(self) -> None:
        """Stops in order; whatever is left without a parent after the supervisor is ended too."""
        for kept in list(self._kept):
            await kept.stop()
            if kept.role == "supervisor":
                await asyncio.to_thread(end_orphans, self._roster.children())
        end_orphans(self._roster.children())


async def _all_of(*steps: Any) -> None:  # noqa: ANN401 (coroutines of any result)
    """Runs the steps together; the first that fails cancels the others and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for step in steps:
                group.create_task(step)
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


def without_password(urls: str) -> str:
    """The addresses, several with commas, without users and passwords: `run.json` has them whole."""
    return re.sub(r"//[^/@,]*@", "//", urls)


def _plain(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret is not None else ""

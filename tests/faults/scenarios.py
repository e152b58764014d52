"""What goes wrong: one function for each fault, while callers are at work."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple

import asyncpg

from tests.faults.paused import deposed, paused
from tests.faults.stage import Fault, Stage
from tests.waiting import until

AWAY_S = 3.0
"""How long what can be taken away stays away."""
_BACK_S_MAX = 90.0
_CUTS_MIN = 3


async def nothing(stage: Stage) -> None:
    """No fault: the load alone."""
    stage.fault()


async def host_killed(stage: Stage) -> None:
    """The host that serves is killed."""
    stage.fault()
    stage.binkeeper.kill("host")


async def standby_killed(stage: Stage) -> None:
    """The host that serves and its standby are killed together."""
    stage.fault()
    for pid in reversed(stage.binkeeper.pids("host")):
        os.kill(pid, signal.SIGKILL)


async def _replaced(stage: Stage, role: str, sent: signal.Signals) -> None:
    """End a process that the launcher starts again, and wait until it says so."""
    stage.fault()
    os.kill(stage.binkeeper.pids(role)[0], sent)
    await asyncio.to_thread(stage.binkeeper.until_line, f"{role} is back")
    stage.back()


def killed(role: str) -> Fault:
    """`kill -9` of a child of `binkeeper up`."""
    return partial(_replaced, role=role, sent=signal.SIGKILL)


async def ray_killed(stage: Stage, role: str) -> None:
    """A part of Ray's head is killed: all of it, with the hosts, is started again."""
    stage.fault()
    stage.binkeeper.kill(role)
    await asyncio.to_thread(stage.binkeeper.until_line, "supervisor is back")
    stage.back()


async def control_store_killed(stage: Stage) -> None:
    """Ray's control store is killed: it is started again where it was, and no host ends."""
    hosts, (killed,) = stage.binkeeper.pids("host"), stage.binkeeper.pids("gcs")
    stage.fault()
    os.kill(killed, signal.SIGKILL)

    async def is_back() -> bool:
        return stage.binkeeper.pids("gcs") not in ([], [killed])

    await until(is_back, "the control store is back", 60.0)
    stage.back()
    assert stage.binkeeper.pids("host") == hosts


async def launcher_killed(stage: Stage) -> None:
    """`binkeeper up` itself is killed, and a person starts it again."""
    stage.fault()
    stage.binkeeper.process.kill()
    stage.binkeeper.process.wait(10)
    await asyncio.to_thread(stage.binkeeper.start)
    stage.back()


@asynccontextmanager
async def _administrator(stage: Stage) -> AsyncIterator[Any]:
    connection: Any = await asyncpg.connect(stage.binkeeper.run["postgres_url"], timeout=10)
    try:
        yield connection
    finally:
        connection.terminate()


async def postgres_read_only(stage: Stage, *, killed: Sequence[str] = ()) -> None:
    """Postgres takes no changes for a while; what was decided meanwhile may die with its processes."""
    async with _administrator(stage) as connection:
        await connection.execute("SET default_transaction_read_only = off")
        try:
            await connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
            await connection.execute("SELECT pg_reload_conf()")
            stage.fault()
            await asyncio.sleep(AWAY_S)
            for role in killed:
                stage.binkeeper.kill(role)
        finally:
            await connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
            await connection.execute("SELECT pg_reload_conf()")
        if "api" in killed:
            await asyncio.to_thread(stage.binkeeper.until_line, "api is back")
        stage.back()


_OURS = "FROM pg_stat_activity WHERE application_name LIKE 'binkeeper:%'"
_SESSIONS_MAX = 100
"""What the embedded Postgres allows."""


async def sessions_exhausted(stage: Stage) -> None:
    """Somebody else takes all the sessions that Postgres has, also those that Binkeeper had."""
    url = stage.binkeeper.run["postgres_url"]
    taken: list[Any] = []
    async with _administrator(stage) as connection:
        stage.fault()
        try:
            while await connection.fetchval(f"SELECT count(*) {_OURS}") or len(taken) < _SESSIONS_MAX - 10:
                await connection.fetch(f"SELECT pg_terminate_backend(pid) {_OURS}")
                tries = (asyncpg.connect(url, timeout=10) for _ in range(_SESSIONS_MAX // 4))
                found = await asyncio.gather(*tries, return_exceptions=True)
                taken += [session for session in found if not isinstance(session, BaseException)]
            await asyncio.sleep(AWAY_S)
        finally:
            for session in taken:
                session.terminate()
        stage.back()
    stage.notes.append(f"{len(taken)} sessions taken")


async def nats_wiped(stage: Stage) -> None:
    """NATS dies, and everything that it stored is gone."""
    stage.fault()
    pid = stage.binkeeper.pids("nats")[0]
    os.kill(pid, signal.SIGSTOP)  # It must not write while its files go.
    await asyncio.to_thread(shutil.rmtree, stage.binkeeper.home / "nats" / "jetstream")
    os.kill(pid, signal.SIGKILL)
    await asyncio.to_thread(stage.binkeeper.until_line, "nats is back")
    stage.back()


def lanes_cut(flag: Any) -> Fault:
    """Lanes between an API and the hosts are cut in the middle of frames, again and again."""

    async def fault(stage: Stage) -> None:
        def cuts() -> int:
            counted = flag.with_suffix(".cuts")
            return int(counted.read_text() or 0) if counted.exists() else 0

        stage.fault()
        flag.touch()
        await asyncio.sleep(2 * AWAY_S)
        await until(lambda: cuts() > _CUTS_MIN, "lanes are cut", _BACK_S_MAX)
        flag.unlink()
        stage.back()
        stage.notes.append(f"{cuts()} lanes cut")

    return fault


def commits_cut(proxy: Any, rule: str) -> Fault:
    """The way to Postgres is cut before a commit reaches it, or before its answer comes back."""

    async def fault(stage: Stage) -> None:
        before = proxy.cuts
        stage.fault()
        proxy.rule = rule
        try:
            await until(lambda: proxy.cuts >= before + 10, "ten commits were cut", _BACK_S_MAX)
        finally:
            proxy.rule = ""
        stage.back()
        stage.notes.append(f"{proxy.cuts - before} commits cut")

    return fault


def disk_full(fill: Callable[[], Awaitable[Callable[[], None]]]) -> Fault:
    """The disk has no room until nothing is answered any more; `fill` returns what makes room again."""

    async def fault(stage: Stage) -> None:
        stage.fault()
        make_room = await fill()
        try:
            await until(stage.is_silent, "nothing is answered any more", _BACK_S_MAX)
            await asyncio.sleep(AWAY_S)
        finally:
            make_room()
        stage.back()

    return fault


decided_and_lost = partial(postgres_read_only, killed=("api", "host"))
"""What a host decided and nobody may have seen is lost with it, and those who asked do not all ask again."""


class Scenario(NamedTuple):
    """A fault that needs nothing but `binkeeper up`."""

    name: str
    fault: Fault
    via: str | None = None
    """The way whose return is measured."""
    back_s_max: float | None = None
    """How long it may take until every SKU answers again; None where no time is promised."""


_SOON_S = 3.0
"""On a machine that has nothing else to do."""

SCENARIOS = (
    Scenario("no fault", nothing),
    Scenario("host killed", host_killed, back_s_max=_SOON_S),
    Scenario("host and standby killed", standby_killed),
    Scenario("host paused past its replacement", paused),
    Scenario("host paused, its standby takes over", deposed),
    Scenario("API killed", killed("api"), via="http"),
    Scenario("Postgres killed", killed("postgres"), back_s_max=_SOON_S),
    Scenario(
        "Postgres restarted", partial(_replaced, role="postgres", sent=signal.SIGINT), back_s_max=_SOON_S
    ),
    Scenario("Postgres read-only for 3 s", postgres_read_only),
    Scenario("host and API killed after 3 s of that", decided_and_lost),
    Scenario("Postgres without free sessions for 3 s", sessions_exhausted),
    Scenario("NATS killed", killed("nats"), back_s_max=_SOON_S),
    Scenario("NATS restarted", partial(_replaced, role="nats", sent=signal.SIGTERM), back_s_max=_SOON_S),
    Scenario("NATS killed and its store wiped", nats_wiped, back_s_max=_SOON_S),
    Scenario("supervisor killed", killed("supervisor")),
    Scenario("Ray's raylet killed", partial(ray_killed, role="raylet")),
    Scenario("Ray's control store killed", control_store_killed),
    Scenario("binkeeper up killed", launcher_killed),
)

"""The launcher on real Postgres and NATS, with children that speak the protocol and do nothing else."""

import contextlib
import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from tests.waiting import until

Start = Callable[..., Any]
Eventually = Callable[[Callable[[], Any], str], Any]
Ended = Callable[[list[psutil.Process]], bool]


async def query(url: str, sql: str) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def query_once_back(url: str, sql: str) -> Any:
    async def answer() -> Any:
        with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return await query(url, sql)

    return await until(answer, "Postgres is back")


def test_ready_means_that_everything_is_told_and_ctrl_c_leaves_nothing(
    lasting_home: Path, start_up: Start, all_ended: Ended
) -> None:
    run = start_up(lasting_home).until_ready()
    assert {"up", "postgres", "nats", "supervisor", "api", "host"} == set(run.processes())
    assert set(run.run_file()) == {"url", "token", "nats_url", "postgres_url"}
    assert (lasting_home / "run.json").stat().st_mode & 0o777 == 0o600
    family = run.family()
    assert len(family) > 5

    assert run.interrupt() == 0
    stops = [line.split()[0] for line in run.lines if " stopped " in line]
    assert stops == ["api", "supervisor", "nats", "postgres"]
    assert all_ended(family)
    assert not (lasting_home / "run.json").exists()
    assert not (lasting_home / "processes.json").exists()


def test_children_get_every_setting_resolved(lasting_home: Path, start_up: Start) -> None:
    run = start_up(lasting_home).until_ready()
    given = json.loads((lasting_home / "supervisor.environment").read_text())
    assert given["BINKEEPER_HOME"] == str(lasting_home)
    assert given["BINKEEPER_POSTGRES_URL"] == run.run_file()["postgres_url"]
    assert given["BINKEEPER_NATS_URL"] == run.run_file()["nats_url"]
    assert given["BINKEEPER_ADMIN_TOKEN"] == run.run_file()["token"]
    assert given["BINKEEPER_LANE_TOKEN"]
    assert given["RAY_USAGE_STATS_ENABLED"] == "0"


def test_a_second_instance_on_the_same_home_is_refused_by_one_line(
    lasting_home: Path, start_up: Start
) -> None:
    first = start_up(lasting_home).until_ready()
    second = start_up(lasting_home)
    assert second.until_end() == 1
    assert len(second.lines) == 1
    assert f"another Binkeeper (pid {first.process.pid}) uses" in second.lines[0]
    assert first.processes()


def test_a_port_in_use_is_refused_by_one_line(lasting_home: Path, start_up: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run = start_up(lasting_home, port=port)
        assert run.until_end() == 1
    assert len(run.lines) == 1
    assert f"port {port} on 127.0.0.1" in run.lines[0]
    assert "--port" in run.lines[0]


async def test_a_killed_postgres_is_started_again_with_the_same_address_and_data(
    lasting_home: Path, start_up: Start
) -> None:
    run = start_up(lasting_home).until_ready()
    url = run.run_file()["postgres_url"]
    await query(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    killed = run.processes()["postgres"]
    os.kill(killed, signal.SIGKILL)
    assert "starting it again" in run.until_line("postgres ended (signal 9)")
    run.until_line("postgres is back")
    assert await query_once_back(url, "SELECT answer FROM kept") == 42
    assert run.processes()["postgres"] != killed

    assert run.interrupt() == 0
    again = start_up(lasting_home).until_ready()
    assert await query(again.run_file()["postgres_url"], "SELECT answer FROM kept") == 42


@pytest.mark.parametrize("role", ["nats", "api"])
def test_what_is_killed_comes_back(role: str, lasting_home: Path, start_up: Start) -> None:
    run = start_up(lasting_home).until_ready()
    before = run.processes()
    os.kill(before[role], signal.SIGKILL)
    run.until_line(f"{role} ended (signal 9)")
    run.until_line(f"{role} is back")
    after = run.processes()
    assert after[role] != before[role]
    assert {**after, role: 0} == {**before, role: 0}


def test_a_killed_supervisor_leaves_none_of_its_processes_to_the_next_one(
    lasting_home: Path, start_up: Start, all_ended: Ended
) -> None:
    run = start_up(lasting_home).until_ready()
    before = run.processes()
    host = psutil.Process(before["host"])
    os.kill(before["supervisor"], signal.SIGKILL)
    run.until_line("supervisor is back")
    assert all_ended([host])
    assert run.processes()["host"] != before["host"]


def test_what_does_not_stop_is_killed_after_its_grace(
    lasting_home: Path, start_up: Start, all_ended: Ended
) -> None:
    run = start_up(lasting_home, mode="stubborn").until_ready()
    family = run.family()
    assert run.interrupt() == 0
    assert any("killed: it had not stopped within 2 s" in line for line in run.lines)
    assert all_ended(family)


def test_a_second_ctrl_c_stops_at_once(lasting_home: Path, start_up: Start, all_ended: Ended) -> None:
    run = start_up(lasting_home, mode="stubborn").until_ready()
    family = run.family()
    run.process.send_signal(signal.SIGINT)
    run.until_line("stopping; Ctrl-C once more")
    assert run.interrupt() == 1
    assert all_ended(family)


@pytest.mark.parametrize(
    "mode, reason",
    [("fail", "supervisor: the thing is broken"), ("end", "supervisor ended while starting: ERROR: out of")],
)
def test_a_child_that_fails_to_start_stops_everything_with_its_reason(
    mode: str, reason: str, lasting_home: Path, start_up: Start
) -> None:
    run = start_up(lasting_home, mode=mode)
    assert run.until_end() == 1
    assert run.lines[-1].startswith(f"error: {reason}")
    assert not (lasting_home / "processes.json").exists()


def test_a_killed_launcher_takes_its_children_along_and_the_next_one_starts(
    lasting_home: Path, start_up: Start, all_ended: Ended
) -> None:
    run = start_up(lasting_home).until_ready()
    host = psutil.Process(run.processes()["host"])
    family = [process for process in run.family() if process.pid != host.pid]
    told = json.loads((lasting_home / "processes.json").read_text())
    assert host.pid in {entry["pid"] for entry in told["others"]}
    run.process.kill()
    run.process.wait()
    assert all_ended(family)

    again = start_up(lasting_home).until_ready()
    assert all_ended([host])
    assert again.interrupt() == 0


def test_a_launcher_that_is_interrupted_while_it_starts_leaves_nothing(
    home: Path, start_up: Start, eventually: Eventually, all_ended: Ended
) -> None:
    run = start_up(home)
    eventually((home / "postgres").exists, "it has begun")
    family = run.family()
    assert run.interrupt() == 0
    assert all_ended(family)

"""The embedded Postgres: durable, private, and back after whatever happened to it."""

import asyncio
import os
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from binkeeper.embedded import postgres as module
from binkeeper.embedded.leftovers import processes_in
from binkeeper.embedded.postgres import EmbeddedPostgres
from binkeeper.embedded.room import room_for
from binkeeper.errors import StartError


@pytest.fixture
def server(lasting_home: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(lasting_home)
    server.start()
    yield server
    server.stop()


def ask(url: str, sql: str) -> Any:
    async def go() -> Any:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(go())


@pytest.mark.parametrize("setting", ["fsync", "synchronous_commit", "full_page_writes", "data_checksums"])
def test_it_is_durable(setting: str, server: EmbeddedPostgres) -> None:
    assert ask(server.url, f"SHOW {setting}") == "on"


def test_data_and_address_survive_a_restart(server: EmbeddedPostgres, lasting_home: Path) -> None:
    ask(server.url, "CREATE TABLE IF NOT EXISTS once AS SELECT 'here' AS what")
    server.stop()
    again = EmbeddedPostgres(lasting_home)
    try:
        assert again.start() == server_url_of(lasting_home)
        assert ask(again.url, "SELECT what FROM once") == "here"
    finally:
        again.stop()


def server_url_of(home: Path) -> str:
    password = (home / "postgres" / "password").read_text().strip()
    port = (home / "postgres" / "port").read_text().strip()
    return f"postgresql://binkeeper:{password}@127.0.0.1:{port}/binkeeper"


def test_what_was_committed_before_a_kill_is_there_after_recovery(server: EmbeddedPostgres) -> None:
    ask(server.url, "CREATE TABLE committed AS SELECT generate_series(1, 1000) AS n")
    assert server.child is not None
    os.kill(server.child.pid, signal.SIGKILL)
    assert server.child.wait(10)
    server.start()
    assert ask(server.url, "SELECT count(*) FROM committed") == 1000


def test_a_server_left_running_is_ended_and_its_data_taken_over(
    server: EmbeddedPostgres, lasting_home: Path
) -> None:
    left = server.child
    assert left is not None
    taker = EmbeddedPostgres(lasting_home)
    try:
        taker.start()
        assert left.exit_code is not None
        assert ask(taker.url, "SELECT 1") == 1
    finally:
        taker.stop()


def test_a_stale_pid_file_that_names_a_stranger_is_not_trusted(
    server: EmbeddedPostgres, lasting_home: Path
) -> None:
    server.stop()
    data = server.data
    (data / "postmaster.pid").write_text(f"{os.getpid()}\n{data}\n0\n1\n\n127.0.0.1\n")
    again = EmbeddedPostgres(lasting_home)
    try:
        again.start()
    finally:
        again.stop()


def test_a_port_that_somebody_took_meanwhile_is_replaced(
    server: EmbeddedPostgres, lasting_home: Path
) -> None:
    server.stop()
    port = int((lasting_home / "postgres" / "port").read_text())
    with socket.create_server(("127.0.0.1", port)):
        again = EmbeddedPostgres(lasting_home)
        try:
            assert f":{port}/" not in again.start()
        finally:
            again.stop()


def test_nobody_gets_in_without_the_password(server: EmbeddedPostgres, lasting_home: Path) -> None:
    wrong = server.url.replace(server.url.split(":")[2].split("@")[0], "guess")
    with pytest.raises(asyncpg.InvalidPasswordError):
        ask(wrong, "SELECT 1")
    assert (lasting_home / "postgres" / "password").stat().st_mode & 0o777 == 0o600


def test_a_stopped_server_leaves_no_process(server: EmbeddedPostgres) -> None:
    assert len(processes_in(server.data)) > 1
    server.stop()
    assert processes_in(server.data) == []


def test_a_temporary_server_removes_its_folder() -> None:
    with EmbeddedPostgres.temporary() as server:
        data = server.data
        assert ask(server.url, "SELECT current_database()") == "binkeeper"
    assert not data.exists()


async def test_it_can_be_started_inside_an_event_loop(lasting_home: Path) -> None:
    server = EmbeddedPostgres(lasting_home)
    try:
        server.start()
    finally:
        server.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's home can be closed to the server's user")
def test_a_home_that_nobody_can_reach_keeps_its_data_elsewhere_for_good(home: Path) -> None:
    home.chmod(0o700)
    server = EmbeddedPostgres(home)
    try:
        server.start()
        ask(server.url, "CREATE TABLE kept AS SELECT 7 AS n")
        assert not server.data.is_relative_to(home)
    finally:
        server.stop()
    again = EmbeddedPostgres(home)
    try:
        again.start()
        assert ask(again.url, "SELECT n FROM kept") == 7
    finally:
        again.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's home can be closed to the server's user")
def test_a_home_that_was_removed_to_begin_anew_does_not_meet_its_old_data(home: Path) -> None:
    home.chmod(0o700)
    first = room_for(home).folder
    try:
        shutil.rmtree(home / "postgres")
        assert room_for(home).folder != first
    finally:
        shutil.rmtree(first)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's home can be closed to the server's user")
def test_data_that_can_no_longer_be_reached_is_not_replaced_by_an_empty_database(home: Path) -> None:
    room = room_for(home)
    room.data.mkdir()
    home.chmod(0o700)
    with pytest.raises(StartError, match="cannot be reached by user"):
        room_for(home)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as somebody else")
def test_a_program_that_nobody_can_reach_is_copied(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "runs_as", lambda *_: False)
    server = EmbeddedPostgres(home)
    try:
        server.start()
        assert (home / "postgres" / "program").is_dir()
        assert ask(server.url, "SELECT 1") == 1
    finally:
        server.stop()


def test_a_missing_wheel_is_one_line_that_says_what_to_do(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_DISTRIBUTION", "no-such-distribution")
    with pytest.raises(StartError, match="BINKEEPER_POSTGRES_URL") as caught:
        EmbeddedPostgres(home).start()
    assert "\n" not in str(caught.value)


def test_a_server_that_ends_while_starting_says_why(
    server: EmbeddedPostgres, lasting_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.stop()
    monkeypatch.setitem(module._SETTINGS, "shared_buffers", "nonsense")
    with pytest.raises(StartError, match="shared_buffers") as caught:
        EmbeddedPostgres(lasting_home).start()
    assert "\n" not in str(caught.value)

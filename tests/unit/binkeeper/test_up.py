"""What the launcher says and survives, without starting anything."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from binkeeper.home import Home
from binkeeper.settings import Settings
from binkeeper.stages import Stages
from binkeeper.up import Launcher, Programs, without_password


@pytest.fixture
def said() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def launcher(tmp_path: Path, said: io.StringIO) -> Iterator[Launcher]:
    stages = Stages(Console(file=said, width=200))
    settings = Settings.read(home=tmp_path, nats_url="nats://binkeeper:hunter2@127.0.0.1:4222").with_tokens()
    yield Launcher(settings, Home(tmp_path), stages, Programs())
    stages.close()


def test_a_full_disk_is_said_once_and_survived(
    launcher: Launcher, said: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    launcher._is_run_written = True
    with monkeypatch.context() as patched:
        patched.setattr("binkeeper.home.write_private", full)
        launcher._roster.write()
        launcher._roster.write()
        launcher._hear("supervisor", {"event": "processes", "processes": []})
        launcher._hear("supervisor", {"event": "ray", "address": "127.0.0.1:1"})
    assert said.getvalue().count("No space left on device") == 1
    launcher._roster.write()
    assert [entry["role"] for entry in launcher._home.read_processes()] == ["up"]


def test_the_banner_does_not_tell_a_servers_password(launcher: Launcher, said: io.StringIO) -> None:
    launcher._banner(1.0)
    assert "nats://127.0.0.1:4222" in said.getvalue()
    assert "hunter2" not in said.getvalue()


@pytest.mark.parametrize(
    "urls, shown",
    [
        ("nats://a:b@h:1,nats://token@g:2", "nats://h:1,nats://g:2"),
        ("nats://h:1", "nats://h:1"),
        ("", ""),
    ],
)
def test_addresses_are_shown_without_their_users(urls: str, shown: str) -> None:
    assert without_password(urls) == shown

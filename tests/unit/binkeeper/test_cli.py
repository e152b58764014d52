import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest
from rich.console import Console
from typer.testing import CliRunner

from binkeeper.cli import app
from binkeeper.demo import load_demo
from binkeeper.home import Home
from binkeeper.settings import Settings
from binkeeper.status import show, status

runner = CliRunner()


def running_home(folder: Path) -> Home:
    home = Home(folder)
    home.claim()
    home.write_processes(
        [
            {"role": "api", "pid": os.getpid(), "started": psutil.Process().create_time()},
            {"role": "host", "pid": os.getpid(), "started": 1.0},
        ]
    )
    home.write_run(url="http://127.0.0.1:1", token="secret")
    return home


def test_the_commands_are_those_of_the_manual() -> None:
    shown = runner.invoke(app, ["--help"]).output
    for command in ("up", "status", "rebalance", "isolate", "replay", "simulate", "verify", "token"):
        assert f" {command} " in shown


def test_the_command_line_imports_nothing_heavy() -> None:
    heavy = "{'ray', 'fastapi', 'alembic', 'openai'}"
    code = f"import binkeeper.cli, sys; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_administrators_token_is_the_one_of_the_home(tmp_path: Path) -> None:
    args = ["token", "--role", "administrator", "--home", str(tmp_path)]
    first, second = runner.invoke(app, args), runner.invoke(app, args)
    assert first.exit_code == 0
    assert first.output == second.output
    assert first.output.strip() == (tmp_path / "admin.token").read_text().strip()


def test_the_token_of_what_runs_is_the_one_it_was_started_with(tmp_path: Path) -> None:
    running_home(tmp_path)
    result = runner.invoke(app, ["token", "--role", "administrator", "--home", str(tmp_path)])
    assert result.output == "secret\n"
    assert not (tmp_path / "admin.token").exists()


def test_a_token_of_a_home_that_does_not_exist_is_refused_and_no_home_is_made(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    result = runner.invoke(app, ["token", "--role", "administrator", "--home", str(nowhere)])
    assert result.exit_code == 1
    assert result.stderr == f"error: there is no home {nowhere}: `binkeeper up` makes it\n"
    assert not nowhere.exists()


@pytest.mark.parametrize("file", ["admin.token", "run.json"])
def test_a_token_that_cannot_be_read_is_one_line(tmp_path: Path, file: str) -> None:
    (tmp_path / file).mkdir()
    result = runner.invoke(app, ["token", "--role", "administrator", "--home", str(tmp_path)])
    assert result.exit_code == 1
    assert result.stderr.startswith("error: cannot ")
    assert str(tmp_path / file) in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_unknown_role_is_refused_by_a_line_that_names_the_roles(tmp_path: Path) -> None:
    result = runner.invoke(app, ["token", "--role", "emperor", "--home", str(tmp_path)])
    assert result.exit_code == 1
    assert result.stderr == "error: there is no role 'emperor'; the roles are: administrator\n"


def test_status_of_a_home_where_nothing_runs_is_one_line(tmp_path: Path) -> None:
    result = runner.invoke(app, ["status", "--home", str(tmp_path)])
    assert result.exit_code == 1
    assert result.stderr == f"error: nothing runs in {tmp_path}: start it by `binkeeper up`\n"


def test_status_lists_what_lives_even_when_the_api_does_not_answer(tmp_path: Path) -> None:
    running_home(tmp_path)
    result = runner.invoke(app, ["status", "--json", "--home", str(tmp_path)])
    assert result.exit_code == 0
    report = json.loads(result.output)
    assert [entry["role"] for entry in report["processes"]] == ["api"]
    assert report["api_error"]
    shown = runner.invoke(app, ["status", "--home", str(tmp_path)]).output
    assert "the API does not answer" in shown


def test_status_adds_what_the_api_tells(tmp_path: Path) -> None:
    running_home(tmp_path)

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["Authorization"] == "Bearer secret"
        return httpx.Response(
            200,
            json={
                "hosts": [{"host": "h1", "partitions": [0, 1, 2]}],
                "courier_lag": 5,
                "drift": 0,
                "audit_age_s": 41.4,
                "rebuilds": 1,
                "partitions_refused": [{"partition": 7, "seq": 12, "why": "[it] is gone"}],
            },
        )

    report = status(Settings.read(home=tmp_path), transport=httpx.MockTransport(answer))
    assert report["courier_lag"] == 5
    console = Console(width=100)
    with console.capture() as capture:
        show(report, console)
    shown = capture.get()
    assert "courier lag" in shown
    assert "last audit         41 s ago" in shown
    assert "partition 7 is not served: its ledger does not hold at entry 12" in shown
    assert "[it] is gone" in shown
    assert "h1" in shown
    assert "secret" not in shown


class FakeApi:
    """Receives stock as the API does: once per key."""

    def __init__(self) -> None:
        self.received: dict[str, dict[str, object]] = {}
        self.listed = True

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"items": list(self.received.values()) if self.listed else []})
        key = request.headers["Idempotency-Key"]
        body = json.loads(request.content)
        headers = {"Idempotent-Replayed": "true"} if key in self.received else {}
        assert self.received.setdefault(key, body) == body
        return httpx.Response(201, json={}, headers=headers)


def test_the_demo_receives_ten_products_in_two_sites_once() -> None:
    api = FakeApi()
    booked = load_demo("http://test", "t", transport=httpx.MockTransport(api))
    assert booked == len(api.received)
    assert len({body["sku"] for body in api.received.values()}) == 10
    assert len({body["site"] for body in api.received.values()}) == 2
    assert load_demo("http://test", "t", transport=httpx.MockTransport(api)) == 0


def test_a_demo_that_was_interrupted_changes_nothing_when_it_is_run_again() -> None:
    api = FakeApi()
    load_demo("http://test", "t", transport=httpx.MockTransport(api))
    api.listed = False
    assert load_demo("http://test", "t", transport=httpx.MockTransport(api)) == 0


def test_a_wrong_setting_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BINKEEPER_HTTP_PORT", "0")
    result = runner.invoke(app, ["up"])
    assert result.exit_code == 1
    assert result.stderr.startswith("error: setting BINKEEPER_HTTP_PORT: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [["rebalance"], ["isolate", "berlin", "MUG", "--undo"]])
def test_partitions_are_moved_only_where_something_runs(tmp_path: Path, words: list[str]) -> None:
    result = runner.invoke(app, [*words, "--home", str(tmp_path)])
    assert result.exit_code == 1
    assert "nothing runs" in result.output

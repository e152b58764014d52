"""`binkeeper verify` on a home: at rest it starts the database and stops it; a running one it reads."""

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from binkeeper.cli import app
from binkeeper.embedded.postgres import EmbeddedPostgres
from binkeeper.home import Home
from persistence.migrate import migrate
from tests.conftest import PARTITIONS
from tests.integration.persistence.filled import NUMBER, execute, fill

runner = CliRunner()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with stock, at rest."""
    folder = tmp_path_factory.mktemp("home")
    server = EmbeddedPostgres(folder)
    try:
        url = server.start()
        migrate(url, PARTITIONS)
        asyncio.run(fill(url))
        server.stop()
        yield folder
    finally:
        server.stop()
        if not server.data.is_relative_to(folder):
            shutil.rmtree(server.data.parent, ignore_errors=True)


def postgres_of(home: Path) -> list[int]:
    """Return the servers that run on a home's data."""
    data = str(EmbeddedPostgres(home)._home / "postgres")
    pointer = home / "postgres" / "location"
    if pointer.exists():
        data = pointer.read_text().strip()
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if any(data in word for word in process.info["cmdline"] or ())
    ]


def test_a_home_at_rest_is_checked_and_is_at_rest_again(home: Path) -> None:
    done = runner.invoke(app, ["verify", "--home", str(home), "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert (report["clean"], report["entries"], report["partitions"]) == (True, 9, PARTITIONS)
    assert postgres_of(home) == []
    again = Home(home)
    again.claim()
    again.release()


def test_a_changed_row_of_a_home_is_named_for_people_and_its_snapshots_can_be_rebuilt(home: Path) -> None:
    server = EmbeddedPostgres(home)
    asyncio.run(execute(server.start(), "DELETE FROM stock_lot WHERE sku = 'tea'"))
    server.stop()
    done = runner.invoke(app, ["verify", "--home", str(home)])
    assert done.exit_code == 1
    assert f"the first: snapshot: partition {NUMBER}, entry 7 (LDN/tea at A-1)" in done.stdout
    done = runner.invoke(app, ["verify", "--home", str(home), "--rebuild-snapshots"])
    assert done.exit_code == 0, done.output
    assert f"rebuilt from the ledger: partitions {NUMBER}" in done.stdout
    assert runner.invoke(app, ["verify", "--home", str(home)]).exit_code == 0


def test_a_running_home_is_read_where_it_says_and_not_written(home: Path) -> None:
    server = EmbeddedPostgres(home)
    running = Home(home)
    running.claim()
    try:
        url = server.start()
        me = psutil.Process()
        running.write_processes([{"role": "api", "pid": me.pid, "started": me.create_time()}])
        running.write_run(url="http://127.0.0.1:1", token="t", postgres_url=url)
        done = runner.invoke(app, ["verify", "--home", str(home)])
        assert done.exit_code == 0, done.output
        assert postgres_of(home)
        done = runner.invoke(app, ["verify", "--home", str(home), "--rebuild-snapshots"])
        assert done.exit_code == 2
        assert done.stderr == f"error: snapshots are rebuilt while nothing runs: stop {home}\n"
    finally:
        server.stop()
        running.release()


def test_a_home_that_is_starting_is_left_alone(home: Path) -> None:
    starting = Home(home)
    starting.claim()
    try:
        done = runner.invoke(app, ["verify", "--home", str(home)])
    finally:
        starting.release()
    assert done.exit_code == 2
    assert "another Binkeeper" in done.stderr


def test_a_home_that_does_not_exist_is_one_line_and_nothing_is_made(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    done = runner.invoke(app, ["verify", "--home", str(nowhere)])
    assert done.exit_code == 2
    assert done.stderr == f"error: there is no database in {nowhere}: `binkeeper up` makes it\n"
    assert not nowhere.exists()

"""The migrations as the launcher runs them: a child that tells one event and ends."""

import json
import os
import subprocess
import sys
from pathlib import Path

from binkeeper.embedded.postgres import EmbeddedPostgres


def migrated(home: Path, url: str) -> tuple[int, list[dict[str, str]]]:
    done = subprocess.run(
        [sys.executable, "-m", "binkeeper.migrations"],
        env={**os.environ, "BINKEEPER_HOME": str(home), "BINKEEPER_POSTGRES_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return done.returncode, [json.loads(line) for line in lines]


def test_a_fresh_database_is_brought_up_to_date_and_stays_so(lasting_home: Path) -> None:
    server = EmbeddedPostgres(lasting_home)
    try:
        server.start()
        for _ in range(2):
            assert migrated(lasting_home, server.url) == (0, [{"event": "ready"}])
    finally:
        server.stop()


def test_a_database_that_is_not_there_is_one_line(lasting_home: Path) -> None:
    code, events = migrated(lasting_home, "postgresql://a:b@127.0.0.1:1/none")
    assert code == 1
    assert [event["event"] for event in events] == ["failed"]
    assert events[0]["text"].startswith("cannot migrate the database: ")
    assert "\n" not in events[0]["text"]

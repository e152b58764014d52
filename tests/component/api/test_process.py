"""The API's own process, as its parent sees it."""

import asyncio
import json
import os
import sys
from pathlib import Path


async def test_it_says_in_one_line_why_it_cannot_start(tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BINKEEPER_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "binkeeper.http", env={**kept, "BINKEEPER_HOME": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    told, _ = await asyncio.wait_for(process.communicate(), 60)
    events = [json.loads(line) for line in told.splitlines()]
    assert [event["event"] for event in events] == ["failed"]
    assert "BINKEEPER_POSTGRES_URL" in events[0]["text"]
    assert process.returncode == 1

"""`binkeeper verify` as a test runs it, on the database that its setting names."""

import asyncio
import json
from typing import Any

from click.testing import Result
from typer.testing import CliRunner

from binkeeper.cli import app

runner = CliRunner()


async def run(*options: str) -> Result:
    """Run the command as a person does, without our event loop."""
    return await asyncio.to_thread(runner.invoke, app, ["verify", *options])


async def verify(*options: str) -> tuple[int, dict[str, Any]]:
    """Run the command; return its exit code and its report."""
    done = await run("--json", *options)
    assert done.exit_code in {0, 1}, done.output
    return done.exit_code, json.loads(done.stdout)

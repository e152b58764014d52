"""Every bin is an actor, for any program on the Ray cluster."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

from tests.end_to_end.running import Running, stock_of

ROOT = Path(__file__).parents[2]


async def test_a_program_on_the_cluster_reaches_a_bin_by_its_address(binkeeper: Running) -> None:
    program = Path(__file__).with_name("on_the_cluster.py")
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, str(program), binkeeper.run["ray_address"]],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.strip().splitlines()[-1])
    assert (told["state"]["on_hand"], told["state"]["reserved"]) == (7, 0)
    async with binkeeper.http() as http:
        assert (await stock_of(http, "ray", "TEAPOT"))["bins"] == [told["state"]]
        reservation = (await http.get(f"/reservations/{told['reservation']}")).json()
        assert (reservation["lines"][0]["picked"], reservation["lines"][0]["released"]) == (3, 1)

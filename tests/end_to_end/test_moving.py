"""Partitions are moved on purpose while callers work: a hot SKU is isolated, hosts come and go."""

import asyncio
import json
import os
import signal
import subprocess
from collections import Counter
from typing import Any

import pytest

from tests.end_to_end.running import Running
from tests.end_to_end.workload import Workload
from tests.faults.evidence import settled
from tests.waiting import until

PAUSE_MS_MAX = 3000
"""Less than a caller waits; what it takes is printed by the commands themselves."""


async def moved(binkeeper: Running, *words: str) -> dict[str, Any]:
    """Run a command that moves partitions; return what it says."""
    done: subprocess.CompletedProcess[str] = await asyncio.to_thread(binkeeper.ask, *words, "--json")
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


async def partitions_of_hosts(binkeeper: Running) -> dict[int, int]:
    """Return how many partitions each host has, by its process."""
    async with binkeeper.http() as http:
        told = (await http.get("/status")).json()
    return {host["pid"]: host["partitions"] for host in told["hosts"] if host["partitions"]}


@pytest.mark.timeout(240)
async def test_partitions_are_moved_on_purpose_and_no_request_fails(binkeeper: Running) -> None:
    await until(lambda: settled(binkeeper), "all is quiet", 60.0)
    before = await partitions_of_hosts(binkeeper)
    work = Workload(binkeeper, "moving", seed=7)
    over = asyncio.get_running_loop().create_future()
    working = asyncio.create_task(work.run(over))
    await until(lambda: len(work.answered) > 200, "the load is on")

    told = await moved(binkeeper, "isolate", "moving", "S0")
    assert (told["moved"], told["hosts"]) == (1, len(before) + 1)
    pauses = [told["pause_ms_max"]]
    after = await partitions_of_hosts(binkeeper)
    assert Counter(after.values())[1] == 1
    told = await moved(binkeeper, "rebalance", "--hosts", str(len(before) + 1))
    assert told["hosts"] == len(before) + 2
    pauses.append(told["pause_ms_max"])
    shared = sorted(count for count in (await partitions_of_hosts(binkeeper)).values() if count > 1)
    assert shared[-1] - shared[0] <= 1
    # Of those who waited for a move nobody was told to send again.
    assert work.repeats == 0
    assert max(pauses) < PAUSE_MS_MAX

    (alone,) = (pid for pid, count in (await partitions_of_hosts(binkeeper)).items() if count == 1)
    os.kill(alone, signal.SIGKILL)

    async def isolated_again() -> bool:
        now = await partitions_of_hosts(binkeeper)
        return (
            alone not in now and Counter(now.values())[1] == 1 and sum(now.values()) == sum(before.values())
        )

    await until(isolated_again, "another host is alone with the SKU", 60.0)
    repeats = work.repeats
    await moved(binkeeper, "isolate", "moving", "S0", "--undo")
    told = await moved(binkeeper, "rebalance")
    assert told["hosts"] == len(before)
    assert work.repeats == repeats
    over.set_result(None)
    await working
    await work.verify()

"""Ray's head is lost: stock operations do not notice, and placement goes on when it is back."""

import asyncio
import os
import signal
import time

import psutil
import pytest

from tests.end_to_end.running import Running
from tests.end_to_end.workload import SILENCE_S_MAX, Workload
from tests.faults.evidence import settled
from tests.waiting import until


@pytest.mark.timeout(240)
async def test_the_control_store_of_ray_is_killed_and_stock_operations_go_on(binkeeper: Running) -> None:
    await until(lambda: settled(binkeeper), "all is quiet", 60.0)
    await until(lambda: len(binkeeper.pids("host")) > 1, "a standby is ready", 60.0)
    work = Workload(binkeeper, "headless", seed=3)
    over = asyncio.get_running_loop().create_future()
    working = asyncio.create_task(work.run(over))
    await until(lambda: len(work.answered) > 200, "the load is on")
    hosts, supervisor = binkeeper.pids("host"), binkeeper.pids("supervisor")
    (killed,) = binkeeper.pids("gcs")
    answered, killed_s = len(work.answered), time.monotonic()
    os.kill(killed, signal.SIGKILL)

    def is_back() -> bool:
        pids = binkeeper.pids("gcs")
        return bool(pids) and pids != [killed] and psutil.pid_exists(pids[0])

    await until(is_back, "the control store is back", 60.0)
    assert len(work.answered) > answered  # While it was away.
    assert work.longest_silence_s(killed_s) < SILENCE_S_MAX
    answered = len(work.answered)
    await until(lambda: len(work.answered) > answered + 300, "it serves")
    assert work.longest_silence_s(killed_s) < SILENCE_S_MAX
    assert work.repeats == 0  # Nobody was told to send again.
    assert binkeeper.pids("host") == hosts
    assert binkeeper.pids("supervisor") == supervisor

    # What only Ray can do works again: a standby takes over, and another is started.
    binkeeper.kill("host")
    await until(lambda: len(set(binkeeper.pids("host")) - set(hosts)) == 1, "a new host is started", 60.0)
    over.set_result(None)
    await working
    await work.verify()

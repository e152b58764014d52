import os
import subprocess
import sys

import psutil

from binkeeper.orphans import end_leftovers, listed_process


def test_a_listed_process_is_known_by_its_pid_and_start() -> None:
    own = {"pid": os.getpid(), "started": psutil.Process().create_time()}
    found = listed_process(own)
    assert found is not None
    assert found.pid == os.getpid()
    for wrong in ({**own, "started": 1.0}, {"pid": os.getpid()}, {**own, "pid": "1"}, {**own, "pid": -1}, {}):
        assert listed_process(wrong) is None


def test_what_an_earlier_launcher_left_is_ended_and_nothing_else() -> None:
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as left:
        started = psutil.Process(left.pid).create_time()
        assert end_leftovers([{"pid": left.pid, "started": started - 60}]) == 0
        own = {"pid": os.getpid(), "started": psutil.Process().create_time()}
        assert end_leftovers([{"pid": left.pid, "started": started}, own]) == 1
        assert left.wait(10) < 0

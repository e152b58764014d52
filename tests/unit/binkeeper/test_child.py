import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from binkeeper import child as module
from binkeeper.child import Child, ChildSpec, last_complaint, opened_log

PARENT = """
import sys
from pathlib import Path
from binkeeper.child import Child, ChildSpec
spec = ChildSpec(role="c", command=("sleep", "600"), log_file=Path(sys.argv[1]))
print(Child.start(spec).pid, flush=True)
sys.stdin.read()
"""


def test_a_child_does_not_outlive_a_parent_that_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "log")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.communicate()
    assert psutil.wait_procs([child], timeout=10)[1] == []


def test_a_child_has_a_session_of_its_own_and_its_settings(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "c.log"
    code = "import os; print(os.getsid(0) == os.getpid(), os.environ['COLOUR'])"
    spec = ChildSpec(
        role="c", command=(sys.executable, "-c", code), log_file=log, environment={"COLOUR": "blue"}
    )
    assert Child.start(spec).wait(10)
    assert log.read_text() == "True blue\n"


def test_a_log_that_has_grown_too_large_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "c.log"
    log.write_bytes(b"x" * 100)
    monkeypatch.setattr(module, "LOG_BYTES_MAX", 99)
    with opened_log(log) as stream:
        stream.write(b"new")
    assert log.read_bytes() == b"new"
    assert len((tmp_path / "c.log.1").read_bytes()) == 100


def test_the_last_complaint_is_the_last_line_that_gives_a_reason(tmp_path: Path) -> None:
    log = tmp_path / "c.log"
    log.write_text("old FATAL\n")
    start = log.stat().st_size
    assert last_complaint(log, start=start) == ""
    log.write_text("old FATAL\nstarting\nFATAL: no room\nshutting down\n")
    assert last_complaint(log, start=start) == "FATAL: no room"
    assert last_complaint(tmp_path / "none.log") == ""

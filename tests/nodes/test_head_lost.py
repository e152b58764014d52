"""The head of a Ray cluster is lost whole, and is back; `make nodes` does it for longer."""

import subprocess
import sys

import pytest

from tests.faults.grounds import ROOT


@pytest.mark.timeout(240)
def test_all_of_the_head_is_killed_and_stock_operations_go_on() -> None:
    # In a process of its own: the cluster of this one is another, and its control store keeps nothing.
    words = ["-m", "pytest", "tests/nodes/three_nodes.py", "-k", "in_short", "-q", "-p", "no:cacheprovider"]
    told = subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=230, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert "1 passed" in told.stdout, told.stdout

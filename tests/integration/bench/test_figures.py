"""The smallest run of the figures, end to end: the product by its own command, every peer, every audit."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from bench.figures import RATIOS
from bench.targets import TARGETS

_SMALL = ("--quick", "--rounds", "1", "--seconds", "0.3", "--bins", "100", "--resting-bins", "1000")


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_run_prints_every_figure_audited_and_leaves_nothing() -> None:
    with tempfile.TemporaryDirectory(prefix="bkt-") as folder:
        Path(folder).chmod(0o711)
        done = subprocess.run(
            [sys.executable, "-m", "bench", "figures", "--json", *_SMALL],
            env={**os.environ, "TMPDIR": folder},
            capture_output=True,
            text=True,
            timeout=220,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert list(Path(folder).iterdir()) == []
        commands = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
        assert [command for command in commands if folder in command] == []
    figures = json.loads(done.stdout)
    assert all(not isinstance(value, dict | list) for value in figures.values())
    for target in TARGETS:
        assert figures[target.key] > 0
    for name in RATIOS:
        assert figures[f"{name}_min"] <= figures[name] <= figures[f"{name}_max"]
    assert figures["audited"] is True
    assert figures["audits"] == 1 + 2 + 2 + 2
    assert (figures["refused"], figures["unavailable"]) == (0, 0)
    assert figures["postgres_fsync"] == figures["postgres_synchronous_commit"] == "on"

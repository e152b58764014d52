"""The smallest run of the ceilings, end to end: the bare host, the product's API before it, and the peers."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from bench.limits import RATIOS


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_run_prints_a_ceiling_for_each_figure_that_compares_rates() -> None:
    with tempfile.TemporaryDirectory(prefix="bkt-") as folder:
        Path(folder).chmod(0o711)
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "bench",
                "limits",
                "--json",
                "--quick",
                "--rounds",
                "1",
                "--seconds",
                "0.3",
            ],
            env={**os.environ, "TMPDIR": folder},
            capture_output=True,
            text=True,
            timeout=220,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert list(Path(folder).iterdir()) == []
    figures = json.loads(done.stdout)
    for name in RATIOS:
        assert 0 < figures[f"{name}_min"] <= figures[name] <= figures[f"{name}_max"]
    assert figures["audited"] is True

"""The smallest run of the benchmark, end to end: the product by its own command, every peer, every audit."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from bench.result import read
from bench.run import RATIOS
from bench.targets import TARGETS

_SMALL = ("--quick", "--rounds", "1", "--seconds", "0.2")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_run_prints_every_figure_audited_writes_a_report_and_leaves_nothing(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="bkt-") as folder:
        Path(folder).chmod(0o711)
        done = subprocess.run(
            [sys.executable, "-m", "binkeeper", "bench", "--json", *_SMALL, "--out", str(tmp_path)],
            env={**os.environ, "TMPDIR": folder},
            capture_output=True,
            text=True,
            timeout=380,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert list(Path(folder).iterdir()) == []
        commands = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
        assert [command for command in commands if folder in command] == []
    figures = json.loads(done.stdout)
    assert all(not isinstance(value, dict | list) for value in figures.values())
    for target in TARGETS:
        assert figures[target.key] > 0, target
    for name in RATIOS:
        assert figures[f"{name}_min"] <= figures[name] <= figures[f"{name}_max"]
    result = read(tmp_path)
    assert result.quick
    assert result.audits > 20
    assert result.machine["postgres_fsync"] == result.machine["postgres_synchronous_commit"] == "on"
    assert {missing.contender for missing in result.not_run} <= {"TigerBeetle"}
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    for picture in tmp_path.glob("*.svg"):
        assert f"]({picture.name})" in page

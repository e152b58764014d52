"""What callers notice of a stall."""

import time
from pathlib import Path

from tests.end_to_end.running import Running
from tests.end_to_end.workload import Workload


def _asking(folder: Path, *known_s: float) -> Workload:
    """Callers who were answered at these instants, each after a tenth of a second."""
    work = Workload(Running(folder), "silent", seed=1)
    work.answered = [(at_s - 0.1, at_s) for at_s in known_s]
    return work


def test_who_is_never_answered_again_hears_silence_until_now(tmp_path: Path) -> None:
    lost_s = time.monotonic() - 50.0
    for known_s in ((), (lost_s - 1.0,)):
        assert _asking(tmp_path, *known_s).longest_silence_s(lost_s) >= 50.0


def test_silence_since_the_last_answer_counts_like_silence_between_two(tmp_path: Path) -> None:
    lost_s = time.monotonic() - 50.0
    assert 40.0 <= _asking(tmp_path, lost_s + 10.0).longest_silence_s(lost_s) < 50.0
    between = _asking(tmp_path, lost_s + 5.0, lost_s + 45.0, lost_s + 48.0).longest_silence_s(lost_s)
    assert abs(between - 40.0) < 1e-6

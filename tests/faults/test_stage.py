"""What a report of one run calls wrong."""

from tests.faults.evidence import Findings
from tests.faults.stage import Report


def _report(back_s: float, back_s_max: float | None, findings: Findings | None = None) -> Report:
    return Report("host killed", 100, 0, 0, back_s, 0.0, findings or Findings(), [], back_s_max)


def test_stock_that_is_served_again_in_time_is_nothing_to_tell() -> None:
    assert _report(2.9, 3.0).found() == []
    assert _report(60.0, None).found() == []


def test_stock_that_is_served_again_too_late_is_told_beside_what_else_was_found() -> None:
    assert _report(3.01, 3.0).found() == ["late: served again after 3.01 s, more than 3"]
    assert len(_report(3.01, 3.0, Findings(lost=["a receipt"])).found()) == 2

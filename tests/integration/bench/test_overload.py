"""A short overload of the running product: the refused had no effect, and the accepted happened once."""

import pytest

from bench.overload import Overload, OverloadPlan

_PLAN = OverloadPlan(
    doors=("http",),
    factors=(3.0,),
    bins=600,
    warm_s=1.0,
    capacity_s=2.0,
    before_s=1.0,
    overload_s=3.0,
    after_s=1.0,
)


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_three_times_too_much_is_refused_early_and_audited() -> None:
    (row,) = await Overload(_PLAN, print).rows()  # Raises AuditFailed when the ledger is not what was told.
    assert row["unknown"] == row["retry_after_missing"] == 0
    assert row["refused"] > 0

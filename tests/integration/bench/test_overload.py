"""A short overload of the running product: the refused had no effect, and the accepted happened once.

What follows from the machine's speed is left to `make overload`; what is asserted holds on any. More is
offered than the machine carries, and more again where it was so busy while its capacity was measured that it
carried all of it; after it so little that only what the overload left behind could have any of it refused.
"""

from dataclasses import replace

import pytest

from bench.overload import Overload, OverloadPlan
from bench.overload_bounds import wrong

_PLAN = OverloadPlan(
    factors=(3.0,),
    bins=600,
    warm_s=1.0,
    capacity_s=1.0,
    offered_s_min=4_000.0,
    before_s=1.0,
    overload_s=2.0,
    after_s=2.0,
    calm=0.05,
)


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_too_much_is_refused_early_and_audited() -> None:
    for factor in (3.0, 6.0, 12.0):
        plan = replace(_PLAN, factors=(factor,))
        rows = await Overload(plan, print).rows()  # Raises AuditFailed when the ledger is not what was told.
        if all(row["refused"] for row in rows):
            break
    assert [row["door"] for row in rows] == ["lanes", "http"]
    for row in rows:
        assert list(wrong(row)) == []
        assert row["after_second_s_offered"] > 0
        assert row["after_second_s_missed"] == 0

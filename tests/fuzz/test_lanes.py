"""A host whose lanes are attacked lives, stays small, and serves whoever behaves."""

from tests.fuzz.lanes import fuzz_lanes
from tests.fuzz.tally import SEED, Tally, cases_of
from tests.fuzz.target import own_target


async def test_a_host_outlives_whatever_comes_by_its_lanes() -> None:
    tally = Tally("lanes", SEED, cases_of(100))
    with own_target() as target:
        await fuzz_lanes(tally, target)
    print("\n".join(tally.lines()))
    assert tally.total == tally.cases + 1

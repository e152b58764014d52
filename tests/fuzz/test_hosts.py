"""A caller of lanes whose host goes mad is told what is known, in time."""

from tests.component.actors.world import world
from tests.fuzz.hosts import fuzz_hosts
from tests.fuzz.tally import SEED, Tally, cases_of


async def test_a_caller_outlives_whatever_a_host_answers() -> None:
    tally = Tally("hosts", SEED, cases_of(40))
    async with world() as good:
        await fuzz_hosts(tally, good)
    print("\n".join(tally.lines()))
    assert tally.total == tally.cases

"""A courier whose NATS is abused by others lives, goes on, and leaves no entry out."""

from tests.fuzz.streams import fuzz_streams
from tests.fuzz.tally import SEED, Tally, cases_of


async def test_the_courier_outlives_whatever_others_do_on_nats(nats_url: str) -> None:
    tally = Tally("streams", SEED, cases_of(24))
    await fuzz_streams(tally, nats_url)
    print("\n".join(tally.lines()))
    assert tally.total == tally.cases

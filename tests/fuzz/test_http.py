"""An HTTP server that is attacked by raw sockets lives, stays small, and never lies about what happened."""

from tests.fuzz.sockets import fuzz_http
from tests.fuzz.tally import SEED, Tally, cases_of
from tests.fuzz.target import own_target


async def test_the_server_outlives_whatever_comes_by_http() -> None:
    tally = Tally("http", SEED, cases_of(130))
    with own_target() as target:
        await fuzz_http(tally, target)
    print("\n".join(tally.lines()))
    assert tally.total == tally.cases

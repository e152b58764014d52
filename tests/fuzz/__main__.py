"""The long versions of the fuzzers: `python -m tests.fuzz [FUZZER ...]`, by `make fuzz`.

Each runs from a fresh random seed unless told otherwise, prints what it tried, and how to repeat what failed.
`document` and `http` attack a product that `binkeeper up` started, with real Postgres, NATS and Ray; the
others attack a host on memory adapters, and a real NATS.
"""

import argparse
import asyncio
import logging
import random
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from binkeeper.embedded.nats import EmbeddedNats
from tests.component.actors.world import world
from tests.end_to_end.running import Running
from tests.fuzz.document import PHASES, walk
from tests.fuzz.hosts import fuzz_hosts
from tests.fuzz.lanes import fuzz_lanes
from tests.fuzz.sockets import fuzz_http
from tests.fuzz.streams import fuzz_streams
from tests.fuzz.tally import Tally
from tests.fuzz.target import MIB, MemoryWatch, Target, own_target

_PATIENCE_S = 30.0
"""How long the product waits for a body."""


@contextmanager
def _product() -> Iterator[Target]:
    running = Running()
    try:
        running.start()
        run = running.run
        pids = running.pids("api"), running.pids("host")
        yield Target(run["url"], run["token"], "", (*pids[0], *pids[1]), _PATIENCE_S)
        assert (running.pids("api"), running.pids("host")) == pids, "a process ended and was replaced"
    finally:
        running.end()


def _document(tally: Tally) -> None:
    with _product() as target:
        with MemoryWatch(target.memory_bytes) as memory:
            walk(tally, target.token, url=target.url, phases=PHASES)
        tally.notes["memory"] = memory.check(growth_bytes_max=400 * MIB, peak_bytes_max=900 * MIB)


def _http(tally: Tally) -> None:
    with _product() as target:
        asyncio.run(fuzz_http(tally, target))


def _lanes(tally: Tally) -> None:
    with own_target() as target:
        asyncio.run(fuzz_lanes(tally, target, idle=5_000))


def _hosts(tally: Tally) -> None:
    async def run() -> None:
        async with world() as good:
            await fuzz_hosts(tally, good)

    asyncio.run(run())


def _streams(tally: Tally) -> None:
    with EmbeddedNats.temporary() as server:
        asyncio.run(fuzz_streams(tally, server.url))


FUZZERS: dict[str, tuple[int, Callable[[Tally], None]]] = {
    "document": (100, _document),
    "http": (2_000, _http),
    "lanes": (3_000, _lanes),
    "hosts": (500, _hosts),
    "streams": (150, _streams),
}
"""How many cases each tries unless told otherwise: a few minutes' worth; of `document`, for each route."""


def main() -> int:
    """Run the fuzzers that are named, or all; the exit code is 1 when one found something."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("fuzzers", nargs="*", metavar="FUZZER", help=", ".join(FUZZERS))
    parser.add_argument("--seed", "--fuzz-seed", type=int, help="repeat a run; without it, a fresh one")
    parser.add_argument("--cases", type=int, help="how many cases each fuzzer tries")
    parser.add_argument("--case", type=int, help="only this case of the run; needs --seed and its --cases")
    asked = parser.parse_args()
    unknown = set(asked.fuzzers) - FUZZERS.keys()
    if unknown:
        parser.error(f"there is no fuzzer {', '.join(unknown)}: choose from {', '.join(FUZZERS)}")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    seed = random.SystemRandom().randrange(2**32) if asked.seed is None else asked.seed
    found = 0
    for name in asked.fuzzers or FUZZERS:
        cases, run = FUZZERS[name]
        tally = Tally(name, seed, asked.cases or cases, asked.case)
        try:
            run(tally)
        except Exception:  # noqa: BLE001 - the others are run all the same
            found += 1
            traceback.print_exc()
        print("\n".join(tally.lines()), flush=True)
    print(f"{found} fuzzers found something" if found else "nothing found")
    return min(found, 1)


if __name__ == "__main__":
    sys.exit(main())

"""Kill what serves a large stock at rest, again and again, and tell the worst: `python -m tests.recovery`.

Every try asks every partition for a bin that nothing has happened to since it was filled, at the instant of
the kill, and counts until the last has answered. Afterwards each of those bins must hold exactly what was
acknowledged.
"""

import argparse
import asyncio
import json
import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.end_to_end.running import Running
from tests.nodes.cluster import Nodes
from tests.recovery import kills
from tests.recovery.stock import LargeStock

HOSTS = 3
LIMITS_S = {"host": 3.0, "Postgres": 3.0, "NATS": 3.0, "node": 15.0}
"""What P10 promises: a host and a node from the kill, the others from being back."""


@contextmanager
def one_node() -> Iterator[tuple[Running, dict[str, kills.Kill]]]:
    """`binkeeper up` as it is."""
    binkeeper = Running()
    try:
        yield binkeeper.start(), {"host": kills.host, "Postgres": kills.postgres, "NATS": kills.nats}
    finally:
        binkeeper.end()


@contextmanager
def several_nodes() -> Iterator[tuple[Running, dict[str, kills.Kill]]]:
    """`binkeeper up` on a Ray cluster of three nodes with a host each."""
    cluster = Nodes(HOSTS)
    binkeeper = Running(ray_address=cluster.address, hosts=str(HOSTS))
    try:
        yield binkeeper.start(), {"node": kills.NodeKills(cluster, HOSTS)}
    finally:
        binkeeper.end()
        cluster.end()


async def tries(
    binkeeper: Running, bins: int, count: int, wanted: dict[str, kills.Kill]
) -> dict[str, list[float]]:
    """Fill the stock, then kill each in turn; return the seconds of each try. Raises AssertionError."""
    stock = await LargeStock.connect(binkeeper, bins)
    found: dict[str, list[float]] = {name: [] for name in wanted}
    try:
        await stock.fill()
        for number in range(count):
            for name, kill in wanted.items():
                found[name].append(round(await kill(stock), 2))
                print(f"{name} killed, try {number + 1} of {count}: {found[name][-1]} s", flush=True)
                await stock.rest()
        print(f"{await stock.audit():,} bins hold exactly what was acknowledged", flush=True)
    finally:
        await stock.close()
    return found


def told(found: dict[str, list[float]], bins: int) -> Iterator[str]:
    """Go through the lines of the table, in Markdown."""
    yield "| Killed | Bins | Tries | Median, s | Worst, s | At most, s |"
    yield "|---|---|---|---|---|---|"
    for name, seconds in found.items():
        yield (
            f"| {name} | {bins:,} | {len(seconds)} | {statistics.median(seconds):.2f} | {max(seconds):.2f} "
            f"| {LIMITS_S[name]:g} |"
        )


def main() -> int:
    """Kill, and tell; the exit code is 1 when one took longer than is promised."""
    parser = argparse.ArgumentParser(prog="python -m tests.recovery", description=__doc__)
    parser.add_argument("--bins", type=int, default=1_000_000, help="bins at rest")
    parser.add_argument("--tries", type=int, default=10, help="how often each is killed")
    parser.add_argument("--only", default="", help="what is killed; several with commas")
    parser.add_argument(
        "--json", action="store_true", help="tell the seconds of each try as JSON, at the end"
    )
    given = parser.parse_args()
    words = given.only.lower().split(",") if given.only else [name.lower() for name in LIMITS_S]
    found: dict[str, list[float]] = {}
    for place, names in ((one_node, ("host", "postgres", "nats")), (several_nodes, ("node",))):
        if set(names) & set(words):
            with place() as (binkeeper, ways):
                wanted = {name: kill for name, kill in ways.items() if name.lower() in words}
                found |= asyncio.run(tries(binkeeper, given.bins, given.tries, wanted))
    print(json.dumps(found) if given.json else "\n".join(told(found, given.bins)))
    return int(any(max(seconds) > LIMITS_S[name] for name, seconds in found.items()))


if __name__ == "__main__":
    sys.exit(main())

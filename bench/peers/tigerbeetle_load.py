"""Load on TigerBeetle: so many reserves under way, all that wait in one call. See `tigerbeetle_stock`."""

from collections.abc import Iterator
from itertools import cycle
from time import perf_counter
from typing import Any

from tigerbeetle import ClientAsync, Transfer

from bench.peers.tigerbeetle_stock import BATCH_MAX, CLUSTER, is_reserved, reserve
from bench.told import Told
from bench.workloads import Workload, keys_of

Request = tuple[tuple[int, ...], list[Transfer], float]
"""Bins, their transfers, and when they were asked for."""


class TigerBeetleLoad:
    """Reserves by transfers. A client has one call under way; a test gives its own."""

    def __init__(self, address: str, client: Any = None) -> None:  # noqa: ANN401 - a ClientAsync
        self._client = client or ClientAsync(CLUSTER, address)

    async def close(self) -> None:
        """Close the connection."""
        await self._client.close()

    async def closed(
        self, workload: Workload, salt: int, *, in_flight: int, warm_s: float, seconds: float
    ) -> dict[str, Any]:
        """Keep `in_flight` reserves under way: for `warm_s`, which do not count, then for `seconds`."""
        told, drawn = Told(), _requests(workload, salt)
        from_s = perf_counter() + warm_s
        until_s = from_s + seconds
        waiting = [next(drawn) for _ in range(in_flight)]
        while waiting:
            batch, waiting = _batch(waiting)
            results = await self._client.create_transfers(
                [transfer for _, transfers, _ in batch for transfer in transfers]
            )
            now_s = perf_counter()
            at = 0
            for bins, transfers, began_s in batch:
                if is_reserved(results[at : at + len(transfers)]):
                    for index in bins:
                        told.acknowledged[index] += 1
                    told.ended_s.append(now_s)
                    told.spent_s.append(now_s - began_s)
                else:
                    told.refused += 1
                at += len(transfers)
            if now_s < until_s:
                waiting += [next(drawn) for _ in batch]
        return told.plain(from_s, until_s)


def _requests(workload: Workload, salt: int) -> Iterator[Request]:
    """Return requests without end."""
    keys = keys_of(salt)
    bins: tuple[int, ...]
    for drawn in cycle(workload.orders(salt) if workload.lines_max > 1 else workload.sequence(salt)):
        bins = drawn if isinstance(drawn, tuple) else (drawn,)
        yield bins, reserve(workload, bins, keys.getrandbits(128)), perf_counter()


def _batch(waiting: list[Request]) -> tuple[list[Request], list[Request]]:
    """Return those that go together, as many as a call carries, and the rest."""
    transfers = 0
    for number, request in enumerate(waiting):
        transfers += len(request[1])
        if transfers > BATCH_MAX:
            return waiting[:number], waiting[number:]
    return waiting, []

import asyncio
from array import array
from time import perf_counter

import pytest

from bench.driving import ACCEPTED, REFUSED, UNAVAILABLE, UNKNOWN, Drive
from bench.latency import Latencies


class Server:
    """Answers after a while, the way that a request's number says; stands still when it is told to."""

    def __init__(self, drive: Drive, spent_s: float = 0.0) -> None:
        self.drive = drive
        self.spent_s = spent_s
        self.draws = array("l", [0, 1, 1, 2])
        self.under_way = self.most = 0
        self.silent: set[int] = set()
        self.still_until_s = 0.0

    def send(self, number: int) -> None:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        if number not in self.silent:
            wait_s = max(self.spent_s, self.still_until_s - perf_counter())
            asyncio.get_running_loop().call_later(wait_s, self._answer, number)

    def _answer(self, number: int) -> None:
        self.under_way -= 1
        outcomes = {3: REFUSED, 4: UNAVAILABLE, 5: UNKNOWN}
        self.drive.ended(number, outcomes.get(number, ACCEPTED))


async def test_a_closed_loop_keeps_so_many_requests_under_way_and_counts_those_that_end_in_time() -> None:
    drive = Drive()
    server = Server(drive, 0.01)
    window = await drive.closed(server.send, in_flight=8, warm_s=0.1, seconds=0.3)
    told = window.plain(server.draws)
    assert server.most == 8
    assert server.under_way == 0
    total = len(drive.outcomes)
    assert told["refused"] == told["unavailable"] == 1
    assert sum(told["acknowledged"].values()) == total - 3
    assert told["unknown"] == {1: 1}
    assert 0.4 * total < told["operations"] < 0.9 * total
    assert told["ops_s"] == pytest.approx(told["operations"] / 0.3, rel=0.1)
    assert told["p50_ms"] >= 10


async def test_an_open_loop_counts_latency_from_the_time_at_which_a_request_was_due() -> None:
    drive = Drive()
    server = Server(drive)
    server.still_until_s = perf_counter() + 0.5  # Who waits for an answer before the next would see one late.
    window = await drive.open(server.send, rate=1_000, warm_s=0.0, seconds=1.0, seed=1)
    told = window.plain(server.draws)
    assert server.most > 300
    assert told["offered"] == pytest.approx(1_000, rel=0.1)
    late = Latencies.read(told["histogram"])
    assert late.count == told["operations"] == told["offered"] - 3
    assert told["max_ms"] > 400
    assert 150 < told["p90_ms"] < 500


async def test_an_open_loop_s_warm_up_does_not_count() -> None:
    drive = Drive()
    server = Server(drive)
    window = await drive.open(server.send, rate=1_000, warm_s=0.2, seconds=0.2, seed=2)
    told = window.plain(server.draws)
    assert told["offered"] == pytest.approx(200, rel=0.25)
    assert sum(told["acknowledged"].values()) == len(drive.outcomes) - 3 == 397


async def test_what_is_never_answered_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.driving._DRAIN_S_MAX", 0.05)
    drive = Drive()
    server = Server(drive, 0.001)
    server.silent.add(6)
    window = await drive.closed(server.send, in_flight=2, warm_s=0.01, seconds=0.05)
    assert sum(window.plain(server.draws)["unknown"].values()) == 2  # Number 5, and the silent one.


async def test_a_fault_ends_the_load() -> None:
    drive = Drive()

    def send(number: int) -> None:  # noqa: ARG001 - as a load's
        asyncio.get_running_loop().call_soon(drive.failed, ConnectionError("gone"))

    with pytest.raises(ConnectionError, match="gone"):
        await drive.closed(send, in_flight=2, warm_s=5.0, seconds=5.0)

import asyncio

import pytest

from bench.open_load import ACCEPTED, REFUSED, SILENT, OpenRun, Schedule, open_key, skus_together
from bench.overload import shortcomings
from bench.workloads import Workload


def test_requests_are_due_by_the_clock_whatever_becomes_of_them() -> None:
    schedule = Schedule([(10.0, 2.0), (100.0, 1.0)])
    assert schedule.total == 120
    assert [schedule.due(s) for s in (0.0, 0.55, 2.0, 2.5, 9.0)] == [0, 5, 20, 70, 120]
    times = schedule.intended_s()
    assert (times[0], times[19], times[20], times[21]) == (0.0, 1.9, 2.0, 2.01)


async def test_latency_counts_from_the_time_at_which_a_request_was_due() -> None:
    run = OpenRun(Schedule([(1_000.0, 0.05)]))
    late: list[int] = []

    def send(number: int) -> None:
        if number % 2:
            late.append(number)
        else:
            run.ended(number, ACCEPTED)

    async def answer_late() -> None:
        while len(late) < 25:  # noqa: ASYNC110 - the run tells nobody
            await asyncio.sleep(0.001)
        for number in late[:-1]:
            run.ended(number, REFUSED)

    await asyncio.gather(run.run(send, drain_s=0.1), answer_late())
    told = run.plain()
    (phase,) = told["phases"]
    assert (phase["offered"], phase["accepted"], phase["refused"], phase["unknown"]) == (50, 25, 24, 1)
    assert told["outcomes"].count(SILENT.decode()) == 1
    assert phase["refused_max_ms"] > 40  # Number 1 was due at 1 ms, and answered after the last was sent.


def test_skus_that_are_reserved_together_lie_in_one_partition() -> None:
    workload = Workload("w", 400)
    together = skus_together(workload, 16)
    known = {workload.sku(n): workload.partition(n, 16) for n in range(400)}
    assert together
    for number, skus in together:
        assert len(skus) == 6
        assert {known[sku] for sku in skus} == {number}


def test_keys_of_one_load_are_apart() -> None:
    assert open_key(7, 26) == "open-7-1a"


_GOOD = {
    "door": "http",
    "factor": 3.0,
    "accepted_p99_ms": 500.0,
    "refused_p99_ms": 500.0,
    "after_first_s_p99_ms": 100.0,
    "refused": 10,
    "retry_after_missing": 0,
    "unknown": 0,
    "host_grown_mib": 1.0,
    "api_grown_mib": 1.0,
}


@pytest.mark.parametrize(
    "change, said",
    [
        ({"accepted_p99_ms": 5_000.0}, "99th percentile"),
        ({"refused_p99_ms": 5_000.0}, "refusals took"),
        ({"after_first_s_p99_ms": 5_000.0}, "first second after"),
        ({"refused": 0}, "nothing was refused"),
        ({"retry_after_missing": 1}, "without Retry-After"),
        ({"unknown": 1}, "not known"),
        ({"host_grown_mib": 500.0}, "the host grew"),
        ({"api_grown_mib": 500.0}, "the api grew"),
    ],
)
def test_a_row_that_is_not_what_is_promised_falls_short(change: dict[str, object], said: str) -> None:
    assert shortcomings([_GOOD]) == []
    (found,) = shortcomings([{**_GOOD, **change}])
    assert said in found

import asyncio

from bench.open_load import ACCEPTED, REFUSED, SILENT, OpenRun, Schedule, open_key, skus_together
from bench.workloads import Workload
from tests.waiting import until


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
        await until(lambda: len(late) == 25)
        for number in late[:-1]:
            run.ended(number, REFUSED)

    await asyncio.gather(run.run(send, drain_s=0.1), answer_late())
    told = run.plain()
    (phase,) = told["phases"]
    assert (phase["offered"], phase["accepted"], phase["refused"], phase["unknown"]) == (50, 25, 24, 1)
    assert told["outcomes"].count(SILENT.decode()) == 1
    assert phase["refused_max_ms"] > 40  # Number 1 was due at 1 ms, and answered after the last was sent.


async def test_a_phase_has_as_many_seconds_as_it_is_long_and_the_last_one_has_the_rest() -> None:
    run = OpenRun(Schedule([(33.9, 2.0), (10.0, 2.5), (8.0, 0.5)]))
    phases = run.plain()["phases"]
    assert [[part["offered"] for part in phase["by_second"]] for phase in phases] == [[33, 34], [10, 15], [4]]
    assert [sum(part["offered"] for part in phase["by_second"]) for phase in phases] == run.schedule.counts


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

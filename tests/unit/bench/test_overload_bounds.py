from typing import Any

import pytest

from bench.overload_bounds import shortcomings

_GOOD: dict[str, Any] = {
    "door": "http",
    "factor": 3.0,
    "goodput": 0.8,
    "accepted_p99_ms": 500.0,
    "refused_p99_ms": 500.0,
    "after_first_s_p99_ms": 800.0,
    "after_first_s_refused": 90,
    "after_second_s_p99_ms": 100.0,
    "after_second_s_offered": 1_000,
    "after_second_s_missed": 10,
    "offered": 10_000,
    "refused": 10,
    "unsent": 200,
    "before_offered": 1_000,
    "before_missed": 10,
    "machine_cores": 2,
    "machine_load": 12.0,
    "generator_late_ms": 100.0,
    "retry_after_missing": 0,
    "unknown": 0,
    "host_grown_mib": 1.0,
    "api_grown_mib": 1.0,
    "host_peak_mib": 20.0,
    "api_peak_mib": 20.0,
}


def test_a_row_within_every_bound_falls_short_in_nothing() -> None:
    assert shortcomings([_GOOD, _GOOD]) == []


@pytest.mark.parametrize(
    "change, said",
    [
        ({"accepted_p99_ms": 5_000.0}, "accepted requests took"),
        ({"refused_p99_ms": 5_000.0}, "refusals took"),
        ({"after_first_s_p99_ms": 5_000.0}, "first second after"),
        ({"after_second_s_p99_ms": 2_000.0}, "second second after"),
        ({"after_second_s_missed": 11}, "11 of 1000 requests were not accepted in the second second"),
        ({"goodput": 0.49}, "only 49% of the capacity"),
        ({"refused": 0}, "nothing was refused"),
        ({"retry_after_missing": 1}, "without Retry-After"),
        ({"unknown": 1}, "not known"),
        ({"host_grown_mib": 33.0}, "the host grew"),
        ({"api_grown_mib": 33.0}, "the api grew"),
        ({"host_peak_mib": 65.0}, "the host took 65 MiB more at its peak"),
        ({"api_peak_mib": 65.0}, "the api took 65 MiB more at its peak"),
        ({"generator_late_ms": 251.0}, "no measurement: the generator was 251 ms late"),
        ({"unsent": 201}, "201 of 10000 requests found no connection"),
        ({"machine_load": 12.1}, "no measurement: the machine's load average was 12.1 on 2 cores"),
        ({"before_missed": 11}, "no measurement: 11 of 1000 requests were not accepted before"),
    ],
)
def test_a_row_that_is_not_what_is_promised_falls_short(change: dict[str, object], said: str) -> None:
    (found,) = shortcomings([_GOOD, {**_GOOD, **change}])
    assert said in found
    assert found.startswith("http at 3 times: ")


def test_times_that_a_late_generator_measured_are_not_held_against_the_product() -> None:
    (found,) = shortcomings([{**_GOOD, "generator_late_ms": 900.0, "accepted_p99_ms": 5_000.0}])
    assert "no measurement" in found


def test_what_no_noise_excuses_is_said_of_a_run_that_measured_nothing_too() -> None:
    found = shortcomings([{**_GOOD, "generator_late_ms": 900.0, "unknown": 1, "api_peak_mib": 500.0}])
    assert len(found) == 3

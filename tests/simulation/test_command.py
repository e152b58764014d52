"""The same seed is the same history, in every process; what the command tells of histories."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

from simulation.__main__ import Options, again
from simulation.plan import plan
from simulation.report import summary
from simulation.run import run

TIMES = {"seconds": 0, "cpu_s": 0, "histories_per_minute": 0, "histories_per_core_minute": 0}
"""What differs from one process to the next: all else is the same, bit for bit."""


def simulate(*options: str, hash_seed: str) -> tuple[int, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "binkeeper", "simulate", *options, "--json"],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},  # Which is set right by the command.
    )
    return done.returncode, json.loads(done.stdout)


def test_the_command_that_is_printed_plays_a_history_with_the_same_options_again() -> None:
    options = Options(9, 7, 60, True, 30, 2, False, False, 200, "", True)
    words = again(8, options).split()
    assert words == [
        "binkeeper",
        "simulate",
        "--runs",
        "1",
        "--seed",
        "8",
        "--operations",
        "60",
        "--calm",
        "--calm-after",
        "30",
    ]


def test_the_same_seed_is_the_same_history() -> None:
    first, second = (run(plan(5, 300)) for _ in range(2))
    assert first.digest == second.digest
    assert first.digest != run(plan(6, 300)).digest


def test_another_process_plays_the_same_history() -> None:
    options = ("--runs", "2", "--seed", "7", "--operations", "200")
    code, report = simulate(*options, hash_seed="1")
    again, same = simulate(*options, hash_seed="2")
    assert (code, again) == (0, 0)
    assert report["failed"] == 0
    assert {**report, **TIMES} == {**same, **TIMES}
    assert report["digest"] != simulate(*options[:-1], "201", hash_seed="1")[1]["digest"]


def test_the_digest_of_histories_is_of_all_of_them_in_the_order_of_their_seeds() -> None:
    first, second = (run(plan(seed, 60)) for seed in (5, 6))
    told = summary([first, second], 1.0, 2.0)["digest"]
    assert told == summary([second, first], 3.0, 4.0)["digest"]
    assert told != summary([first, replace(second, digest=first.digest)], 1.0, 2.0)["digest"]


def test_the_rate_on_one_core_is_told_beside_that_by_the_wall_clock() -> None:
    told = summary([run(plan(5, 20))], 0.5, 2.0)
    assert (told["histories_per_minute"], told["histories_per_core_minute"]) == (120.0, 30.0)

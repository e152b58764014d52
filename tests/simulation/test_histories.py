"""Histories with faults: clean, the same each time, and awake to seeded bugs. Long: `make simulate`."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from engine.entries import Entry
from simulation.__main__ import Options, again
from simulation.causes import Group
from simulation.clients import Call
from simulation.coverage import counted, never_happened
from simulation.loop import SimulatedLoop
from simulation.mutants import MUTANTS
from simulation.plan import FAULTS, KINDS, Fault, Operation, last_round, plan
from simulation.referee import Referee
from simulation.report import summary
from simulation.run import run
from simulation.shrink import shrink
from simulation.world import EPOCH_MS, World

FOUND = (20, 25, 46, 62, 70, 1060, 1177, 1505)
"""Seeds that once found a bug. The code has changed since, and what they lead to as well."""


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


@pytest.mark.parametrize("seed", FOUND)
def test_a_history_with_faults_keeps_every_promise(seed: int) -> None:
    result = run(plan(seed, 500))
    assert result.violation is None
    assert result.answers > 300
    assert result.faults > 0


def test_a_history_without_faults_is_answered_at_once() -> None:
    result = run(plan(3, 300, faults=False))
    assert result.violation is None
    assert result.virtual_s < 15


def test_after_the_last_fault_everything_is_answered_soon_under_load() -> None:
    result = run(plan(11, 600, calm_after=300))
    assert result.violation is None
    assert result.faults > 0
    assert all(fault.after < 300 for fault in result.plan.faults)


def test_a_request_that_is_not_answered_after_the_last_fault_is_blamed_in_seconds() -> None:
    (mutant,) = [mutant for mutant in MUTANTS if "no move" in mutant.name]
    calm = replace(plan(1, 300), faults=(Fault(0, "gateway_clock_steps"),), calm_after=1)
    with mutant.patch():
        found = run(calm)
    assert str(found.violation).startswith("liveness: not answered for")
    assert found.virtual_s < 45


def test_every_kind_of_request_is_sent_to_every_sku_and_through_every_gateway() -> None:
    steps = last_round(7, 4)
    asked = [operation for step in steps for operation in step]
    kinds = {operation.kind for operation in asked}
    assert kinds == set(KINDS)
    for kind in kinds:
        of_kind = [operation for operation in asked if operation.kind == kind]
        assert {operation.skus[0] for operation in of_kind} == set(range(7))
        assert {operation.gateway for operation in of_kind} == set(range(4))


COME = (
    "answer of the database lost",
    "commit cancelled, its outcome unknown",
    "commit late",
    "commit refused",
    "commit without an answer",
    "cut after a frame",
    "cut before a frame",
    "cut within a frame",
    "host restarted after its ledger was mended",
    "request of a host that is cut off",
    "request refused, the ledger does not hold",
    "row harmed as its owner died",
    "snapshot rebuilt after a row was harmed",
    "stream message forgotten",
)
"""What comes of each fault once, in most orders; the rest needs many histories."""


def test_each_fault_that_is_claimed_does_harm_and_each_kind_of_entry_is_made() -> None:
    results = []
    for seed in range(1, 6):
        troubles = tuple(
            Fault(20 + 24 * place, kind, place + seed, 1.0 + seed, 0.9, 10 * place)
            for place, kind in enumerate(sorted(FAULTS, key=lambda kind: (kind == "harm_snapshot", kind)))
        )
        result = run(replace(plan(seed, 700), faults=troubles))
        assert result.violation is None
        results.append(result)
    counts = counted(results)
    assert all(counts["faults_by_kind"].values())
    assert all(counts["entries_by_kind"].values())
    assert {what for what in COME if not counts["effects"][what]} == set()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_request_fails_because_partitions_move_on_purpose(seed: int) -> None:
    wishes = tuple(Fault(after, "wish", seed, size=0.1) for after in (20, 700))
    result = run(replace(plan(seed, 900), faults=wishes))
    assert result.violation is None
    assert result.unknown == 0
    assert result.effects["partition moved as it was wished"] == 2


def test_a_request_that_fails_because_partitions_move_is_blamed() -> None:
    (mutant,) = [mutant for mutant in MUTANTS if "sent away" in mutant.name]
    moves = tuple(Fault(60 * place, "hand_over", place, size=0.9) for place in range(1, 10))
    with mutant.patch():
        found = {str(run(replace(plan(seed, 600), faults=moves)).violation) for seed in range(1, 6)}
    assert any("fails while nothing goes wrong" in violation for violation in found)


def test_a_claim_does_not_believe_the_time_of_an_entry_that_is_harmed() -> None:
    world = World(SimulatedLoop(), 1, 1, 1)
    referee = Referee(world)
    row = Entry(*[None] * len(Entry._fields))._replace(partition=0, quantity=0, on_hand=0, reserved=0, held=0)

    def claim(seq: int, at_ms: int) -> Entry:
        detail = json.dumps({"host": "host-1", "epoch": seq, "address": ""})
        return row._replace(seq=seq, at_ms=at_ms, kind="partition_claimed", span=1, detail=detail)

    first = claim(1, EPOCH_MS)
    referee._committed("host-1", [first])
    world.harming._entries[0] = first
    referee._committed("host-1", [claim(2, EPOCH_MS - 1)])
    assert referee.violation is None
    referee._committed("host-1", [claim(3, EPOCH_MS - 2)])
    assert "before the entry before it" in str(referee.violation)


def test_an_entry_that_is_later_than_its_writers_clock_is_blamed() -> None:
    world = World(SimulatedLoop(), 1, 1, 1)
    assert world.latest_ms("host-1") == EPOCH_MS
    world.set_clock("host-1", 3_600_000)
    world.set_clock("host-1", 0)
    assert world.latest_ms("host-1") == EPOCH_MS + 3_600_000  # It may have decided before it was set back.
    assert world.latest_ms("host-2") == EPOCH_MS


HARM = (Fault(400, "harm_ledger", 3, 1.0),)


def test_an_entry_that_is_harmed_is_named_until_it_is_put_right() -> None:
    result = run(replace(plan(2, 600), faults=HARM))
    assert result.violation is None
    assert result.effects["request refused, the ledger does not hold"] > 0
    assert result.effects["host restarted after its ledger was mended"] == 1


def test_a_ledger_that_does_not_hold_and_is_served_is_blamed() -> None:
    (mutant,) = [mutant for mutant in MUTANTS if "does not hold is served" in mutant.name]
    with mutant.patch():
        assert mutant.is_named_by(run(replace(plan(2, 600), faults=HARM)).violation)


@pytest.mark.parametrize("chance", range(0, 24, 2))
def test_a_row_that_is_harmed_is_noticed_and_the_partition_rebuilt(chance: int) -> None:
    harm = Fault(500, "harm_snapshot", chance, size=chance / 10_000)
    result = run(replace(plan(2, 550), faults=(harm,)))
    assert result.violation is None
    assert result.effects["snapshot rebuilt after a row was harmed"] > 0


def test_what_never_happened_is_told() -> None:
    counts = counted([run(plan(3, 50, faults=False))])
    assert {"kill_host", "frame late, its sender has sent it again"} <= set(never_happened(counts))
    assert "stock_received" not in never_happened(counts)


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


@pytest.mark.parametrize(
    "name",
    [
        "answers leave before",
        "keys are not recovered",
        "picked units",
        "cursor",
        "one unit more",
        "stocks are not found",
        "holds are refused",
        "forgets a stock",
        "without its last bin",
        "left alone",
        "old states",
        "check the claim",
        "client's clock",
        "another machine's clock",
        "held units",
        "expire early",
        "tail is not applied",
        "no move",
        "changes of shares do nothing",
        "again without a key",
        "never reserved together",
        "a part is a unit less",
        "for all but receives",
        "variance",
        "lots are not broadcast",
        "never looks",
        "have another state",
        "takes the smallest ones",
        "an expired lot is reserved",
        "latest date first",
        "lacks a reservation",
        "snapshot are not compared",
    ],
)
def test_a_seeded_bug_is_found(name: str) -> None:
    (mutant,) = [mutant for mutant in MUTANTS if name in mutant.name]
    with mutant.patch():
        assert any(mutant.is_named_by(run(plan(seed)).violation) for seed in range(1, 13))
    assert run(plan(1, 200)).violation is None


def test_what_nothing_came_of_must_not_come_later() -> None:
    world = World(SimulatedLoop(), 1, 1, 1)
    referee = Referee(world)
    call = Call(Operation(0, "receive", (1,)), "key", 0, ("SKU-1",), "A-2", is_command=True)
    referee.nothing_happened(call)
    referee.given_up(call)
    assert referee.violation is None
    row = [None] * len(Entry._fields)
    referee.causes.made["key"] = Group(0, Entry(*row)._replace(kind="stock_received"), 1)
    referee.judge_end()
    assert "told that nothing happened, but it did" in str(referee.violation)


@pytest.mark.parametrize("claims, is_blamed", [([], True), ([(9, "host-2")], True), ([(5, "host-2")], False)])
def test_what_was_refused_is_done_only_after_another_host_took_over(
    claims: list[tuple[int, str]], is_blamed: bool
) -> None:
    world = World(SimulatedLoop(), 1, 1, 1)
    referee = Referee(world)
    operation = Operation(0, "receive", (0,), lot=3)
    call = Call(operation, "key", 0, ("SKU-0",), "A-2", is_command=True)
    referee.sent(call)
    referee._refused.append((call, "lot_expiry_differs", [0]))
    row = [None] * len(Entry._fields)
    referee.causes.made["key"] = Group(0, Entry(*row)._replace(kind="stock_received", seq=6), 6)
    referee.models[0].claims = claims
    referee.judge_end()
    assert ("told that it is refused" in str(referee.violation)) is is_blamed


def test_a_failing_history_is_cut_down() -> None:
    (mutant,) = [mutant for mutant in MUTANTS if "answers leave before" in mutant.name]
    with mutant.patch():
        found = shrink(run(plan(1, 200)), 40)
    assert found.violation is not None
    assert len(found.plan.operations) < 20


def test_there_are_more_seeded_bugs_than_a_dozen_each_with_a_name_of_its_own() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 12

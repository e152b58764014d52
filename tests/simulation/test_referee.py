"""What the judge says of single entries and answers, in a world where nothing else happens."""

import json

import pytest

from engine.entries import Entry
from simulation.causes import Group
from simulation.clients import Call
from simulation.loop import SimulatedLoop
from simulation.plan import Operation
from simulation.referee import Referee
from simulation.world import EPOCH_MS, World


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

"""A partition is distrusted: nothing is decided there until it is claimed anew and rebuilt, and only once."""

import asyncio
from collections.abc import Sequence

import pytest

from actors.outcomes import Unavailable
from actors.requests import Request, Status
from engine.commands import PickStock, ReceiveStock
from engine.entries import Entry
from tests.component.actors.auditing import lot_of
from tests.component.actors.caller import Caller
from tests.component.actors.harm import fill, parked, tables_of
from tests.component.actors.steered import Gate
from tests.component.actors.world import World, number_of, until, view_of, world

pytestmark = pytest.mark.usefixtures("no_auditor_but_the_tests")


async def test_nothing_is_decided_from_the_moment_on_from_which_a_partition_is_distrusted() -> None:
    async with world() as w:
        await fill(w)
        host, number = w.hosts[0].host, number_of("JAM")
        owned, caller = host.owned[number], Caller()
        lot_of(w, "JAM").on_hand += 7
        before = list(tables_of(w, "JAM").ledger)
        with w.snapshots[0].check_gate.held():
            host.ownership.distrust(number, "a test says so")
            receive = ReceiveStock("LON", "JAM", "A", 1)
            host.receive([Request(caller, 1, number, "receive", receive, "k1", 1)])
            asked = asyncio.ensure_future(w.receive("JAM", 1))
            await until(lambda: parked(owned, ReceiveStock) == 2)
            host.activator.wake(owned)
            await until(lambda: w.snapshots[0].check_gate.waiting > 0)
            await until(lambda: not owned.is_activating)
            assert not owned.is_ready
            assert (owned.state.seq, tables_of(w, "JAM").ledger) == (len(before), before)
            assert not caller.ended
        assert (await asked)["on_hand"] == 20
        assert caller.statuses() == [Status.MOVED]
        assert await w.stock("JAM") == (25, 2)
        assert host.gauges.rebuilds == 1
        await until(lambda: host.in_flight == 0)


async def test_a_refusal_that_was_in_doubt_when_its_partition_was_distrusted_is_decided_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world() as w:
        await w.receive("JAM", 7)
        host, gate, with_keys = w.hosts[0].host, Gate(), w.ledgers[0].with_keys

        async def waiting(keys: Sequence[str]) -> list[Entry]:
            await gate.passed()
            return await with_keys(keys)

        monkeypatch.setattr(w.ledgers[0], "with_keys", waiting)
        host.keys.is_whole = False
        lot_of(w, "JAM").on_hand -= 7
        with w.snapshots[0].check_gate.held():
            with gate.held():
                asked = asyncio.ensure_future(w.ask(PickStock("LON", "JAM", 1)))
                await until(lambda: gate.waiting == 1)
                host.ownership.distrust(number_of("JAM"), "a test says so")
            await until(lambda: parked(host.owned[number_of("JAM")], PickStock) == 1)
        view_of(await asked)
        assert await w.stock("JAM") == (6, 0)


async def distrusted(w: World, sku: str) -> None:
    """Have the first host distrust a partition, and keep it waiting before it claims it."""
    w.snapshots[0].check_gate.hold()
    w.hosts[0].host.ownership.distrust(number_of(sku), "a test says so")
    await until(lambda: w.snapshots[0].check_gate.waiting > 0)


async def test_a_partition_that_was_lost_while_distrusted_is_not_rebuilt_when_it_comes_back() -> None:
    async with world() as w:
        await fill(w)
        number, host = number_of("TEA"), w.hosts[0].host
        await distrusted(w, "TEA")
        host.ownership.lose(frozenset({number}), [host.committer.open])
        await w.hosts[0].take([number])
        await until(lambda: host.owned[number].is_ready)
        w.snapshots[0].check_gate.release()
        assert await w.stock("TEA") == (21, 5)
        assert host.gauges.rebuilds == 0


@pytest.mark.parametrize("step", ["claim", "recover", "replace"])
async def test_nor_when_the_take_or_the_rebuild_came_to_nothing(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world() as w:
        await fill(w)
        number, host = number_of("TEA"), w.hosts[0].host

        async def fails(*_: object) -> bool:
            monkeypatch.undo()
            if step != "replace":
                raise Unavailable(step)
            await w.host("second", [number])
            return False

        monkeypatch.setattr(w.snapshots[0], step, fails)
        host.ownership.distrust(number, "a test says so")
        await until(lambda: number not in host.owned and not host.ownership.is_distrusted(number))
        await w.hosts[0].take([number])
        assert await w.stock("TEA") == (21, 5)
        assert host.gauges.rebuilds == 0


async def test_nor_when_its_ledger_was_refused_and_is_whole_again() -> None:
    async with world() as w:
        await fill(w)
        await w.hosts[0].snapshotter.flush()
        number, host, ledger = number_of("TEA"), w.hosts[0].host, tables_of(w, "TEA").ledger
        gone = ledger.pop()
        host.ownership.distrust(number, "a test says so")
        await until(lambda: number in host.refused)
        ledger.append(gone)
        await w.hosts[0].take([number])
        assert await w.stock("TEA") == (21, 5)
        assert host.gauges.rebuilds == 0


async def test_a_partition_that_is_taken_again_while_distrusted_is_rebuilt() -> None:
    async with world() as w:
        await fill(w)
        tables_of(w, "TEA").lots["LON", "TEA"].pop(("B", "L1"))
        await distrusted(w, "TEA")
        await w.hosts[0].take([number_of("TEA")])
        w.snapshots[0].check_gate.release()
        assert await w.stock("TEA") == (21, 5)
        assert w.hosts[0].host.gauges.rebuilds == 1

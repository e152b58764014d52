"""More than a host can decide, or commit: the rest is refused early and had no effect (P9)."""

import asyncio

import pytest

from actors.outcomes import Answered, Outcome, Overloaded
from api.batch import IN_FLIGHT_MAX
from engine.entries import Kind
from tests.component.actors.supervised import supervised
from tests.component.actors.world import World, number_of, until, view_of, world


async def _flood(w: World, sku: str, count: int) -> dict[str, Outcome | BaseException]:
    """Send reserves at once; return what became of each, by key."""
    keys = [w.key() for _ in range(count)]
    outcomes = await asyncio.gather(*(w.reserve(sku, 1, key) for key in keys), return_exceptions=True)
    return dict(zip(keys, outcomes, strict=True))


def _reserved_keys(w: World) -> set[str | None]:
    return {
        entry.key
        for tables in w.database.partitions
        for entry in tables.ledger
        if entry.kind == Kind.STOCK_RESERVED
    }


async def test_requests_that_waited_too_long_for_their_turn_are_refused_and_had_no_effect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actors.intake._WAIT_S_MAX", 0.02)
    async with world() as w:
        await w.receive("TEA", 1_000_000)
        outcomes = await _flood(w, "TEA", 8_000)
        answered = {key for key, outcome in outcomes.items() if isinstance(outcome, Answered)}
        refused = {key for key, outcome in outcomes.items() if isinstance(outcome, Overloaded)}
        assert answered
        assert refused
        assert answered | refused == outcomes.keys()
        assert _reserved_keys(w) == answered
        assert await w.stock("TEA") == (1_000_000, len(answered))
        # It is over when it is over, and a refused key may be used again.
        again = min(refused)
        assert isinstance(await w.reserve("TEA", 1, again), Answered)
        assert w.hosts[0].host.in_flight == 0


async def test_a_host_that_refuses_says_how_it_is_and_what_has_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as w:
        await w.receive("TEA", 10)
        monkeypatch.setattr("actors.intake._WAITING_MIN", 0)
        monkeypatch.setattr("actors.intake._WAIT_S_MAX", -1.0)  # Everything has waited too long.
        assert isinstance((await _flood(w, "TEA", 1)).popitem()[1], Overloaded)
        described = await w.gateway.control(w.hosts[0].address, "describe", None)
        assert described["in_flight"] == 0
        assert ["reserve", "overloaded", 1] in described["metrics"]["operations"]
        second = await w.host("second", [])
        monkeypatch.setattr("actors.intake._WAIT_S_MAX", 1.0)
        await w.hosts[0].handing_over.hand_over([number_of("TEA")], second.address)
        monkeypatch.setattr("actors.intake._WAIT_S_MAX", -1.0)
        asked = asyncio.ensure_future(w.reserve("TEA", 1))
        with pytest.raises(Overloaded):  # By the new owner: the former one said that it has moved.
            await asked
        assert w.gateway._routes[number_of("TEA")].address == second.address


async def test_as_many_as_one_batch_has_under_way_may_wait_however_slow_the_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actors.intake._WAIT_S_MAX", -1.0)
    async with world() as w:
        await w.receive("TEA", 1_000_000)
        outcomes = await _flood(w, "TEA", IN_FLIGHT_MAX)
        assert all(isinstance(outcome, Answered) for outcome in outcomes.values())


async def test_what_waits_for_a_commit_is_bounded_and_the_rest_is_refused_at_once() -> None:
    async with world(max_in_flight=200) as w:
        await w.receive("TEA", 1_000_000)
        host = w.hosts[0].host
        with w.ledgers[0].gate.held():
            flood = asyncio.ensure_future(_flood(w, "TEA", 5_000))
            await until(lambda: host.gauges.operations["reserve", "overloaded"] == 4_800)
            assert host.in_flight == 200
            assert all(not lane._intake for lane in w.hosts[0].lanes.lanes)
        outcomes = await flood
        answered = {key for key, outcome in outcomes.items() if isinstance(outcome, Answered)}
        assert len(answered) == 200
        assert _reserved_keys(w) == answered


async def test_a_slow_database_slows_its_own_partitions_only() -> None:
    async with supervised(hosts=2, standbys=0) as s:
        w = s.world
        slow_sku, fast_sku = (
            "SKU-0",
            next(f"SKU-{n}" for n in range(1, 50) if number_of(f"SKU-{n}") % 2 != number_of("SKU-0") % 2),
        )
        for sku in (slow_sku, fast_sku):
            await w.receive(sku, 1_000_000)
        slow = next(ledger for ledger in w.ledgers if ledger.host == s.owner(slow_sku).name)
        slow.commit_s = 0.2
        is_over = False
        spent_s: dict[str, list[float]] = {slow_sku: [], fast_sku: []}
        loop = asyncio.get_running_loop()

        async def call(sku: str) -> None:
            while not is_over:
                began_s = loop.time()
                view_of(await w.reserve(sku, 1))
                spent_s[sku].append(loop.time() - began_s)

        calls = [asyncio.create_task(call(sku)) for sku in (slow_sku, fast_sku) for _ in range(20)]
        await until(lambda: len(spent_s[slow_sku]) >= 60, 20)
        is_over = True
        await asyncio.gather(*calls)
        assert min(spent_s[slow_sku]) >= 0.19
        fast, late = sorted(spent_s[fast_sku]), sorted(spent_s[slow_sku])
        assert len(fast) > 2 * len(late)
        assert fast[len(fast) // 2] < 0.1  # Nobody there waits for a commit of the slow one.
        assert fast[int(len(fast) * 0.99)] < late[len(late) // 2]

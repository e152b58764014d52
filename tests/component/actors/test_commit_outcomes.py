"""How a commit may end, and what callers are told each time."""

import asyncio

import pytest

from actors.outcomes import Answered, OutcomeUnknown
from engine.commands import ReceiveStock, ReserveLine, ReserveStock
from tests.component.actors.world import PARTITIONS, World, code_of, number_of, skus_in, until, view_of, world


async def test_a_ledger_that_is_away_for_a_while_delays_answers_and_loses_nothing() -> None:
    async with world() as w:
        w.ledgers[0].outcomes.extend(["unavailable"] * 3)
        bins = await asyncio.gather(*(w.receive("TEA", 1) for _ in range(20)))
        assert max(bin_["on_hand"] for bin_ in bins) == 20
        assert await w.stock("TEA") == (20, 0)


@pytest.mark.parametrize("outcome", ["lost_answer", "lost_request"])
@pytest.mark.parametrize("questions", [[], ["unavailable", "unavailable"]])
async def test_a_commit_with_unknown_outcome_is_looked_up_before_anything_is_answered(
    outcome: str, questions: list[str]
) -> None:
    async with world() as w:
        w.ledgers[0].outcomes.append(outcome)
        w.ledgers[0].questions.extend(questions)
        assert (await w.receive("TEA", 3))["on_hand"] == 3
        assert await w.stock("TEA") == (3, 0)


async def test_partitions_of_a_batch_that_were_taken_are_turned_away_and_the_rest_is_committed() -> None:
    async with world() as w:
        skus = [skus_in(number, 1)[0] for number in range(PARTITIONS)]
        taken = set(range(0, PARTITIONS, 2))
        with w.ledgers[0].gate.held():
            asked = [asyncio.ensure_future(w.receive(sku, 1)) for sku in skus]
            await until(lambda: w.ledgers[0].gate.waiting == 1)
            second = await w.host("second", sorted(taken))
        await asyncio.gather(*asked)
        assert set(w.hosts[0].host.owned) == set(range(PARTITIONS)) - taken
        assert set(second.host.owned) == taken
        for sku in skus:
            assert await w.stock(sku) == (1, 0)
        assert {entry.partition for batch in w.ledgers[1].batches for entry in batch} == taken


async def forget(w: World) -> None:
    """Let the window forget what came before."""
    for _ in range(6):
        await w.receive("OTHER", 1)


async def test_several_old_keys_in_one_batch_are_answered_as_the_first_time() -> None:
    async with world(key_window=4) as w:
        skus = [f"SKU-{n}" for n in range(12)]
        first = await asyncio.gather(*(w.ask(ReceiveStock("LON", sku, "A", 5), f"old {sku}") for sku in skus))
        await forget(w)
        with w.ledgers[0].gate.held():
            new = [asyncio.ensure_future(w.receive(sku, 1)) for sku in skus]
            again = [w.ask(ReceiveStock("LON", sku, "A", 5), f"old {sku}") for sku in skus]
            repeats = [asyncio.ensure_future(one) for one in again]
            await until(lambda: w.hosts[0].host.in_flight >= 24)
        await asyncio.gather(*new)
        for outcome, before in zip(await asyncio.gather(*repeats), first, strict=True):
            assert outcome == Answered(view_of(before), True)
        for sku in skus:
            assert await w.stock(sku) == (6, 0)


async def test_an_old_key_with_another_body_is_refused() -> None:
    async with world(key_window=4) as w:
        await w.ask(ReceiveStock("LON", "TEA", "A", 5), "old")
        await forget(w)
        assert code_of(await w.ask(ReceiveStock("LON", "TEA", "A", 6), "old")) == "idempotency_key_reused"
        assert await w.stock("TEA") == (5, 0)


@pytest.mark.parametrize("same_host", [True, False])
async def test_a_key_of_another_partition_is_refused(same_host: bool) -> None:
    w = World()
    try:
        one, other = skus_in(0, 1)[0], skus_in(1, 1)[0]
        await w.host("even", list(range(PARTITIONS)) if same_host else list(range(0, PARTITIONS, 2)))
        if not same_host:
            await w.host("odd", list(range(1, PARTITIONS, 2)))
        await w.ask(ReceiveStock("LON", one, "A", 5), "same")
        assert code_of(await w.ask(ReceiveStock("LON", other, "A", 5), "same")) == "idempotency_key_reused"
        assert await w.stock(one) == (5, 0)
        assert w.faults == []
    finally:
        await w.close()


async def test_a_key_sent_to_two_hosts_at_once_has_one_effect() -> None:
    w = World()
    try:
        one, other = skus_in(0, 1)[0], skus_in(1, 1)[0]
        await w.host("even", list(range(0, PARTITIONS, 2)))
        await w.host("odd", list(range(1, PARTITIONS, 2)))
        outcomes = await asyncio.gather(
            *(w.ask(ReceiveStock("LON", sku, "A", 5), f"same {n}") for n in range(20) for sku in (one, other))
        )
        assert sum(isinstance(outcome, Answered) for outcome in outcomes) == 20
        on_hand = [entry.quantity for tables in w.database.partitions for entry in tables.ledger if entry.key]
        assert sum(on_hand) == 100
        assert w.faults == []
    finally:
        await w.close()


async def test_a_key_that_is_in_flight_is_known_however_small_the_window_is() -> None:
    async with world(key_window=2) as w:
        with w.ledgers[0].gate.held():
            asked = [
                asyncio.ensure_future(w.ask(ReceiveStock("LON", "TEA", "A", 1), f"k{n % 50}"))
                for n in range(100)
            ]
            await until(lambda: w.hosts[0].host.in_flight >= 100)
        await asyncio.gather(*asked)
        assert await w.stock("TEA") == (50, 0)


async def test_taking_more_partitions_over_forgets_no_key_that_is_in_flight() -> None:
    async with world() as w:
        for n in range(20):
            await w.ask(ReceiveStock("LON", skus_in(1, 1)[0], "A", 1), f"other {n}")
        even = await w.host("second", list(range(0, PARTITIONS, 2)), key_window=8)
        sku = skus_in(0, 1)[0]
        with w.ledgers[1].gate.held():
            asked = [
                asyncio.ensure_future(w.ask(ReceiveStock("LON", sku, "A", 1), f"k{n}")) for n in range(5)
            ]
            await until(lambda: even.host.in_flight >= 5)
            await even.take(list(range(1, PARTITIONS, 2)))
            asked += [
                asyncio.ensure_future(w.ask(ReceiveStock("LON", sku, "A", 1), f"k{n}")) for n in range(5)
            ]
            await until(lambda: even.host.in_flight >= 10)
        await asyncio.gather(*asked)
        assert await w.stock(sku) == (5, 0)


async def test_a_repeat_among_others_of_its_partition_leaves_their_order_as_it_was() -> None:
    async with world(key_window=4) as w:
        await w.ask(ReceiveStock("LON", "TEA", "A", 10), "old")
        await forget(w)
        with w.ledgers[0].gate.held():
            asked = [
                w.ask(ReserveStock((ReserveLine("LON", "TEA", 6),)), "first"),
                w.ask(ReceiveStock("LON", "TEA", "A", 10), "old"),
                w.ask(ReserveStock((ReserveLine("LON", "TEA", 6),)), "second"),
                w.ask(ReserveStock((ReserveLine("LON", "TEA", 4),)), "third"),
            ]
            tasks = [asyncio.ensure_future(one) for one in asked]
            await until(lambda: w.hosts[0].host.in_flight >= 4)
        first, old, second, third = await asyncio.gather(*tasks)
        assert isinstance(first, Answered)
        assert isinstance(old, Answered)
        assert old.replayed
        # The repeat adds nothing once it is known for what it is.
        assert code_of(second) == "insufficient_stock"
        assert isinstance(third, Answered)
        assert await w.stock("TEA") == (10, 10)


async def test_a_caller_is_told_unknown_when_the_ledger_stays_away_beyond_the_deadline() -> None:
    async with world() as w:
        w.gateway._timeout_s = 0.2
        with w.ledgers[0].gate.held(), pytest.raises(OutcomeUnknown):
            await w.receive("TEA", 1)
        await until(lambda: w.hosts[0].host.in_flight == 0)
        assert await w.stock("TEA") == (1, 0)
        assert number_of("TEA") in w.hosts[0].host.owned

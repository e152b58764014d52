"""Group commit, the output gate, overload: nothing leaves before it is durable; too much is refused early."""

import asyncio

import pytest

from actors.outcomes import Answered, Overloaded
from actors.queries import ExplainStock, ReadBin, ReadStock
from engine.commands import ReceiveStock
from tests.component.actors.world import code_of, number_of, until, view_of, world


async def test_what_arrives_during_a_commit_is_one_batch() -> None:
    async with world() as w:
        await w.receive("TEA", 1000)
        ledger = w.ledgers[0]
        ledger.batches.clear()
        with ledger.gate.held():
            first = asyncio.ensure_future(w.reserve("TEA", 1))
            await until(lambda: ledger.gate.waiting == 1)
            others = [asyncio.ensure_future(w.reserve("TEA", 1)) for _ in range(100)]
            await until(lambda: w.hosts[0].host.in_flight >= 101)
        for outcome in await asyncio.gather(first, *others):
            view_of(outcome)
        assert [len(batch) for batch in ledger.batches] == [1, 100]


async def test_no_answer_leaves_before_its_batch_is_durable() -> None:
    async with world() as w:
        with w.ledgers[0].gate.held():
            asked = [asyncio.ensure_future(w.receive("TEA", 1)) for _ in range(5)]
            await until(lambda: w.ledgers[0].gate.waiting == 1)
            done, _ = await asyncio.wait(asked, timeout=0.05)
            assert not done
            assert w.database.partitions[number_of("TEA")].ledger[-1].kind == "partition_claimed"
        await asyncio.gather(*asked)


async def test_reads_refusals_and_replays_wait_for_what_they_saw() -> None:
    async with world() as w:
        await w.receive("TEA", 5)
        number = number_of("TEA")
        with w.ledgers[0].gate.held():
            sold = asyncio.ensure_future(w.reserve("TEA", 5, "once"))
            await until(lambda: w.ledgers[0].gate.waiting == 1)
            asked = [
                sold,
                asyncio.ensure_future(w.gateway.query(number, ReadStock("LON", "TEA"))),
                asyncio.ensure_future(w.gateway.query(number, ReadBin("LON", "TEA", "A"))),
                asyncio.ensure_future(w.gateway.query(number, ExplainStock("LON", "TEA"))),
                asyncio.ensure_future(w.reserve("TEA", 1)),
                asyncio.ensure_future(w.reserve("TEA", 5, "once")),
            ]
            await until(lambda: w.hosts[0].host.in_flight >= 6)
            done, _ = await asyncio.wait(asked, timeout=0.05)
            assert not done
        first, stock, bin_, explained, refused, replay = await asyncio.gather(*asked)
        assert [view_of(view)["available"] for view in (stock, bin_, explained)] == [0, 0, 0]
        assert code_of(refused) == "insufficient_stock"
        assert replay == Answered(view_of(first), True)


async def test_reads_refusals_and_replays_wait_until_the_owner_is_known_to_be_the_owner() -> None:
    async with world() as w:
        await w.receive("TEA", 5)
        first = view_of(await w.reserve("TEA", 5, "once"))
        with w.snapshots[0].check_gate.held():
            asked = [
                asyncio.ensure_future(w.stock("TEA")),
                asyncio.ensure_future(w.reserve("TEA", 1)),
                asyncio.ensure_future(w.reserve("TEA", 5, "once")),
            ]
            await until(lambda: w.snapshots[0].check_gate.waiting == 1)
            done, _ = await asyncio.wait(asked, timeout=0.05)
            assert not done
        stock, refused, replay = await asyncio.gather(*asked)
        assert stock == (5, 5)
        assert code_of(refused) == "insufficient_stock"
        assert replay == Answered(first, True)


async def test_a_batch_that_writes_needs_no_question_about_its_owner() -> None:
    async with world() as w:
        await w.receive("TEA", 5)
        await until(lambda: w.hosts[0].courier.lag == 0)
        before = w.snapshots[0].checks
        with w.ledgers[0].gate.held():
            asked = [asyncio.ensure_future(w.reserve("TEA", 1)) for _ in range(5)]
            await until(lambda: w.ledgers[0].gate.waiting == 1)
            assert w.snapshots[0].checks == before
        await asyncio.gather(*asked)


async def test_too_much_is_refused_early_and_changes_nothing_and_is_taken_later() -> None:
    async with world(max_in_flight=10) as w:
        number = number_of("TEA")
        await w.receive("TEA", 1)
        await until(lambda: w.hosts[0].host.in_flight == 0)
        with w.ledgers[0].gate.held():
            taken = [asyncio.ensure_future(w.receive("TEA", 1)) for _ in range(10)]
            await until(lambda: w.hosts[0].host.in_flight >= 10)
            late = [
                w.gateway.submit(number, ReceiveStock("LON", "TEA", "A", 1), f"late-{n}") for n in range(5)
            ]
            for outcome in await asyncio.gather(*late, return_exceptions=True):
                assert isinstance(outcome, Overloaded)
                assert outcome.retry_after_ms > 0
            with pytest.raises(Overloaded):
                await w.stock("TEA")
        await asyncio.gather(*taken)
        assert await w.stock("TEA") == (11, 0)
        again = [w.gateway.submit(number, ReceiveStock("LON", "TEA", "A", 1), f"late-{n}") for n in range(5)]
        assert not any(outcome.replayed for outcome in await asyncio.gather(*again))  # type: ignore[union-attr]
        assert await w.stock("TEA") == (16, 0)


async def test_a_stop_lets_every_answer_leave_and_takes_nothing_more() -> None:
    async with world() as w:
        await w.receive("TEA", 100)
        with w.ledgers[0].gate.held():
            asked = [asyncio.ensure_future(w.reserve("TEA", 1)) for _ in range(50)]
            await until(lambda: w.hosts[0].host.in_flight >= 50)
            stopping = asyncio.ensure_future(w.hosts[0].stop())
            await until(lambda: w.hosts[0].host.is_stopping)
        for outcome in await asyncio.gather(*asked):
            view_of(outcome)
        await stopping
        assert w.database.partitions[number_of("TEA")].snapshot_seq == len(
            w.database.partitions[number_of("TEA")].ledger
        )
        w.hosts.clear()


async def test_requests_that_wait_for_stock_to_wake_are_answered_before_a_stop() -> None:
    async with world() as w:
        await w.receive("TEA", 10)
        await w.hosts[0].snapshotter.flush()
        second = await w.host("second")
        with w.snapshots[1].load_gate.held():
            asked = asyncio.ensure_future(w.reserve("TEA", 1))
            await until(lambda: w.snapshots[1].load_gate.waiting == 1)
            stopping = asyncio.ensure_future(second.stop())
            await until(lambda: second.host.is_stopping)
        view_of(await asked)
        await stopping
        w.hosts.remove(second)

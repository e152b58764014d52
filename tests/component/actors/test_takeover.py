"""One writer: what a former owner may still do, which is nothing."""

import asyncio

import pytest

from actors.outcomes import Answered, Unavailable
from actors.queries import ReadStock
from actors.requests import Request, Status
from engine.commands import ReceiveStock, ReserveLine, ReserveStock
from engine.images import digest
from tests.component.actors.caller import Caller
from tests.component.actors.world import PARTITIONS, code_of, number_of, skus_in, until, view_of, world


async def test_a_former_owner_with_a_batch_in_flight_commits_and_answers_nothing_of_it() -> None:
    async with world() as w:
        await w.receive("TEA", 10)
        first, caller, number = w.hosts[0].host, Caller(), number_of("TEA")
        reserve = ReserveStock((ReserveLine("LON", "TEA", 1),))
        with w.ledgers[0].gate.held():
            first.receive([Request(caller, 1, number, "reserve", reserve, "k", 1)])
            await until(lambda: w.ledgers[0].gate.waiting == 1)
            first.receive([Request(caller, 2, number, "read_stock", ReadStock("LON", "TEA"))])
            await w.host("second")
            await w.receive("TEA", 1)
        await until(lambda: len(caller.ended) == 2)
        assert caller.statuses() == [Status.MOVED, Status.MOVED]
        assert number not in first.owned
        assert await w.stock("TEA") == (11, 0)


@pytest.mark.parametrize("partition_is_written", [True, False])
async def test_a_former_owner_that_wakes_answers_nothing_stale(partition_is_written: bool) -> None:
    async with world() as w:
        number = number_of("TEA")
        await w.receive("TEA", 10)
        first, caller = w.hosts[0].host, Caller()
        await until(lambda: w.hosts[0].courier.lag == 0)
        # It was stopped before it took these from its sockets; meanwhile another host has sold everything.
        await w.host("second")
        await w.host("third")
        if partition_is_written:
            w.gateway._routes.clear()
            view_of(await w.reserve("TEA", 10))
        assert number in first.owned
        first.receive(
            [
                Request(caller, 1, number, "read_stock", ReadStock("LON", "TEA")),
                Request(caller, 2, number, "reserve", ReserveStock((ReserveLine("LON", "TEA", 10),)), "x", 1),
                Request(caller, 3, number, "reserve", ReserveStock((ReserveLine("LON", "TEA", 11),)), "y", 2),
            ]
        )
        await until(lambda: len(caller.ended) == 3)
        assert set(caller.statuses()) == {Status.MOVED}
        await until(lambda: first.in_flight == 0)


async def test_a_read_waits_for_the_check_even_when_its_partition_is_given_up_meanwhile() -> None:
    async with world() as w:
        one, other = skus_in(0, 1)[0], skus_in(1, 1)[0]
        await w.receive(one, 1)
        await w.receive(other, 1)
        await until(lambda: w.hosts[0].courier.lag == 0)
        first, caller = w.hosts[0].host, Caller()
        with w.snapshots[0].check_gate.held():
            first.receive(
                [
                    Request(caller, 1, 0, "read_stock", ReadStock("LON", one)),
                    Request(caller, 2, 1, "receive", ReceiveStock("LON", other, "A", 1), "k", 1),
                ]
            )
            await until(lambda: w.snapshots[0].check_gate.waiting == 1)
            await w.host("second", [0])
            w.gateway._routes.clear()
            await w.receive(one, 5)
            # The first host learns of it by another way than this batch.
            first.ownership.lose(frozenset({0}), [first.committer.open])
        await until(lambda: len(caller.ended) == 2)
        assert {request.id: request.status for request in caller.ended} == {
            1: Status.MOVED,
            2: Status.ANSWERED,
        }


async def test_a_host_may_take_what_it_had_before() -> None:
    async with world() as w:
        await w.receive("TEA", 10)
        first, caller, number = w.hosts[0], Caller(), number_of("TEA")
        with w.ledgers[0].gate.held():
            first.host.receive(
                [Request(caller, 1, number, "receive", ReceiveStock("LON", "TEA", "A", 1), "k", 1)]
            )
            await until(lambda: w.ledgers[0].gate.waiting == 1)
            await w.host("second")
            taking = asyncio.ensure_future(first.take(list(range(PARTITIONS))))
            await asyncio.sleep(0)
        await taking
        await until(lambda: len(caller.ended) == 1)
        assert caller.statuses() == [Status.MOVED]
        assert await w.stock("TEA") == (10, 0)
        view_of(await w.reserve("TEA", 10))
        await until(lambda: first.host.in_flight == 0)


async def test_partitions_taken_while_their_new_owner_recovers_them_are_given_up() -> None:
    async with world() as w:
        await w.receive("TEA", 10)
        second = w.build("second")
        await second.start("127.0.0.1")
        with w.snapshots[1].recover_gate.held():
            taking = asyncio.ensure_future(second.take(list(range(PARTITIONS))))
            await until(lambda: w.snapshots[1].recover_gate.waiting == 1)
            caller = Caller()
            second.host.receive([Request(caller, 1, number_of("TEA"), "read_stock", ReadStock("LON", "TEA"))])
            await w.host("third")
        await taking
        assert second.host.owned == {}
        assert caller.statuses() == [Status.MOVED]
        assert second.host.in_flight == 0
        assert await w.stock("TEA") == (10, 0)


async def test_a_partition_taken_while_it_is_decided_again_is_given_up() -> None:
    async with world(key_window=2) as w:
        await w.ask(ReceiveStock("LON", "TEA", "A", 5), "old")
        for _ in range(5):
            await w.receive("OTHER", 1)
        with w.snapshots[0].recover_gate.held():
            again = asyncio.ensure_future(w.ask(ReceiveStock("LON", "TEA", "A", 5), "old"))
            await until(lambda: w.snapshots[0].recover_gate.waiting == 1)
            await w.host("second")
        assert isinstance(await again, Answered)
        assert await w.stock("TEA") == (5, 0)
        await until(lambda: w.hosts[0].host.in_flight == 0)


async def test_takeovers_again_and_again_under_load_lose_and_double_nothing() -> None:
    async with world() as w:
        await w.receive("TEA", 1000)
        asked = [asyncio.ensure_future(w.reserve("TEA", 1, f"r{n}")) for n in range(200)]
        for n in range(4):
            await w.host(f"next-{n}")
            asked += [asyncio.ensure_future(w.reserve("TEA", 1, f"r{n}")) for n in range(200)]
        for outcome in await asyncio.gather(*asked):
            view_of(outcome)
        assert await w.stock("TEA") == (1000, 200)


async def test_a_killed_host_is_followed_by_one_with_the_same_state() -> None:
    async with world() as w:
        for n in range(20):
            await w.receive(f"SKU-{n}", 10)
            view_of(await w.reserve(f"SKU-{n}", n % 5 + 1, ttl_s=60 if n % 2 else None))
        first = w.hosts[0]
        before = {number: digest(owned.state) for number, owned in first.host.owned.items()}
        await w.kill(first)
        second = await w.host("second")
        after = {number: digest(owned.state) for number, owned in second.host.owned.items()}
        assert [{**one, "seq": 0} for one in after.values()] == [{**one, "seq": 0} for one in before.values()]


async def test_what_was_claimed_and_not_recovered_is_not_owned() -> None:
    async with world() as w:
        await w.receive("TEA", 5)
        second = w.build("second")
        await second.start("127.0.0.1")
        w.snapshots[-1].failing.add("recover")
        with pytest.raises(Unavailable):
            await second.take([number_of("TEA")])
        assert not second.host.owned
        w.snapshots[-1].failing.clear()
        await second.take([number_of("TEA")])
        assert await w.stock("TEA") == (5, 0)


async def test_a_refusal_is_not_told_again_once_another_owner_has_carried_the_command_out() -> None:
    async with world() as w:
        number = number_of("TEA")
        await w.receive("TEA", 1)
        first = w.hosts[0]
        assert code_of(await w.reserve("TEA", 2, "again")) == "insufficient_stock"
        await w.host("second", [number])
        await w.receive("TEA", 1)
        done = view_of(await w.reserve("TEA", 2, "again"))
        await first.take([number])
        assert view_of(await w.reserve("TEA", 2, "again"))["id"] == done["id"]


async def test_what_others_have_taken_is_given_up_though_nobody_asks_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actors.ownership._LOOK_EVERY_S", 0.02)
    async with world() as w:
        first = w.hosts[0]
        second = await w.host("second", [3, 4])
        await until(lambda: not first.host.owned.keys() & {3, 4})
        assert len(first.host.owned) == PARTITIONS - 2
        assert sorted(second.host.owned) == [3, 4]

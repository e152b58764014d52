"""A host on memory adapters, through its lanes."""

import asyncio

from actors.outcomes import Answered
from actors.queries import ReadReservation, ReadStock
from engine.commands import CountStock, PickStock, ReceiveStock, ReserveLine, ReserveTentatively
from engine.partitioning import partition_of, reservation_address
from tests.component.actors.world import PARTITIONS, World, code_of, number_of, until, view_of, world


async def test_stock_is_received_reserved_and_picked() -> None:
    async with world() as w:
        assert (await w.receive("TEA", 10))["on_hand"] == 10
        reservation = view_of(await w.reserve("TEA", 4))
        assert reservation["state"] == "held"
        picked = view_of(
            await w.reservations.pick(
                reservation["id"],
                quantity=None,
                sku=None,
                location=None,
                lot=None,
                short_reason=None,
                key=w.key(),
            )
        )
        assert picked["state"] == "picked"
        stock = view_of(
            await w.gateway.query(partition_of("LON", "TEA", PARTITIONS), ReadStock("LON", "TEA"))
        )
        assert (stock["on_hand"], stock["reserved"], stock["available"]) == (6, 0, 6)


async def test_the_last_unit_is_sold_once() -> None:
    async with world() as w:
        await w.receive("TEA", 500)
        outcomes = await asyncio.gather(*(w.reserve("TEA", 1) for _ in range(2000)))
        assert sum(isinstance(outcome, Answered) for outcome in outcomes) == 500


async def test_a_repeat_gets_the_first_answer() -> None:
    async with world() as w:
        await w.receive("TEA", 5)
        first = await w.reserve("TEA", 5, "once")
        again = await w.reserve("TEA", 5, "once")
        assert isinstance(again, Answered)
        assert again.replayed
        assert again.view == view_of(first)
        assert code_of(await w.reserve("TEA", 4, "once")) == "idempotency_key_reused"


async def test_a_repeat_of_a_refusal_is_refused_again() -> None:
    async with world() as w:
        assert code_of(await w.reserve("TEA", 5, "once")) == "insufficient_stock"
        await w.receive("TEA", 5)
        again = await w.reserve("TEA", 5, "once")
        assert code_of(again) == "insufficient_stock"
        assert again.replayed
        assert w.hosts[0].host.gauges.operations["reserve", "replayed"] == 1


async def test_a_repeat_older_than_the_window_is_answered_from_the_ledger() -> None:
    w = World()
    try:
        await w.host("small", key_window=4)
        received = view_of(await w.ask(ReceiveStock("LON", "TEA", "A", 50), "receive"))
        reserved = view_of(await w.reserve("TEA", 5, "reserve"))
        for _ in range(6):
            await w.reserve("TEA", 1)
        again, reserved_again, reused = await asyncio.gather(
            w.ask(ReceiveStock("LON", "TEA", "A", 50), "receive"),
            w.reserve("TEA", 5, "reserve"),
            w.reserve("TEA", 6, "reserve"),
        )
        assert again == Answered(received, True)
        assert reserved_again == Answered(reserved, True)
        assert code_of(reused) == "idempotency_key_reused"
        assert w.hosts[0].host.gauges.rewinds
        stock = view_of(
            await w.gateway.query(partition_of("LON", "TEA", PARTITIONS), ReadStock("LON", "TEA"))
        )
        assert (stock["on_hand"], stock["reserved"]) == (50, 11)
    finally:
        await w.close()


async def test_another_host_takes_over_and_nothing_is_lost_or_done_twice() -> None:
    async with world() as w:
        await w.receive("TEA", 100)
        outcomes = [asyncio.ensure_future(w.reserve("TEA", 1)) for _ in range(50)]
        await asyncio.sleep(0)
        await w.host("second")
        assert all(isinstance(outcome, Answered) for outcome in await asyncio.gather(*outcomes))
        stock = view_of(
            await w.gateway.query(partition_of("LON", "TEA", PARTITIONS), ReadStock("LON", "TEA"))
        )
        assert (stock["on_hand"], stock["reserved"]) == (100, 50)


async def test_a_deposed_host_answers_nothing_stale() -> None:
    async with world() as w:
        await w.receive("TEA", 10)
        number = partition_of("LON", "TEA", PARTITIONS)
        other = World()
        other.database, other.directory = w.database, w.directory
        await w.host("second")
        # The gateway still routes to the first host, which does not know yet.
        assert w.hosts[0].host.owned
        stock = view_of(await w.gateway.query(number, ReadStock("LON", "TEA")))
        assert stock["on_hand"] == 10
        assert number not in w.hosts[0].host.owned
        await other.close()


async def test_stock_that_rests_is_woken_by_its_first_message() -> None:
    async with world() as w:
        await w.receive("TEA", 10)
        held = view_of(await w.reserve("TEA", 4, ttl_s=60))
        await w.hosts[0].snapshotter.flush()
        second = await w.host("second")
        number = partition_of("LON", "TEA", PARTITIONS)
        assert not second.host.owned[number].state.stocks
        address = reservation_address(held["id"])
        assert address is not None
        found = await w.gateway.query(number, ReadReservation(address.number, address.opened_at_ms))
        assert view_of(found)["lines"] == held["lines"]
        assert view_of(await w.reserve("TEA", 6))["state"] == "held"
        assert code_of(await w.reserve("TEA", 1)) == "insufficient_stock"


async def test_a_soft_reservation_ends_at_its_time_whether_the_clock_has_ticked_or_not() -> None:
    async with world() as w:
        await w.receive("TEA", 10)
        held = view_of(await w.reserve("TEA", 10, ttl_s=60))
        assert code_of(await w.reserve("TEA", 1)) == "insufficient_stock"
        w.now_ms += 60_000
        assert view_of(await w.reserve("TEA", 10))["state"] == "held"
        assert view_of(await w.reservations.find(held["id"]))["state"] == "expired"


async def test_what_is_due_expires_by_itself() -> None:
    async with world() as w:
        await w.receive("TEA", 10)
        await w.reserve("TEA", 10, ttl_s=60)
        w.now_ms += 60_000
        ledger = w.database.partitions[number_of("TEA")].ledger
        await until(lambda: ledger[-1].kind == "reservation_expired")


async def test_a_count_is_rebased_on_what_moved_since() -> None:
    async with world() as w:
        seen = await w.receive("TEA", 10)
        await w.ask(PickStock("LON", "TEA", 3))
        counted = view_of(await w.ask(CountStock("LON", "TEA", "A", 9, seen_seq=seen["seq"])))
        assert counted["variance"] == -1
        assert counted["bin"]["on_hand"] == 6


async def test_lines_in_many_partitions_are_reserved_together_or_not_at_all() -> None:
    async with world() as w:
        for index in range(8):
            await w.receive(f"SKU-{index}", 5)
        lines = [ReserveLine("LON", f"SKU-{index}", 5, index=index) for index in range(8)]
        reservation = view_of(
            await w.reservations.reserve(lines, ttl_s=None, reference="order", partial=False, key="order")
        )
        assert [line["sku"] for line in reservation["lines"]] == [f"SKU-{index}" for index in range(8)]
        assert reservation["state"] == "held"
        again = await w.reservations.reserve(lines, ttl_s=None, reference="order", partial=False, key="order")
        assert again == Answered(reservation, True)
        assert (
            code_of(
                await w.reservations.reserve(lines, ttl_s=None, reference=None, partial=False, key="other")
            )
            == "insufficient_stock"
        )
        assert view_of(await w.reservations.find(reservation["id"])) == reservation
        released = view_of(
            await w.reservations.release(reservation["id"], quantity=None, sku=None, key="release")
        )
        assert released["state"] == "released"
        for index in range(8):
            assert view_of(await w.reserve(f"SKU-{index}", 5))["state"] == "held"


async def test_shares_of_an_attempt_that_nobody_decided_are_given_back() -> None:
    async with world() as w:
        await w.receive("TEA", 5)
        number = partition_of("LON", "TEA", PARTITIONS)
        line = ReserveLine("LON", "TEA", 5)
        share = ReserveTentatively("attempt", (number + 1) % PARTITIONS, 1, (line,), ttl_ms=2_000)
        view_of(await w.gateway.submit(number, share, "share"))
        assert code_of(await w.reserve("TEA", 1)) == "insufficient_stock"
        w.now_ms += 2_000
        ledger = w.database.partitions[number].ledger
        await until(lambda: ledger[-1].kind == "stock_released")
        view_of(await w.reserve("TEA", 5))


async def test_every_change_is_broadcast_in_order_without_a_gap() -> None:
    async with world() as w:
        await w.receive("TEA", 10)
        for _ in range(5):
            await w.reserve("TEA", 1)
        await until(lambda: w.hosts[0].courier.lag == 0)

"""What rests wakes when it is asked for; what is quiet is set to rest."""

import asyncio

import pytest

from actors.outcomes import Unavailable
from actors.queries import ReadReservation, ReadStock
from engine.commands import ReceiveStock
from engine.partitioning import reservation_address
from tests.component.actors.world import World, code_of, number_of, skus_in, until, view_of, world


async def rested(w: World) -> None:
    """Have a new host take everything over, with nothing active."""
    courier = w.hosts[-1].courier
    await until(lambda: courier.lag == 0)
    await courier._save_cursors()  # Else the next courier looks at the last bins again, and wakes them.
    await w.hosts[-1].snapshotter.flush()
    await w.host(f"host-{len(w.hosts)}")
    assert active(w) == (0, 0)


def active(w: World) -> tuple[int, int]:
    """Return how many stocks and reservations are active in the newest host."""
    states = [owned.state for owned in w.hosts[-1].host.owned.values()]
    return sum(len(state.stocks) for state in states), sum(len(state.reservations) for state in states)


async def pick(w: World, public_id: str, quantity: int | None = None) -> object:
    return await w.reservations.pick(
        public_id, quantity=quantity, sku=None, location=None, lot=None, short_reason=None, key=w.key()
    )


async def test_an_open_reservation_wakes_with_its_stocks() -> None:
    async with world() as w:
        await w.receive("TEA", 10)
        held = view_of(await w.reserve("TEA", 4))
        await rested(w)
        assert view_of(await w.reservations.find(held["id"]))["lines"] == held["lines"]
        await rested(w)
        assert view_of(await pick(w, held["id"]))["state"] == "picked"  # type: ignore[arg-type]
        assert await w.stock("TEA") == (6, 0)


async def test_a_resolved_reservation_is_still_known() -> None:
    async with world() as w:
        await w.receive("TEA", 10)
        held = view_of(await w.reserve("TEA", 4))
        await pick(w, held["id"])
        await rested(w)
        assert view_of(await w.reservations.find(held["id"]))["state"] == "picked"
        assert code_of(await pick(w, held["id"])) == "reservation_resolved"  # type: ignore[arg-type]


async def test_what_was_never_there_is_not_found_and_looked_up_once() -> None:
    async with world() as w:
        await w.receive("TEA", 10)
        await rested(w)
        await until(lambda: w.hosts[-1].courier.lag == 0)  # The courier loads what it broadcasts.
        number = number_of("NONE")
        assert code_of(await w.gateway.query(number, ReadStock("LON", "NONE"))) == "stock_not_found"
        loads = w.snapshots[-1].loads
        assert code_of(await w.reserve("NONE", 1)) == "insufficient_stock"
        assert w.snapshots[-1].loads == loads
        assert code_of(await w.gateway.query(number, ReadReservation(1, 7))) == "reservation_not_found"
        assert code_of(await w.gateway.query(number, ReadReservation(10**9, 7))) == "reservation_not_found"
        assert (await w.receive("NONE", 2))["on_hand"] == 2


async def test_requests_of_a_partition_keep_their_order_while_something_wakes() -> None:
    async with world() as w:
        asleep, awake = skus_in(3)
        await w.receive(asleep, 10)
        await w.receive(awake, 10)
        await rested(w)
        assert await w.stock(awake) == (10, 0)
        with w.snapshots[-1].load_gate.held():
            one = asyncio.ensure_future(w.reserve(asleep, 1))
            await until(lambda: w.snapshots[-1].load_gate.waiting == 1)
            other = asyncio.ensure_future(w.reserve(awake, 1))
            done, _ = await asyncio.wait([other], timeout=0.03)
            assert not done
        first, second = view_of(await one), view_of(await other)
        numbers = [reservation_address(view["id"]) for view in (first, second)]
        assert numbers[0] is not None is not numbers[1]
        assert numbers[0].number < numbers[1].number


async def test_another_partition_is_served_while_something_wakes() -> None:
    async with world() as w:
        asleep, other = skus_in(3, 1)[0], skus_in(4, 1)[0]
        await w.receive(asleep, 10)
        await w.receive(other, 10)
        await rested(w)
        assert await w.stock(other) == (10, 0)
        with w.snapshots[-1].load_gate.held():
            waiting = asyncio.ensure_future(w.reserve(asleep, 1))
            await until(lambda: w.snapshots[-1].load_gate.waiting == 1)
            view_of(await w.reserve(other, 1))
        view_of(await waiting)


async def test_what_cannot_be_loaded_now_is_loaded_later() -> None:
    async with world() as w:
        await w.receive("TEA", 10)
        await rested(w)
        w.snapshots[-1].failing.add("load")
        waiting = asyncio.ensure_future(w.reserve("TEA", 1))
        await until(lambda: w.snapshots[-1].loads >= 2)
        assert not waiting.done()
        w.snapshots[-1].failing.clear()
        view_of(await waiting)


async def test_a_request_that_waits_for_its_stock_beyond_its_deadline_is_told() -> None:
    async with world() as w:
        await w.receive("TEA", 10)
        await rested(w)
        w.gateway._timeout_s = 0.2
        with w.snapshots[-1].load_gate.held(), pytest.raises(Unavailable):
            await w.stock("TEA")


async def test_resolved_reservations_leave_memory_when_they_are_written() -> None:
    async with world() as w:
        await w.receive("TEA", 100)
        ids = [view_of(await w.reserve("TEA", 1))["id"] for _ in range(10)]
        for public_id in ids[:7]:
            await pick(w, public_id)
        assert active(w)[1] == 10
        await w.hosts[0].snapshotter.flush()
        assert active(w)[1] == 3
        assert view_of(await w.reservations.find(ids[0]))["state"] == "picked"
        assert code_of(await pick(w, ids[0])) == "reservation_resolved"  # type: ignore[arg-type]


async def test_resolved_reservations_that_were_looked_up_leave_memory_again() -> None:
    async with world() as w:
        await w.receive("TEA", 100)
        ids = [view_of(await w.reserve("TEA", 1))["id"] for _ in range(10)]
        for public_id in ids:
            await pick(w, public_id)
        await rested(w)
        for public_id in ids:
            await w.reservations.find(public_id)
        assert active(w)[1] == 10
        await w.hosts[-1].snapshotter.flush()
        assert active(w)[1] == 0


async def test_quiet_stocks_beyond_the_limit_are_set_to_rest_and_wake_unchanged() -> None:
    async with world(active_stocks_max=32) as w:
        skus = [f"SKU-{n}" for n in range(200)]
        await asyncio.gather(*(w.receive(sku, n + 1) for n, sku in enumerate(skus)))
        await w.hosts[0].snapshotter.flush()
        assert active(w)[0] <= 32
        for n, sku in enumerate(skus):
            assert await w.stock(sku) == (n + 1, 0)
        await asyncio.gather(*(w.receive(sku, 1) for sku in skus))
        await w.hosts[0].snapshotter.flush()
        for n, sku in enumerate(skus):
            assert await w.stock(sku) == (n + 2, 0)


async def test_reading_what_was_never_there_does_not_fill_memory() -> None:
    async with world(active_stocks_max=32) as w:
        await asyncio.gather(*(w.receive(f"SKU-{n}", 1) for n in range(100)))
        await rested(w)
        w.hosts[-1].host.options = w.hosts[0].host.options
        for n in range(300):
            code_of(await w.gateway.query(number_of(f"NONE-{n}"), ReadStock("LON", f"NONE-{n}")))
        await w.hosts[-1].snapshotter.flush()
        assert active(w)[0] <= 32


async def test_stocks_with_open_reservations_stay_awake() -> None:
    async with world(active_stocks_max=16) as w:
        for n in range(64):
            await w.receive(f"SKU-{n}", 2)
            view_of(await w.reserve(f"SKU-{n}", 1))
        await w.hosts[0].snapshotter.flush()
        assert active(w) == (64, 64)


async def test_a_key_in_a_resting_partition_is_still_known() -> None:
    async with world() as w:
        await w.ask(ReceiveStock("LON", "TEA", "A", 5), "once")
        await rested(w)
        again = await w.ask(ReceiveStock("LON", "TEA", "A", 5), "once")
        assert view_of(again)["on_hand"] == 5
        assert await w.stock("TEA") == (5, 0)

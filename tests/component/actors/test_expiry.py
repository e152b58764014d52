"""What is due expires: by the clock, when it is looked at, awake or at rest."""

import pytest

from engine.commands import AdjustStock
from engine.dates import date_of_expiry
from tests.component.actors.world import World, code_of, number_of, skus_in, until, view_of, world

DAY_MS = 24 * 3600 * 1000


def kinds(w: World, sku: str) -> list[str]:
    return [entry.kind for entry in w.database.partitions[number_of(sku)].ledger]


async def test_a_reservation_expires_by_the_owners_clock() -> None:
    async with world() as w:
        await w.receive("TEA", 10)
        view_of(await w.reserve("TEA", 4, ttl_s=60))
        w.now_ms += 59_999
        w.hosts[0].clockwork.expire_due()
        assert await w.stock("TEA") == (10, 4)
        w.now_ms += 1
        await until(lambda: kinds(w, "TEA")[-1] == "reservation_expired")


async def test_what_is_due_expires_before_anything_else_is_decided() -> None:
    async with world() as w:
        await w.receive("TEA", 10)
        held = view_of(await w.reserve("TEA", 10, ttl_s=60))
        w.now_ms += 60_000
        assert await w.stock("TEA") == (10, 0)
        assert kinds(w, "TEA")[-1] == "reservation_expired"
        assert view_of(await w.reservations.find(held["id"]))["state"] == "expired"


async def test_a_resting_reservation_expires_by_the_clock() -> None:
    async with world() as w:
        await w.receive("TEA", 10)
        view_of(await w.reserve("TEA", 4, ttl_s=60))
        await w.hosts[0].snapshotter.flush()
        await w.host("second")
        assert not w.hosts[1].host.owned[number_of("TEA")].state.stocks
        w.now_ms += 60_000
        await until(lambda: kinds(w, "TEA")[-1] == "reservation_expired")


async def test_a_lot_expires_where_it_lies_and_is_not_sold() -> None:
    async with world() as w:
        expires_at_ms = w.now_ms + DAY_MS
        await w.receive("TEA", 10, expires_at_ms=expires_at_ms)
        view_of(await w.reserve("TEA", 4))
        w.now_ms = expires_at_ms
        await until(lambda: kinds(w, "TEA")[-1] == "lot_expired")
        assert code_of(await w.reserve("TEA", 1)) == "insufficient_stock"
        lot = date_of_expiry(expires_at_ms)
        written_off = view_of(await w.ask(AdjustStock("LON", "TEA", "A", -6, lot, "expired")))
        assert (written_off["on_hand"], written_off["reserved"], written_off["held"]) == (4, 4, 0)


async def test_a_resting_lot_expires_by_the_clock() -> None:
    async with world() as w:
        await w.receive("TEA", 10, expires_at_ms=w.now_ms + DAY_MS)
        await w.hosts[0].snapshotter.flush()
        await w.host("second")
        w.now_ms += DAY_MS
        await until(lambda: kinds(w, "TEA")[-1] == "lot_expired")


async def test_a_lot_that_was_set_to_rest_expires_by_the_clock() -> None:
    async with world(active_stocks_max=0) as w:
        await w.receive("TEA", 10, expires_at_ms=w.now_ms + DAY_MS)
        await w.hosts[0].snapshotter.flush()
        assert not w.hosts[0].host.owned[number_of("TEA")].state.stocks
        w.now_ms += DAY_MS
        await until(lambda: kinds(w, "TEA")[-1] == "lot_expired")


async def test_an_extended_reservation_expires_at_its_new_time() -> None:
    async with world() as w:
        await w.receive("TEA", 10)
        held = view_of(await w.reserve("TEA", 4, ttl_s=60))
        w.now_ms += 30_000
        view_of(await w.reservations.extend(held["id"], ttl_s=60, key="extend"))
        w.now_ms += 30_000
        w.hosts[0].clockwork.expire_due()
        assert await w.stock("TEA") == (10, 4)
        w.now_ms += 30_000
        await until(lambda: kinds(w, "TEA")[-1] == "reservation_expired")


async def test_a_clock_that_goes_back_takes_nothing_back() -> None:
    async with world() as w:
        await w.receive("TEA", 10)
        held = view_of(await w.reserve("TEA", 4, ttl_s=60))
        w.now_ms += 60_000
        assert await w.stock("TEA") == (10, 0)
        w.now_ms -= 3_600_000
        assert await w.stock("TEA") == (10, 0)
        assert view_of(await w.reserve("TEA", 10, ttl_s=60))["state"] == "held"
        assert view_of(await w.reservations.find(held["id"]))["state"] == "expired"
        times = [entry.at_ms for entry in w.database.partitions[number_of("TEA")].ledger]
        assert times == sorted(times)


async def test_a_new_owner_with_a_clock_behind_goes_on_from_the_ledgers_time() -> None:
    async with world() as w:
        await w.receive("TEA", 10)
        view_of(await w.reserve("TEA", 4, ttl_s=60))
        w.now_ms -= 3_600_000
        await w.host("behind")
        view_of(await w.reserve("TEA", 1, ttl_s=60))
        ledger = w.database.partitions[number_of("TEA")].ledger
        assert [entry.at_ms for entry in ledger] == sorted(entry.at_ms for entry in ledger)
        w.now_ms += 3_600_000 + 60_000
        await until(lambda: kinds(w, "TEA")[-2:] == ["reservation_expired"] * 2)


async def test_what_is_due_by_the_partitions_time_has_expired_though_the_clock_was_set_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A release would be refused as too late; what is read must not say that there is time."""
    monkeypatch.setattr("actors.clockwork._TICK_S", 3600.0)
    sku, other = skus_in(number_of("TEA"))
    async with world() as w:
        await w.receive(sku, 10)
        held = view_of(await w.reserve(sku, 4, ttl_s=60))
        w.now_ms += 120_000
        await w.receive(other, 1)
        w.now_ms -= 119_000
        assert view_of(await w.reservations.find(held["id"]))["state"] == "expired"
        assert await w.stock(sku) == (10, 0)
        late = await w.reservations.release(held["id"], quantity=None, sku=None, key=w.key())
        assert code_of(late) == "reservation_resolved"


async def test_what_is_due_by_a_time_that_a_clock_set_ahead_is_recorded_before_it_is_refused() -> None:
    async with world() as w:
        await w.receive("TEA", 10)
        held = view_of(await w.reserve("TEA", 4, ttl_s=60))
        w.now_ms += 3_600_000
        await w.receive("COFFEE", 1)
        owned = w.hosts[0].host.owned[number_of("TEA")]
        owned.state.at_ms = w.now_ms  # As when another SKU of this partition was changed meanwhile.
        w.now_ms -= 3_600_000
        outcome = await w.reservations.release(held["id"], quantity=None, sku=None, key="release")
        assert code_of(outcome) == "reservation_resolved"
        assert kinds(w, "TEA")[-1] == "reservation_expired"
        assert await w.stock("TEA") == (10, 0)

"""Where the broadcast goes on when streams have lost what they held, or say what is not so."""

import pytest

from persistence.nats.subjects import ledger_subject
from tests.component.actors.broadcasting import is_complete, shown, work
from tests.component.actors.world import PARTITIONS, number_of, until, world


async def test_streams_that_lost_everything_get_it_again() -> None:
    async with world() as w:
        await work(w, 20)
        await until(lambda: w.hosts[0].courier.lag == 0)
        w.streams.is_away = True
        await w.receive("TEA", 1)
        await until(lambda: w.hosts[0].courier.lag > 0)
        w.streams.wipe()
        w.streams.is_away = False
        await until(lambda: is_complete(w))
        await until(lambda: w.hosts[0].courier.lag == 0)
        for n in range(7):
            message, bin_ = await shown(w, f"SKU-{n}", f"LOC {n % 3}")
            assert message == bin_


async def test_the_tail_of_one_partition_does_not_hide_that_the_others_are_gone() -> None:
    async with world() as w:
        await work(w, 20)
        await until(lambda: w.hosts[0].courier.lag == 0)
        w.streams.wipe()
        await w.hosts[0].take([number_of("TEA")])  # Its new claim has the courier look for its tail alone.
        await work(w, 5)
        await until(lambda: w.hosts[0].courier.lag == 0)
        assert is_complete(w)


async def test_a_tail_that_others_forged_has_no_entry_left_out() -> None:
    async with world() as w:
        await work(w, 5)
        await until(lambda: w.hosts[0].courier.lag == 0)
        number = number_of("TEA")
        w.streams.is_away = True
        await w.receive("TEA", 1)
        await until(lambda: w.hosts[0].courier.lag > 0)
        w.streams.tails[ledger_subject(number)] = 10**15
        await w.hosts[0].take(list(range(PARTITIONS)))
        w.streams.is_away = False
        await until(lambda: w.hosts[0].courier.lag == 0)
        assert is_complete(w)


async def test_a_tail_that_is_none_does_not_keep_the_courier_busy_for_ever() -> None:
    async with world() as w:
        await w.receive("TEA", 1)
        await until(lambda: w.hosts[0].courier.lag == 0)
        w.streams.tails[ledger_subject(number_of("TEA"))] = -3
        await w.hosts[0].take(list(range(PARTITIONS)))
        await until(lambda: w.hosts[0].courier.lag == 0)
        assert is_complete(w)


async def test_bins_that_stock_lost_and_ledger_did_not_are_broadcast_again() -> None:
    async with world() as w:
        await work(w, 20)
        await until(lambda: w.hosts[0].courier.lag == 0)
        await w.hosts[0].courier._save_cursors()
        known = dict(w.streams.stock)
        w.streams.stock.clear()
        w.streams.may_have_lost = True
        await w.receive("TEA", 1)
        await until(lambda: w.streams.stock.keys() >= known.keys())


async def test_a_courier_with_nothing_to_send_sees_that_the_streams_were_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actors.courier._LOOK_EVERY_S", 0.02)
    async with world() as w:
        await work(w, 10)
        await until(lambda: w.hosts[0].courier.lag == 0)
        w.streams.wipe()
        await until(lambda: is_complete(w))

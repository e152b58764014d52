"""A bin as an actor: what a program on the cluster may ask of it."""

from actors.bin_handle import BinHandle
from engine.state import NEVER_MS
from tests.component.actors.world import code_of, number_of, view_of, world


async def test_a_reservation_that_is_extended_outlives_its_first_term() -> None:
    async with world() as w:
        bin_ = BinHandle(w.gateway, "LON", "TEA", "A")
        await bin_.receive(5)
        brief = view_of(await bin_.reserve(2, ttl_s=60))["id"]
        long = view_of(await bin_.reserve(3, ttl_s=60))["id"]
        first = view_of(await bin_.extend(long, 600, key="longer"))
        w.now_ms += 120_000
        assert view_of(await bin_.state())["reserved"] == 3
        assert code_of(await bin_.extend(brief, 600)) == "reservation_resolved"
        again = await bin_.extend(long, 600, key="longer")
        assert view_of(again) == first
        w.now_ms += 481_000
        assert view_of(await bin_.state())["reserved"] == 0


async def test_a_hard_reservation_has_no_term_to_extend() -> None:
    async with world() as w:
        bin_ = BinHandle(w.gateway, "LON", "TEA", "A")
        await bin_.receive(5)
        hard = view_of(await bin_.reserve(5))["id"]
        assert code_of(await bin_.extend(hard, 60)) == "reservation_hard"
        stock = w.hosts[0].host.owned[number_of("TEA")].state.stocks["LON", "TEA"]
        assert stock.due_ms == NEVER_MS


async def test_a_bin_takes_every_command() -> None:
    async with world() as w:
        bin_ = BinHandle(w.gateway, "LON", "TEA", "A")
        assert repr(bin_) == "BinHandle('LON', 'TEA', 'A')"
        await bin_.receive(20, lot="L1", reference="delivery 1")
        reserved = view_of(await bin_.reserve(6, reference="order 1"))["id"]
        view_of(await bin_.pick(reserved, 4))
        assert view_of(await bin_.release(reserved))["state"] == "picked"
        view_of(await bin_.take(1))
        view_of(await bin_.move("B", 3))
        view_of(await bin_.adjust(-2, "broken", lot="L1"))
        view_of(await bin_.hold(5, "damage"))
        view_of(await bin_.unhold(4, "damage"))
        seen_seq = view_of(await bin_.state())["seq"]
        view_of(await bin_.count(9, seen_seq=seen_seq))
        state = view_of(await bin_.state())
        assert (state["on_hand"], state["reserved"], state["held"], state["available"]) == (9, 0, 1, 8)
        assert view_of(await bin_.explain())["available"] == 8 + 3

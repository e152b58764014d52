"""What a gateway takes: one host that is away, or refuses, leaves room for the others."""

import asyncio

import pytest

from actors.allowance import UNDER_WAY_MAX, Allowance
from actors.gateway import LaneGateway
from actors.outcomes import Answered, Outcome, Overloaded
from actors.reservations import SpanningReservations
from engine.commands import Command, ReceiveStock, ReserveTogether
from tests.component.actors.spanning import SKUS, fill, lines_of
from tests.component.actors.world import PARTITIONS, TOKEN, World, number_of, until, view_of, world


def _refuses(allowance: Allowance, now_s: float, *, answered: int, refused: int) -> None:
    """Let a host answer and refuse that many."""
    for is_overloaded in [True] * refused + [False] * answered:
        allowance.ended(now_s, is_overloaded=is_overloaded)


def test_a_host_that_refuses_is_sent_the_share_that_it_takes() -> None:
    allowance = Allowance(0.0)
    allowance.under_way = 1_000
    assert not allowance.is_used_up(0.0)
    _refuses(allowance, 0.05, answered=60, refused=40)
    allowance.ended(0.1, is_overloaded=True)
    assert allowance.limit == 1_000 * 60 // 101
    assert allowance.is_used_up(0.1)
    # What was sent before is still being refused: that is no news.
    _refuses(allowance, 0.25, answered=10, refused=90)
    assert allowance.limit == 1_000 * 60 // 101


def test_as_many_as_may_wait_at_a_host_for_long_are_always_sent() -> None:
    allowance = Allowance(0.0)
    allowance.under_way = 300
    _refuses(allowance, 0.2, answered=0, refused=1)
    allowance.under_way = 255
    assert not allowance.is_used_up(0.2)
    assert allowance.is_used_up(0.2, besides=1)


def test_a_host_that_refuses_no_more_is_sent_more_bit_by_bit_and_any_number_when_it_is_quiet() -> None:
    allowance = Allowance(0.0)
    allowance.under_way = 1_000
    _refuses(allowance, 0.1, answered=0, refused=1)
    assert allowance.limit == 256
    allowance.under_way = 256
    for tenth in (2, 3, 4):
        allowance.under_way = 256 + tenth * 8
        assert allowance.is_used_up(tenth / 10 - 0.05)
        allowance.under_way = 10  # A commit took nearly all along: they come again.
        allowance.ended(tenth / 10, is_overloaded=False)
    assert 256 < allowance.limit < 320
    allowance.under_way = 0
    allowance.ended(0.5, is_overloaded=False)
    allowance.under_way = 1_000  # A burst after a second in which nobody asked.
    assert not allowance.is_used_up(1.4)
    for step in range(20):
        allowance.ended(1.5 + step, is_overloaded=False)
        allowance.under_way = 0
    assert allowance.limit == UNDER_WAY_MAX


async def _two_hosts(w: World) -> tuple[str, str]:
    """Give half of the partitions to a second host; return a SKU of each."""
    await w.host("second", [n for n in range(PARTITIONS) if n % 2])
    skus = [next(f"SKU-{n}" for n in range(99) if number_of(f"SKU-{n}") % 2 == of) for of in (0, 1)]
    for sku in skus:
        await w.receive(sku, 1_000_000)
    return skus[0], skus[1]


@pytest.mark.parametrize("is_away", [False, True])
async def test_a_host_that_does_not_answer_leaves_room_for_another(*, is_away: bool) -> None:
    async with world() as w:
        quick, stuck = await _two_hosts(w)
        gateway = LaneGateway(w.directory, TOKEN, PARTITIONS, timeout_s=5.0, pending_max=100)
        for sku in (quick, stuck):
            await gateway.submit(number_of(sku), ReceiveStock("LON", sku, "A", 1), f"first {sku}")
        w.ledgers[1].gate.hold()
        if is_away:  # Its requests wait for whoever takes its partitions.
            await w.kill(w.hosts[1])
            await until(lambda: number_of(stuck) not in gateway._routes)
        asked = [
            gateway.submit(number_of(stuck), ReceiveStock("LON", stuck, "A", 1), f"wait-{n}")
            for n in range(100)
        ]
        turned_away = [one for one in asked if one.done()]
        assert len(turned_away) == 50
        for one in turned_away:
            assert isinstance(one.exception(), Overloaded)
        assert not gateway.room.has_room(number_of(stuck))
        assert gateway.room.has_room(number_of(quick))
        assert gateway.room.is_short()
        command = ReceiveStock("LON", quick, "A", 1)
        outcomes = await asyncio.gather(
            *(gateway.submit(number_of(quick), command, f"quick-{n}") for n in range(20))
        )
        assert all(isinstance(outcome, Answered) for outcome in outcomes)
        w.ledgers[1].gate.release()
        if is_away:
            await w.host("third", [n for n in range(PARTITIONS) if n % 2])
        outcomes = await asyncio.gather(*(one for one in asked if one not in turned_away))
        assert [outcome for outcome in outcomes if not isinstance(outcome, Answered)] == []
        assert w.gateway.room.has_room(number_of(stuck))
        assert await w.stock(stuck) == (1_000_051, 0)
        await gateway.close()


async def test_who_heeds_a_host_that_refuses_asks_less_of_it_and_as_much_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actors.allowance._LEAST", 8)
    async with world(max_in_flight=20) as w:
        quick, full = await _two_hosts(w)
        quick, full = full, quick  # The first host takes 20.
        heedful = LaneGateway(w.directory, TOKEN, PARTITIONS, timeout_s=5.0, heeds_hosts=True)
        for sku in (quick, full):
            await heedful.submit(number_of(sku), ReceiveStock("LON", sku, "A", 1), f"first {sku}")
        w.ledgers[0].gate.hold()
        command = ReceiveStock("LON", full, "A", 1)
        asked = [heedful.submit(number_of(full), command, f"wait-{n}") for n in range(100)]
        await until(lambda: sum(one.done() for one in asked) == 80)
        host = w.hosts[0].host
        refused = host.gauges.operations["receive", "overloaded"]
        assert refused == 80

        def is_heeded() -> bool:
            """Ask once more; whether the gateway itself refuses."""
            asked.append(heedful.submit(number_of(full), command, f"wait-{len(asked)}"))
            return asked[-1].done()

        await until(is_heeded)
        at_host = host.gauges.operations["receive", "overloaded"]
        assert all(
            isinstance(one.exception(), Overloaded)
            for one in [heedful.submit(number_of(full), command, f"more-{n}") for n in range(100)]
        )
        assert heedful.room.is_short()
        assert heedful.room.has_room(number_of(quick))
        assert isinstance(
            await heedful.submit(number_of(quick), ReceiveStock("LON", quick, "A", 1), "quick"), Answered
        )
        assert host.gauges.operations["receive", "overloaded"] == at_host
        w.ledgers[0].gate.release()
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        answered = sum(isinstance(outcome, Answered) for outcome in outcomes)
        assert await w.stock(full) == (1_000_001 + answered, 0)
        await until(lambda: heedful.room.has_room(number_of(full)))
        await heedful.close()


def test_a_host_that_nobody_wants_is_soon_sent_any_number_again() -> None:
    allowance = Allowance(0.0)
    allowance.under_way = 1_000
    _refuses(allowance, 0.1, answered=0, refused=1)
    allowance.under_way = 0
    for step in range(10):  # Others' traffic has the API look whether any host is full.
        allowance.is_full(0.2 + 0.11 * step, besides=4_000)
    assert allowance.limit > 4_000


async def test_what_is_begun_in_several_partitions_is_ended_though_a_host_is_full() -> None:
    async with world() as w:
        await fill(w)
        heedful = LaneGateway(w.directory, TOKEN, PARTITIONS, timeout_s=5.0, heeds_hosts=True)
        submit = heedful.submit

        def fills_up(partition: int, command: Command, key: str) -> asyncio.Future[Outcome]:
            if isinstance(command, ReserveTogether) and command.opened_seq:
                for lane in heedful._lanes._open.values():
                    lane.allowance.limit = 0
            return submit(partition, command, key)

        heedful.submit = fills_up  # type: ignore[method-assign]
        made = await SpanningReservations(heedful).reserve(
            lines_of(), ttl_s=None, reference=None, partial=False, key="all"
        )
        assert view_of(made)["state"] == "held"
        assert not any(owned.state.tentative for owned in w.hosts[0].host.owned.values())
        with pytest.raises(Overloaded):
            await heedful.submit(number_of(SKUS[0]), ReceiveStock("LON", SKUS[0], "A", 1), "new")
        await heedful.close()

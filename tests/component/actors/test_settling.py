"""Shares that nobody settled: their owner asks home, for a bounded number of them at the same time."""

import asyncio

import pytest

from actors.outcomes import Outcome, Unavailable
from engine.commands import Command, ReserveLine, ReserveTentatively
from tests.component.actors.steered import Gate
from tests.component.actors.world import PARTITIONS, World, number_of, skus_in, until, view_of, world

SHARES = 7
HOME = (number_of("TEA") + 1) % PARTITIONS
AWAY = (number_of("TEA") + 2) % PARTITIONS


async def leave_undecided(w: World, *, away: int = 0) -> None:
    """Hold units for attempts whose coordinators are gone, and let their deadline pass.

    The oldest have a home that is away.
    """
    await w.receive("TEA", 100)
    for n in range(SHARES):
        home = AWAY if n < away else HOME
        lines = (ReserveLine("LON", "TEA", 1),)
        command = ReserveTentatively(f"attempt-{n}", home, 1, lines, ttl_ms=1_000)
        view_of(await w.gateway.submit(number_of("TEA"), command, w.key()))
    w.now_ms += 1_001


async def test_no_more_shares_are_settled_at_once_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.clockwork._SETTLING_MAX", 3)
    async with world(tentative_sweep_s=3600.0) as w:
        await leave_undecided(w)
        peers, gate = w.hosts[0].peers, Gate()
        submit = peers.submit
        most = 0

        async def gated(partition: int, command: Command, key: str) -> Outcome:
            nonlocal most
            most = max(most, len(w.hosts[0].clockwork._settling))
            await gate.passed()
            return await submit(partition, command, key)

        monkeypatch.setattr(peers, "submit", gated)
        clockwork = w.hosts[0].clockwork
        with gate.held():
            for _ in range(5):
                clockwork.settle_overdue()
                await asyncio.sleep(0)
            await until(lambda: gate.waiting == 3)
        tentative = w.hosts[0].host.owned[number_of("TEA")].state.tentative
        while tentative:
            clockwork.settle_overdue()
            await until(lambda: not clockwork._settling)
        assert most == 3
        assert await w.stock("TEA") == (100, 0)


@pytest.mark.parametrize("away", [2, 5])
async def test_shares_whose_home_never_answers_keep_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch, away: int
) -> None:
    monkeypatch.setattr("actors.clockwork._SETTLING_MAX", 2)
    async with world(tentative_sweep_s=3600.0) as w:
        await leave_undecided(w, away=away)
        peers, clockwork = w.hosts[0].peers, w.hosts[0].clockwork
        submit = peers.submit
        asked = 0

        async def answers_unless_away(partition: int, command: Command, key: str) -> Outcome:
            nonlocal asked
            if partition == AWAY:
                asked += 1
                raise Unavailable
            return await submit(partition, command, key)

        monkeypatch.setattr(peers, "submit", answers_unless_away)
        for _ in range(SHARES):
            clockwork.settle_overdue()
            await until(lambda: not clockwork._settling)
        assert await w.stock("TEA") == (100, away)
        before = asked
        for _ in range(SHARES):
            clockwork.settle_overdue()
            await until(lambda: not clockwork._settling)
        assert asked >= before + SHARES
        monkeypatch.setattr(peers, "submit", submit)
        for _ in range(SHARES):
            clockwork.settle_overdue()
            await until(lambda: not clockwork._settling)
        assert await w.stock("TEA") == (100, 0)


async def test_a_share_whose_home_was_put_back_waits_until_home_has_come_so_far_again() -> None:
    """Given back at once, it could still be named by a decision."""
    async with world(tentative_sweep_s=3600.0) as w:
        await w.receive("TEA", 100)
        sku = skus_in(HOME, 1)[0]
        await w.receive(sku, 1)
        opened_seq = w.hosts[0].host.owned[HOME].state.seq + 2
        share = ReserveTentatively("one", HOME, opened_seq, (ReserveLine("LON", "TEA", 1),), ttl_ms=1_000)
        view_of(await w.gateway.submit(number_of("TEA"), share, w.key()))
        w.now_ms += 1_001
        clockwork = w.hosts[0].clockwork
        for _ in range(2):
            clockwork.settle_overdue()
            await until(lambda: not clockwork._settling)
            assert await w.stock("TEA") == (100, 1)
            await w.receive(sku, 1)
            w.now_ms += 1
        clockwork.settle_overdue()
        await until(lambda: not clockwork._settling)
        assert await w.stock("TEA") == (100, 0)

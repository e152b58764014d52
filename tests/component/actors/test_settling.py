"""Shares that nobody settled: their owner asks home, for a bounded number of them at the same time."""

import asyncio

import pytest

from actors.outcomes import Outcome, Unavailable
from engine.commands import Command, ReserveLine, ReserveTentatively
from tests.component.actors.steered import Gate
from tests.component.actors.world import PARTITIONS, World, number_of, until, view_of, world

SHARES = 7


async def leave_undecided(w: World) -> None:
    """Hold units for attempts whose coordinators are gone, and let their deadline pass."""
    await w.receive("TEA", 100)
    home = (number_of("TEA") + 1) % PARTITIONS
    for n in range(SHARES):
        lines = (ReserveLine("LON", "TEA", 1),)
        command = ReserveTentatively(f"attempt-{n}", home, w.now_ms + 1_000, lines)
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


async def test_a_share_whose_home_does_not_answer_gives_its_place_to_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actors.clockwork._SETTLING_MAX", 2)
    async with world(tentative_sweep_s=3600.0) as w:
        await leave_undecided(w)
        peers, clockwork = w.hosts[0].peers, w.hosts[0].clockwork
        submit, failures = peers.submit, 2

        async def failing(partition: int, command: Command, key: str) -> Outcome:
            nonlocal failures
            if failures:
                failures -= 1
                raise Unavailable
            return await submit(partition, command, key)

        monkeypatch.setattr(peers, "submit", failing)
        clockwork.settle_overdue()
        await until(lambda: not clockwork._settling)
        tentative = w.hosts[0].host.owned[number_of("TEA")].state.tentative
        assert len(tentative) == SHARES
        while tentative:
            clockwork.settle_overdue()
            await until(lambda: not clockwork._settling)
        assert await w.stock("TEA") == (100, 0)

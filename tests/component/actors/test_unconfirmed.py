"""A reservation whose coordinator was killed between decision and confirmation: it is whole all the same."""

import asyncio
from typing import Any

import pytest

from actors.outcomes import Outcome, Unavailable
from engine.commands import Command, ConfirmReservation, ReserveLine
from tests.component.actors.world import World, view_of, world

SKUS = ("A", "B", "C", "D", "E")


async def reserve_and_be_killed(w: World, monkeypatch: pytest.MonkeyPatch) -> str:
    """Reserve in several partitions; no confirmation arrives."""
    submit = w.gateway.submit

    def cut(partition: int, command: Command, key: str) -> asyncio.Future[Outcome]:
        if isinstance(command, ConfirmReservation):
            lost: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
            lost.set_exception(Unavailable())
            return lost
        return submit(partition, command, key)

    for sku in SKUS:
        await w.receive(sku, 5)
    lines = [ReserveLine("LON", sku, 2, None, None, "fefo", line) for line, sku in enumerate(SKUS)]
    monkeypatch.setattr(w.gateway, "submit", cut)
    outcome = await w.reservations.reserve(lines, ttl_s=None, reference=None, partial=False, key="order")
    monkeypatch.undo()
    return str(view_of(outcome)["id"])


async def balances(w: World) -> list[tuple[int, int]]:
    stocks: list[dict[str, Any]] = []
    for owned in w.hosts[0].host.owned.values():
        for stock in owned.state.stocks.values():
            lots = [lot for bin_ in stock.bins.values() for lot in bin_.lots]
            stocks += [{"on_hand": lot.on_hand, "reserved": lot.reserved} for lot in lots]
    return [(stock["on_hand"], stock["reserved"]) for stock in stocks]


async def test_a_release_releases_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as w:
        reservation = await reserve_and_be_killed(w, monkeypatch)
        released = await w.reservations.release(reservation, quantity=None, sku=None, key="never mind")
        assert view_of(released)["state"] == "released"
        assert await balances(w) == [(5, 0)] * len(SKUS)


async def test_a_pick_takes_all_of_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as w:
        reservation = await reserve_and_be_killed(w, monkeypatch)
        for _ in range(2):
            picked = await w.reservations.pick(
                reservation, quantity=None, sku=None, location=None, lot=None, short_reason=None, key="pick"
            )
            assert view_of(picked)["state"] == "picked"
        assert await balances(w) == [(3, 0)] * len(SKUS)

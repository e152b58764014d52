"""Memory is what the ledger adds up to, and a difference is seen."""

from engine.commands import HoldStock, PickStock
from engine.partitioning import partition_of
from engine.state import Bin
from tests.component.actors.world import PARTITIONS, World, view_of, world


async def audit(w: World) -> tuple[int, int]:
    """Let the auditor go through everything; return (audits in a whole round, drift)."""
    host = w.hosts[0]
    await host.auditor.audit(10_000)
    before = host.host.gauges.audits
    await host.auditor.audit(10_000)
    return host.host.gauges.audits - before, host.host.gauges.drift


async def fill(w: World) -> None:
    await w.receive("TEA", 10)
    await w.receive("TEA", 5, "B", lot="L1")
    await w.receive("JAM", 7)
    view_of(await w.reserve("TEA", 12))
    view_of(await w.ask(HoldStock("LON", "JAM", "A", 2, None, "damage")))
    view_of(await w.ask(PickStock("LON", "JAM", 1)))


async def test_a_sound_host_has_no_drift() -> None:
    async with world() as w:
        await fill(w)
        assert await audit(w) == (2, 0)


async def test_a_lot_that_differs_from_the_ledger_is_drift_until_it_is_right_again() -> None:
    async with world() as w:
        await fill(w)
        owned = w.hosts[0].host.owned[partition_of("LON", "JAM", PARTITIONS)]
        lot = owned.state.stocks["LON", "JAM"].bins["A"].lot("")
        assert lot is not None
        lot.on_hand += 3
        lot.held -= 1
        assert await audit(w) == (2, 4)
        lot.on_hand -= 3
        lot.held += 1
        assert await audit(w) == (2, 0)


async def test_units_reserved_without_a_reservation_are_drift() -> None:
    async with world() as w:
        await fill(w)
        owned = w.hosts[0].host.owned[partition_of("LON", "TEA", PARTITIONS)]
        stock = owned.state.stocks["LON", "TEA"]
        assert stock.reservations is not None
        stock.reservations.clear()
        assert await audit(w) == (2, 12)


async def test_a_lot_that_memory_does_not_know_is_drift() -> None:
    async with world() as w:
        await fill(w)
        owned = w.hosts[0].host.owned[partition_of("LON", "JAM", PARTITIONS)]
        owned.state.stocks["LON", "JAM"].bins["A"] = Bin("A")
        assert (await audit(w))[1] == 6 + 2


async def test_what_is_found_shows_before_the_round_is_complete() -> None:
    async with world() as w:
        await fill(w)
        auditor, gauges = w.hosts[0].auditor, w.hosts[0].host.gauges
        for owned in w.hosts[0].host.owned.values():
            for stock in owned.state.stocks.values():
                for lot in stock.bins["A"].lots:
                    lot.on_hand += 1
        await auditor.audit(1)
        assert gauges.drift == 0
        await auditor.audit(1)
        assert gauges.drift == 1
        await auditor.audit(10)
        assert gauges.drift == 2


async def test_a_host_tells_its_drift_and_how_much_it_has_compared() -> None:
    async with world() as w:
        await fill(w)
        audits, drift = await audit(w)
        (described,) = await w.gateway.hosts()
        assert (described["drift"], described["audits"]) == (drift, audits)

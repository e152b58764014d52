"""Memory, the snapshot and the sum of the ledger are the same stock, and a difference is seen."""

from typing import Any

import pytest
import structlog

from engine.state import Bin, Lot
from tests.component.actors.auditing import audit, fill, lot_of, stock_of
from tests.component.actors.world import World, number_of, until, view_of, world
from tests.rows import seal

pytestmark = pytest.mark.usefixtures("no_auditor_but_the_tests")


async def rest_all(w: World) -> None:
    """Write snapshots, and have a new owner, who finds every stock at rest, and every bin broadcast."""
    await w.hosts[0].snapshotter.flush()
    await until(lambda: w.hosts[0].courier.lag == 0)
    await w.hosts[0].courier._save_cursors()
    await w.kill(w.hosts[0])
    await w.host("second")
    assert not any(owned.state.stocks for owned in w.hosts[0].host.owned.values())


@pytest.mark.parametrize("is_written", [False, True])
async def test_a_sound_host_has_no_drift(is_written: bool) -> None:
    async with world() as w:
        await fill(w)
        if is_written:
            await w.hosts[0].snapshotter.flush()
        assert await audit(w) == (2, 0)
        assert w.hosts[0].host.gauges.audit_rounds == 1


async def test_sound_stocks_at_rest_have_no_drift() -> None:
    async with world() as w:
        await fill(w)
        await rest_all(w)
        assert await audit(w) == (2, 0)


async def test_a_lot_that_differs_from_the_ledger_is_drift_until_it_is_right_again() -> None:
    async with world() as w:
        await fill(w)
        lot = lot_of(w, "JAM")
        lot.on_hand += 3
        lot.held -= 1
        assert await audit(w) == (2, 4)
        lot.on_hand -= 3
        lot.held += 1
        assert await audit(w) == (2, 0)


async def test_units_reserved_without_a_reservation_are_drift() -> None:
    async with world() as w:
        await fill(w)
        reservations = stock_of(w, "TEA").reservations
        assert reservations is not None
        reservations.clear()
        assert await audit(w) == (2, 12)


async def write(w: World, *, rests: bool) -> None:
    """Write a snapshot, and have everything rest or stay active."""
    if rests:
        await rest_all(w)
    else:
        await w.hosts[0].snapshotter.flush()


async def test_a_lot_that_memory_does_not_know_is_drift() -> None:
    async with world() as w:
        await fill(w)
        stock_of(w, "JAM").bins["A"] = Bin("A")
        assert await audit(w) == (2, 6 + 2)


async def test_a_lot_that_only_memory_knows_is_drift() -> None:
    async with world() as w:
        await fill(w)
        stock_of(w, "JAM").bins["A"].add(Lot("L9")).on_hand = 4
        assert await audit(w) == (2, 4 + 1)


@pytest.mark.parametrize("rests", [False, True])
async def test_a_row_of_the_snapshot_that_differs_is_drift(rests: bool) -> None:
    async with world() as w:
        await fill(w)
        await write(w, rests=rests)
        lots = w.database.partitions[number_of("JAM")].lots["LON", "JAM"]
        lots["A", ""] = lots["A", ""]._replace(on_hand=9)
        assert await audit(w) == (2, 3)


@pytest.mark.parametrize("rests", [False, True])
async def test_a_row_that_the_snapshot_lost_is_drift(rests: bool) -> None:
    async with world() as w:
        await fill(w)
        await write(w, rests=rests)
        del w.database.partitions[number_of("JAM")].lots["LON", "JAM"]
        assert await audit(w) == (2, 6 + 2)


async def test_a_row_behind_the_ledger_is_no_drift_before_the_next_snapshot() -> None:
    async with world() as w:
        await fill(w)
        await w.hosts[0].snapshotter.flush()
        await w.receive("JAM", 5)
        assert await audit(w) == (2, 0)


def rewrite(w: World, sku: str, kind: str, **changes: Any) -> None:
    """Change an entry that is in the ledger, and its checksum with it."""
    tables = w.database.partitions[number_of(sku)]
    (index,) = [i for i, entry in enumerate(tables.ledger) if (entry.sku, entry.kind) == (sku, kind)]
    tables.ledger[index] = tables.ledger[index]._replace(**changes)
    seal(tables)


async def test_balances_in_the_ledger_that_do_not_follow_from_the_sum_are_drift() -> None:
    """The row is neither the last, nor is any quantity changed: sums, last balances and memory agree."""
    async with world() as w:
        await fill(w)
        rewrite(w, "JAM", "stock_held", on_hand=8)
        assert await audit(w) == (2, 1)
        assert await audit(w, stretch=1) == (2, 1)


async def test_a_last_row_whose_balances_do_not_follow_is_drift() -> None:
    async with world() as w:
        await fill(w)
        rewrite(w, "JAM", "stock_picked", held=0)
        assert await audit(w) == (2, 2)


async def test_a_quantity_that_does_not_lead_to_the_balances_is_drift_of_the_rows_and_of_memory() -> None:
    async with world() as w:
        await fill(w)
        rewrite(w, "JAM", "stock_picked", quantity=3)
        assert await audit(w) == (2, 2 + 2)


async def test_a_reservation_in_the_ledger_that_is_not_named_is_drift() -> None:
    async with world() as w:
        await w.receive("TEA", 10)
        view_of(await w.reserve("TEA", 4))
        rewrite(w, "TEA", "stock_reserved", reservation=None)
        assert await audit(w) == (1, 4 + 4 + 1)  # No entry has opened it, either.


@pytest.mark.parametrize("lost", [{1}, {3}, {4, 3}])
async def test_an_entry_without_a_row_is_drift_and_is_named(lost: set[int]) -> None:
    """Also one that touches no stock, which no sum would miss."""
    async with world() as w:
        await fill(w)
        number = number_of("TEA")
        await until(lambda: w.hosts[0].courier.lag == 0)  # Else the broadcast would meet it.
        w.ledgers[0].gone = {(number, seq) for seq in lost}
        with structlog.testing.capture_logs() as logs:
            assert await audit(w, mends=True) == (2, 1)
        (told,) = [log for log in logs if log["event"] == "drift"]
        assert (told["of"], told["partition"], told["seq"]) == ("entries", number, min(lost))
        assert w.hosts[0].host.gauges.rebuilds == 0
        assert number in w.hosts[0].host.owned

"""Partial reservations are the same in one partition and over several: a line that finds nothing is shown."""

from typing import Any

import pytest

from actors.outcomes import Answered
from engine.apply import apply
from engine.commands import ReceiveStock, ReserveLine
from engine.images import digest
from engine.partitioning import reservation_address
from engine.state import Partition
from tests.component.actors.world import World, code_of, number_of, skus_in, until, view_of, world

TOGETHER = skus_in(2, 3)
APART = [skus_in(number, 1)[0] for number in (2, 5, 9)]
QUANTITY = 5


def lines_of(skus: list[str], **fields: Any) -> list[ReserveLine]:
    return [ReserveLine("LON", sku, QUANTITY, index=index, **fields) for index, sku in enumerate(skus)]


async def reserve(w: World, lines: list[ReserveLine], key: str = "part") -> Any:
    return await w.reservations.reserve(lines, ttl_s=60, reference="r", partial=True, key=key)


def shown(view: dict[str, Any], skus: list[str]) -> dict[str, Any]:
    """A view without what differs: the id, and the SKUs' own names."""
    lines = [{**line, "sku": skus.index(line["sku"])} for line in view["lines"]]
    return {**view, "id": None, "lines": lines}


@pytest.mark.parametrize(
    "there", [(1, 2, 0), (0, 2, 3), (1, 0, 3), (0, 0, 3), (1, 0, 0), (0, 9, 0), (9, 9, 9)]
)
async def test_a_partial_reservation_is_the_same_wherever_its_lines_lie(there: tuple[int, ...]) -> None:
    views = []
    for skus in (TOGETHER, APART):
        async with world() as w:
            for sku, units in zip(skus, there, strict=True):
                if units:
                    await w.receive(sku, units)
            first = view_of(await reserve(w, lines_of(skus)))
            assert view_of(await w.reservations.find(first["id"])) == first
            assert await reserve(w, lines_of(skus)) == Answered(first, True)
            await w.hosts[0].snapshotter.flush()
            await w.host("second", recovered_keys=0)
            assert view_of(await w.reservations.find(first["id"])) == first
            assert await reserve(w, lines_of(skus)) == Answered(first, True)
            picked = await w.reservations.pick(
                first["id"], quantity=None, sku=None, location=None, lot=None, short_reason=None, key="all"
            )
            views.append([shown(first, skus), shown(view_of(picked), skus)])
    assert [line["quantity"] for line in views[1][0]["lines"]] == [min(QUANTITY, units) for units in there]
    assert [line["requested"] for line in views[1][0]["lines"]] == [QUANTITY] * 3
    assert views[0] == views[1]


async def test_lines_that_find_nothing_are_summed_like_others() -> None:
    views = []
    for skus in (TOGETHER, APART):
        async with world() as w:
            await w.receive(skus[0], 3)
            lines = lines_of([skus[0], skus[1], skus[1]])
            views.append(shown(view_of(await reserve(w, lines)), skus))
    assert views[0] == views[1]
    assert [line["requested"] for line in views[1]["lines"]] == [QUANTITY, 2 * QUANTITY]


async def test_one_that_finds_nothing_anywhere_is_refused_and_leaves_nothing() -> None:
    async with world() as w:
        assert code_of(await reserve(w, lines_of(APART))) == "insufficient_stock"
        kinds = {entry.kind for tables in w.database.partitions for entry in tables.ledger}
        assert kinds == {"partition_claimed"}


async def test_what_else_is_wrong_with_a_line_refuses_all() -> None:
    day_ms = 86_400_000
    for skus in (TOGETHER, APART):
        async with world() as w:
            receipt = ReceiveStock("LON", skus[1], "A", 5, "L1", w.now_ms + day_ms)
            view_of(await w.ask(receipt))
            await w.receive(skus[0], 5)
            w.now_ms += 2 * day_ms
            lines = [*lines_of(skus[:1]), ReserveLine("LON", skus[1], 1, None, "L1", index=1)]
            assert code_of(await reserve(w, lines)) == "lot_expired"
            assert await w.stock(skus[0]) == (5, 0)


async def test_a_line_that_found_nothing_wakes_no_stock_where_it_is_shown() -> None:
    async with world(active_stocks_max=0) as w:
        await w.receive(APART[0], 3)
        public_id = view_of(await reserve(w, lines_of(APART)))["id"]
        await w.receive(APART[1], 3)
        await w.hosts[0].snapshotter.flush()
        host = await w.host("second", active_stocks_max=0)
        await until(lambda: all(owned.is_ready for owned in host.host.owned.values()))
        view_of(await w.reservations.extend(public_id, ttl_s=90, key="extend"))
        w.now_ms += 91_000
        assert view_of(await w.reservations.find(public_id))["state"] == "expired"
        home = host.host.owned[number_of(APART[0])].state
        assert {sku for _, sku in home.stocks} <= {APART[0]}
        assert await w.stock(APART[0]) == (3, 0)
        assert await w.stock(APART[1]) == (3, 0)
        address = reservation_address(public_id)
        assert address is not None
        assert address.partition == home.number
        replayed = Partition(home.number)
        for entry in w.database.partitions[home.number].ledger:
            apply(replayed, entry)
        assert digest(replayed) == digest(home)

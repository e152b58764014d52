"""A ledger with a gap or a changed row is refused: its partition is not served, and the place is named."""

import asyncio

import pytest
import structlog

from actors.outcomes import LedgerRefused
from actors.rebuilding import Misfit
from actors.requests import Request
from engine.commands import ReceiveStock
from persistence.memory.database import PartitionTables
from persistence.placement import Placement
from tests.component.actors.broken import Break, changed, edited, filled, taken_over
from tests.component.actors.harm import fill, rewrite, tables_of
from tests.component.actors.world import PARTITIONS, number_of, until, view_of, world


def without_an_entry(tables: PartitionTables) -> int:
    """A list has no gaps: the next entry stands in its place. `tests/integration` has a real gap."""
    tables.ledger[2] = tables.ledger[3]
    return 3


def twice(tables: PartitionTables) -> int:
    tables.ledger[3] = tables.ledger[2]
    return 4


BROKEN: list[Break] = [
    without_an_entry,
    twice,
    changed("stock_received", on_hand=21),
    changed("stock_received", quantity=21),
    changed("stock_reserved", reserved=2),
    changed("stock_reserved", line=None),
    changed("stock_reserved", kind="stock_invented"),
    changed("stock_reserved", detail="{"),
    changed("stock_reserved", detail="[]"),
    changed("stock_picked", reservation=4_000),
    changed("stock_received", lot=None),
    edited("stock_received", quantity=21),
    edited("stock_received", key="another"),
    edited("stock_received", fingerprint=7),
    edited("stock_received", reason="theft"),
    edited("stock_reserved", reference="till 4"),
    edited("partition_claimed", at_ms=5),
]


@pytest.mark.parametrize("break_", BROKEN)
async def test_a_partition_whose_tail_does_not_follow_is_not_served_and_others_are(break_: Break) -> None:
    async with world() as w:
        await filled(w)
        with structlog.testing.capture_logs() as logs:
            second, seq = await taken_over(w, break_, written=False)
            number = number_of("TEA")
            await until(lambda: number in second.host.refused)
        with pytest.raises(LedgerRefused, match=f"Partition {number} is not served.*entry {seq}:"):
            await w.stock("TEA")
        with pytest.raises(LedgerRefused):
            await w.receive("TEA", 1)
        assert await w.stock("JAM") == (24, 2)
        assert (await w.receive("JAM", 1))["on_hand"] == 20
        (told,) = [log for log in logs if log["event"] == "ledger_refused"]
        assert (told["partition"], told["seq"], told["log_level"]) == (number, seq, "critical")
        assert told["why"]


async def test_nothing_is_written_to_it_and_its_supervisor_need_not_give_it_again() -> None:
    async with world() as w:
        await filled(w)
        second, seq = await taken_over(w, changed("stock_received", on_hand=21), written=False)
        number = number_of("TEA")
        await until(lambda: number in second.host.refused)
        before = list(tables_of(w, "TEA").ledger)
        for _ in range(3):
            with pytest.raises(LedgerRefused):
                await w.gateway.submit(number, ReceiveStock("LON", "TEA", "A", 1), "again")
        assert tables_of(w, "TEA").ledger == before
        assert await second._ping(None) == list(range(PARTITIONS))
        (described,) = await w.gateway.hosts()
        assert [refused[:2] for refused in described["refused"]] == [[number, seq]]
        assert (described["partitions"], described["ready"]) == (PARTITIONS - 1, PARTITIONS - 1)


async def test_the_directory_is_not_asked_for_each_request_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.gateway._REFUSED_S", 3_600.0)
    async with world() as w:
        await filled(w)
        second, _ = await taken_over(w, changed("stock_received", on_hand=21), written=False)
        await until(lambda: number_of("TEA") in second.host.refused)
        placements, asked = w.gateway._directory.placements, 0

        async def counted() -> list[Placement]:
            nonlocal asked
            asked += 1
            return await placements()

        monkeypatch.setattr(w.gateway._directory, "placements", counted)
        for n in range(20):
            with pytest.raises(LedgerRefused):
                await w.gateway.submit(number_of("TEA"), ReceiveStock("LON", "TEA", "A", 1), f"k{n}")
        assert asked == 2  # For the first, and to see whether somebody else has it since.


async def test_callers_that_wait_when_it_is_refused_are_told() -> None:
    async with world() as w:
        await filled(w)
        await w.kill(w.hosts[0])
        seq = changed("stock_received", on_hand=21)(tables_of(w, "TEA"))
        second = w.build("second")
        await second.start("127.0.0.1")
        with w.snapshots[-1].recover_gate.held():
            second.host.spawn(second.take(list(range(PARTITIONS))))
            await until(lambda: w.snapshots[-1].recover_gate.waiting == 1)
            asked = asyncio.ensure_future(w.reserve("TEA", 1))
            await until(lambda: second.host.in_flight == 1)
        with pytest.raises(LedgerRefused, match=f"entry {seq}"):
            await asked
        assert second.host.in_flight == 0


async def test_a_ledger_that_lost_its_end_is_refused_rather_than_go_on_without_what_was_acknowledged() -> (
    None
):
    async with world() as w:
        await fill(w)

        def cut(tables: PartitionTables) -> int:
            del tables.ledger[-2:]
            return len(tables.ledger) + 1

        second, seq = await taken_over(w, cut, written=True)
        with pytest.raises(LedgerRefused, match=f"entry {seq}.*the snapshot has seen entry {seq + 1}"):
            await w.stock("TEA")
        assert await w.stock("JAM") == (24, 2)
        assert second.host.gauges.rebuilds == 0


@pytest.mark.parametrize("lost", [1, 2])
async def test_a_ledger_that_lost_its_end_is_refused_by_every_owner_until_its_rows_are_back(
    lost: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.gateway._REFUSED_S", 0.0)  # Its next owner is looked for at once.
    async with world() as w:
        await fill(w)
        await w.receive("TEA", 99)
        await w.receive("TEA", 1)
        tables, number = tables_of(w, "TEA"), number_of("TEA")
        await w.hosts[0].snapshotter.flush()
        await w.kill(w.hosts[0])
        gone, tables.ledger[-lost:] = tables.ledger[-lost:], []
        kept, rows, seen = list(tables.ledger), dict(tables.lots), tables.snapshot_seq
        for name in ("second", "third", "fourth"):
            owner = await w.host(name)
            with pytest.raises(LedgerRefused, match=f"entry {len(kept) + 1}.*has seen entry {seen}"):
                await w.stock("TEA")
            await owner.take([number])
            with pytest.raises(LedgerRefused):
                await w.receive("TEA", 1)
            await owner.snapshotter.flush()
            assert (tables.ledger, tables.lots, tables.snapshot_seq) == (kept, rows, seen)
            assert owner.host.gauges.rebuilds == 0
            assert await w.stock("JAM") == (24, 2)
        tables.ledger += gone
        mended = await w.host("fifth")
        assert await w.stock("TEA") == (121, 5)
        assert (mended.host.refused, mended.host.gauges.rebuilds) == ({}, 0)


async def test_a_snapshot_is_not_rebuilt_from_a_broken_ledger_and_stays_as_it_was() -> None:
    async with world() as w:
        await fill(w)
        rows = dict(tables_of(w, "TEA").lots)

        def both(tables: PartitionTables) -> int:
            tables.lots["LON", "TEA"].pop(("B", "L1"))
            return rewrite(tables, "stock_received", on_hand=21)

        second, seq = await taken_over(w, both, written=True)
        with pytest.raises(LedgerRefused, match=f"entry {seq}"):
            await w.stock("TEA")
        assert dict(tables_of(w, "TEA").lots) == rows
        assert second.host.gauges.rebuilds == 0


async def test_it_stays_refused_when_a_batch_of_it_that_was_on_its_way_meets_a_taken_key() -> None:
    """The gap was found meanwhile, and what is decided again are the other partitions of the batch."""
    async with world(key_window=4) as w:
        await fill(w)
        host, number = w.hosts[0].host, number_of("TEA")
        for sku in ("TEA", "JAM"):
            await w.ask(ReceiveStock("LON", sku, "A", 1), f"old {sku}")
        for _ in range(8):
            await w.receive("RUM", 1)
        told: list[Misfit | None] = []
        with w.ledgers[0].gate.held():
            asked = [
                asyncio.ensure_future(w.ask(ReceiveStock("LON", sku, "A", 1), f"old {sku}"))
                for sku in ("TEA", "JAM")
            ]
            await until(lambda: number in {entry.partition for entry in host.committer.closed.entries})
            await until(lambda: w.ledgers[0].gate.waiting == 1)
            host.ownership.refuse(host.owned[number], Misfit(number, 3, "it is missing"))
            give_back = host.ownership.give_back

            def seen(requests: list[Request]) -> None:
                give_back(requests)
                told.append(host.refused.get(number))

            host.ownership.give_back = seen  # type: ignore[method-assign]
        with pytest.raises(LedgerRefused, match=f"Partition {number} is not served.*entry 3: it is missing"):
            await asked[0]
        assert None not in told
        assert view_of(await asked[1])["on_hand"] == 20
        assert host.gauges.rewinds > 0
        assert host.refused == {number: Misfit(number, 3, "it is missing")}

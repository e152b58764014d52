"""A whole database is looked at: what hosts leave fits, and what was changed behind them is named."""

from typing import Any

import pytest
from rich.console import Console

from actors.queries import ReadStock
from binkeeper.errors import StartError
from binkeeper.verify.examination import Report
from binkeeper.verify.findings import Sort
from binkeeper.verify.verify import examine, show
from persistence.memory import MemoryDatabase, MemorySnapshots, MemorySurvey
from persistence.ports import Head
from tests.component.actors.harm import HARM, Harm, edit, fill, rewrite, tables_of, truncated
from tests.component.actors.world import number_of, skus_in, view_of, world

QUIET = Console(quiet=True)


async def look(database: MemoryDatabase, *, rebuild: bool = False) -> Report:
    return await examine(MemorySurvey(database), MemorySnapshots(database) if rebuild else None, QUIET)


async def test_what_a_host_leaves_fits_with_snapshots_behind_and_up_to_date() -> None:
    async with world() as w:
        await fill(w)
        report = await look(w.database)
        assert report.findings.kept == []
        assert report.is_clean
        assert report.entries == sum(len(tables.ledger) for tables in w.database.partitions)
        assert report.rows > 6
        assert report.not_compared == []
        await w.hosts[0].snapshotter.flush()
        assert (await look(w.database)).is_clean


async def test_an_empty_database_fits() -> None:
    report = await look(MemoryDatabase(4))
    assert (report.is_clean, report.partitions, report.entries) == (True, 4, 0)


async def test_a_changed_row_of_the_ledger_is_the_first_that_does_not_fit() -> None:
    async with world() as w:
        await fill(w)
        seq = rewrite(tables_of(w, "JAM"), "stock_held", quantity=1)
        report = await look(w.database)
        first = report.findings.first
        assert first is not None
        assert (first.partition, first.seq) == (number_of("JAM"), seq)
        assert first.sort in {Sort.BALANCE, Sort.REPLAY}
        assert {Sort.BALANCE, Sort.REPLAY} <= set(report.findings.counts)
        assert report.not_compared == [number_of("JAM")]


async def test_a_gap_is_named_with_its_place_and_no_snapshot_is_made_of_such_a_ledger() -> None:
    async with world() as w:
        await fill(w)
        tables = tables_of(w, "JAM")
        gone = tables.ledger.pop(2)
        report = await look(w.database, rebuild=True)
        first = report.findings.first
        assert first is not None
        assert (first.sort, first.partition, first.seq) == (Sort.SEQUENCE, number_of("JAM"), gone.seq)
        assert not report.is_clean
        assert report.rebuilt == []


async def test_a_key_that_was_used_in_two_partitions_is_named() -> None:
    async with world() as w:
        await fill(w)
        key = next(entry.key for entry in tables_of(w, "TEA").ledger if entry.key is not None)
        seq = rewrite(tables_of(w, "RUM"), "stock_received", key=key)
        findings = (await look(w.database)).findings
        (found,) = findings.kept
        assert (found.sort, found.place) == (Sort.KEY, key)
        assert f"partition {number_of('RUM')}, entry {seq}" in found.found


@pytest.mark.parametrize("harm", HARM)
async def test_a_row_of_a_snapshot_that_differs_is_named_and_rebuilt(harm: Harm) -> None:
    async with world() as w:
        await fill(w)
        await w.kill(w.hosts[0])
        harm(tables_of(w, "TEA"))
        report = await look(w.database)
        assert set(report.findings.counts) == {Sort.SNAPSHOT}
        assert {finding.partition for finding in report.findings.kept} == {number_of("TEA")}
        mended = await look(w.database, rebuild=True)
        assert (mended.is_clean, mended.rebuilt) == (True, [number_of("TEA")])
        again = await look(w.database)
        assert again.findings.total == 0
        await w.host("second")
        assert await w.stock("TEA") == (21, 5)


@pytest.mark.parametrize("changes", [{"expires_at_ms": 1_800_000_000_000}, {"reference": "other"}])
async def test_where_one_entry_alone_says_something_its_checksum_tells_that_the_snapshot_is_right(
    changes: dict[str, Any],
) -> None:
    async with world() as w:
        await fill(w)
        await w.hosts[0].snapshotter.flush()
        seq = edit(tables_of(w, "TEA"), "stock_reserved", **changes)
        report = await look(w.database, rebuild=True)
        (found,) = report.findings.kept
        assert (found.sort, found.partition, found.seq) == (Sort.CHECKSUM, number_of("TEA"), seq)
        assert (report.not_compared, report.rebuilt) == ([number_of("TEA")], [])


async def test_rows_of_the_partition_itself_are_looked_at() -> None:
    async with world() as w:
        await fill(w)
        tables = tables_of(w, "TEA")
        last = len(tables.ledger)
        tables.epoch, tables.snapshot_seq, tables.cursor = 9, last + 5, last + 1
        report = await look(w.database)
        assert report.findings.counts == {Sort.PARTITION: 3}
        assert report.not_compared == [number_of("TEA")]


async def test_a_partition_that_somebody_claims_meanwhile_is_not_rebuilt() -> None:
    async with world() as w:
        await fill(w)
        truncated(tables_of(w, "TEA"))

        class Late(MemorySnapshots):
            async def replace(self, head: Head, rows: Any) -> bool:
                await self.claim("other", "there:1", [head.partition], w.now_ms)
                return await super().replace(head, rows)

        with pytest.raises(StartError, match="claimed meanwhile"):
            await examine(MemorySurvey(w.database), Late(w.database), QUIET)


async def test_a_report_tells_people_and_programs_the_first_place(capsys: pytest.CaptureFixture[str]) -> None:
    async with world() as w:
        await fill(w)
        seq = rewrite(tables_of(w, "JAM"), "stock_held", held=1)
        report = await look(w.database)
    show(report, Console(width=200))
    shown = capsys.readouterr().out
    assert f"the first: balance: partition {number_of('JAM')}, entry {seq} (LON/JAM at A)" in shown
    plain = report.plain()
    assert (plain["clean"], plain["first"]["seq"]) == (False, seq)
    assert plain["entries_per_s"] > 0
    show(await look(MemoryDatabase(2)), Console(width=200))
    assert "everything fits" in capsys.readouterr().out


async def test_two_skus_of_one_partition_are_told_apart() -> None:
    number = number_of("TEA")
    async with world() as w:
        for sku in skus_in(number):
            await w.receive(sku, 3)
        await w.hosts[0].snapshotter.flush()
        tables = w.database.partitions[number]
        first, second = (("LON", sku) for sku in skus_in(number))
        tables.lots[first], tables.lots[second] = (
            {place: row._replace(sku=first[1]) for place, row in tables.lots[second].items()},
            {place: row._replace(sku=second[1]) for place, row in tables.lots[first].items()},
        )
        assert (await look(w.database)).findings.counts == {Sort.SNAPSHOT: 2}
        assert view_of(await w.gateway.query(number, ReadStock(*first)))["on_hand"] == 3

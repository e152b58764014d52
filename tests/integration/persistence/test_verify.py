"""`binkeeper verify` on a real Postgres, which somebody has changed by SQL."""

# ruff: noqa: S608 - statements are put together from what is written here

import pytest

from persistence.checksums import COLUMNS
from persistence.postgres import PostgresSnapshots, Sessions
from tests.conftest import PARTITIONS
from tests.integration.persistence.filled import NUMBER, execute, fill
from tests.integration.persistence.verifying import run, verify
from tests.rows import seal_database

DROP = "ALTER TABLE ledger DROP CONSTRAINT"
DEEP = "repeat('[', 5000) || repeat(']', 5000)"
"""Beyond what Python's own parser follows."""


async def test_what_hosts_leave_is_clean(database: str) -> None:
    await fill(database)
    code, report = await verify()
    assert (code, report["clean"], report["findings"], report["partitions"]) == (0, True, 0, PARTITIONS)
    assert report["entries"] == 9
    assert report["snapshot_rows"] == 2 + 1 + 2
    assert "everything fits" in (await run()).stdout


@pytest.mark.parametrize(
    "statements, sort, seq",
    [
        (["UPDATE ledger SET on_hand = 8 WHERE seq = 2"], "balance", 2),
        (["UPDATE ledger SET quantity = 10 WHERE seq = 2"], "balance", 2),
        (["DELETE FROM ledger WHERE seq = 3"], "sequence", 3),
        (["DELETE FROM ledger WHERE seq = 1"], "sequence", 1),
        (["DELETE FROM ledger WHERE seq >= 7"], "partition", 6),
        (["UPDATE ledger SET at_ms = 1 WHERE seq = 6"], "time", 6),
        (["UPDATE ledger SET reservation = 2 WHERE seq = 6"], "reservation", 6),
        (["UPDATE ledger SET span = 1 WHERE seq = 5"], "key", 5),
        (["UPDATE partition SET epoch = 4 WHERE epoch = 1"], "partition", 9),
        (
            [f"{DROP} ledger_balances_check", "UPDATE ledger SET reserved = 50 WHERE seq = 4"],
            "balance",
            4,
        ),
        (
            [f"{DROP} ledger_kind_check", "UPDATE ledger SET kind = 'stolen' WHERE seq = 9"],
            "entry",
            9,
        ),
        (["DROP INDEX ledger_key_idx", "UPDATE ledger SET key = 'first' WHERE seq = 3"], "key", 3),
        (["TRUNCATE stock_lot"], "snapshot", 5),
        (["UPDATE stock_lot SET on_hand = on_hand + 1 WHERE sku = 'tea'"], "snapshot", 7),
        (["DELETE FROM reservation"], "snapshot", 6),
        (["UPDATE reservation_line SET picked = 2 WHERE line = 0"], "snapshot", 4),
        (["UPDATE stock_lot SET expires_at_ms = 1 WHERE sku = 'tea'"], "snapshot", 7),
        ([f"UPDATE ledger SET detail = {DEEP} WHERE seq = 7"], "entry", 7),
        ([f"UPDATE ledger SET detail = {DEEP} WHERE seq = 1"], "entry", 1),
        ([f"UPDATE ledger SET detail = {DEEP} WHERE seq = 4"], "entry", 4),
        ([f"UPDATE reservation_line SET allocations = {DEEP}"], "snapshot", 4),
        ([f"UPDATE reservation SET parts = {DEEP}"], "snapshot", 6),
        ([f"UPDATE stock_lot SET holds = {DEEP} WHERE sku = 'tea'"], "snapshot", 7),
        (["DELETE FROM courier_cursor", f"DELETE FROM partition WHERE number = {NUMBER}"], "partition", 9),
    ],
)  # fmt: skip
async def test_what_was_changed_is_named_with_its_partition_and_entry(
    database: str, statements: list[str], sort: str, seq: int
) -> None:
    await fill(database)
    await execute(database, *statements)
    await seal_database(database)  # What else would notice it?
    code, report = await verify()
    assert code == 1
    assert (report["first"]["sort"], report["first"]["partition"]) == (sort, NUMBER)
    assert report["first"]["seq"] == seq, report["first"]


# One change of each column, at an entry where no other check sees it: where there is such an entry.
CHANGES = {
    "partition": ("partition = 99", 3),
    "seq": ("seq = 99", 9),
    "at_ms": ("at_ms = at_ms + 1", 9),
    "kind": ("kind = 'stock_adjusted'", 9),
    "key": ("key = 'third'", 3),
    "fingerprint": ("fingerprint = 8", 3),
    "span": ("span = 2", 9),
    "site": ("site = 'PAR'", 9),
    "sku": ("sku = 'coal'", 9),
    "location": ("location = 'Z-9'", 9),
    "lot": ("lot = 'L7'", 9),
    "quantity": ("quantity = 2", 9),
    "on_hand": ("on_hand = on_hand + 1", 9),
    "reserved": ("reserved = reserved - 1", 9),
    "held": ("held = held - 1", 9),
    "reservation": ("reservation = 4", 9),
    "line": ("line = 3", 9),
    "counterpart": ("counterpart = 'B-2'", 9),
    "expires_at_ms": ("expires_at_ms = 1900000000000", 3),
    "reference": ("reference = 'till 4'", 2),
    "reason": ("reason = 'theft'", 9),
    "detail": ("detail = '{}'", 2),
    "checksum": ("checksum = checksum + 1", 5),
}


async def test_each_column_of_a_row_is_in_its_checksum(database: str) -> None:
    assert list(CHANGES) == list(COLUMNS)
    await fill(database)
    await execute(database, "CREATE TABLE kept AS SELECT * FROM ledger")
    for column, (change, seq) in CHANGES.items():
        await execute(database, f"UPDATE ledger SET {change} WHERE seq = {seq}")
        code, report = await verify()
        found = [one for one in report["kept"] if one["sort"] == "checksum"]
        expected = {"partition": (99, 3), "seq": (NUMBER, 99)}.get(column, (NUMBER, seq))
        assert (code, [(one["partition"], one["seq"]) for one in found]) == (1, [expected]), column
        assert NUMBER in report["snapshots_not_compared"]
        await execute(database, "DELETE FROM ledger", "INSERT INTO ledger SELECT * FROM kept")
    assert (await verify())[0] == 0


@pytest.mark.parametrize(
    "change", ["key = 'third'", "fingerprint = 8", "reference = 'till 4'", "reason = 'theft'"]
)
async def test_a_change_that_shows_nowhere_else_is_named_with_what_to_do(database: str, change: str) -> None:
    await fill(database)
    await execute(database, f"UPDATE ledger SET {change} WHERE seq = 3")
    code, report = await verify()
    assert (code, report["counts"]) == (1, {"checksum": 1})
    first = report["first"]
    assert (first["sort"], first["partition"], first["seq"]) == ("checksum", NUMBER, 3)
    shown = (await run()).stdout
    assert f"the first: checksum: partition {NUMBER}, entry 3: expected checksum" in shown
    assert "bring them back as they were" in shown
    # Who looks at the row and finds it right accepts it by the checksum that is told.
    accepted = first["expected"].removeprefix("checksum ").partition(",")[0]
    await execute(database, f"UPDATE ledger SET checksum = {accepted} WHERE seq = 3")
    assert (await verify())[0] == 0


async def test_of_several_that_do_not_fit_the_first_is_told_whichever_check_finds_it(database: str) -> None:
    await fill(database)
    await execute(database, "UPDATE ledger SET quantity = 10 WHERE seq = 2")
    await seal_database(database)
    await execute(database, "UPDATE ledger SET reason = 'theft' WHERE seq = 3")
    _, report = await verify()
    assert (report["first"]["sort"], report["first"]["seq"]) == ("balance", 2)
    assert [one["seq"] for one in report["kept"] if one["sort"] == "checksum"] == [3]


async def test_the_first_is_the_first_however_many_there_are(database: str) -> None:
    await fill(database)
    await execute(
        database,
        "DROP INDEX ledger_key_idx",
        "INSERT INTO ledger (partition, seq, at_ms, kind, span, quantity, on_hand, reserved, held, key,"
        f" checksum, fingerprint) SELECT {NUMBER}, 9 + n, at_ms, 'request_noted', 1, 0, 0, 0, 0,"
        f" 'k' || lpad(((4000 - n) / 2)::text, 5, '0'), 0, 1 FROM generate_series(1, 4000) AS n, ledger"
        f" WHERE partition = {NUMBER} AND seq = 9",
    )
    await seal_database(database)
    code, report = await verify()
    assert (code, report["counts"]) == (1, {"key": 1_000})
    # Keys rise as places fall: the first in the order of the keys is the last place.
    assert report["first"]["seq"] == min(one["seq"] for one in report["kept"]) == 11
    assert [one["seq"] for one in report["kept"]] == list(range(11, 51, 2))


async def test_snapshots_are_rebuilt_and_an_owner_starts_from_them(database: str) -> None:
    await fill(database)
    await execute(
        database,
        "TRUNCATE stock_lot, reservation, reservation_line",
        "INSERT INTO stock_lot SELECT number, 'LDN', 'ghost', 'Z', '', 1, 5, 0, 0, NULL, NULL, 1"
        " FROM partition WHERE epoch = 1",
    )
    assert (await verify())[0] == 1
    code, report = await verify("--rebuild-snapshots")
    assert (code, report["snapshots_rebuilt"]) == (0, [NUMBER])
    code, report = await verify()
    assert (code, report["findings"]) == (0, 0)
    sessions = Sessions(database, "h2")
    snapshots = PostgresSnapshots(sessions)
    rows = await snapshots.load([(NUMBER, ("LDN", "tea")), (NUMBER, ("LDN", "ghost"))])
    await sessions.close()
    assert [(row.on_hand, row.reserved, row.held) for row in rows.lots] == [(9, 2, 2)]
    assert [row.expires_at_ms is not None for row in rows.reservations] == [True]


async def test_snapshots_are_not_rebuilt_while_somebody_is_at_work(database: str) -> None:
    await fill(database)
    sessions = Sessions(database, "host-1")
    async with sessions.session():
        done = await run("--rebuild-snapshots")
    await sessions.close()
    assert done.exit_code == 2
    assert "binkeeper:host-1" in done.stderr

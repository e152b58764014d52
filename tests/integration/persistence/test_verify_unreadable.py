"""`binkeeper verify` on a database that lost its partitions, is another version's, or does not answer."""

import pytest

from tests.conftest import PARTITIONS
from tests.integration.persistence.filled import NUMBER, execute, fill
from tests.integration.persistence.verifying import run, verify
from tests.rows import seal_database

LOT_ROW = (
    "INSERT INTO stock_lot SELECT 99, site, 'new', location, lot, 1, 5, 0, 0, NULL, NULL, 1 FROM stock_lot"
)
LEDGER_ROW = (
    "INSERT INTO ledger (partition, seq, at_ms, kind, span, quantity, on_hand, reserved, held, site, sku,"
    " location, lot, checksum) VALUES (99, 1, 5, 'stock_received', 1, 5, 5, 0, 0, 'LDN', 'tea', 'A', '', 0)"
)
KEYS_OFF = [
    f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {table}_partition_fkey"
    for table in ("ledger", "stock_lot", "reservation", "reservation_line", "courier_cursor")
]


@pytest.mark.parametrize(
    "statements, partitions",
    [
        (["DELETE FROM partition"], list(range(PARTITIONS))),
        (["DELETE FROM partition WHERE number = 0"], [0]),
        ([LEDGER_ROW], [99]),
        ([f"{LOT_ROW} LIMIT 1"], [99]),
        (
            ["UPDATE reservation SET partition = 99", "UPDATE reservation_line SET partition = 99"],
            [NUMBER, 99],
        ),
        (["INSERT INTO partition (number) VALUES (99)"], [99]),
        (["DELETE FROM setting WHERE name = 'partitions'"], [0]),
        (["UPDATE setting SET value = 'many' WHERE name = 'partitions'"], [0]),
    ],
)
async def test_a_database_that_lost_its_partitions_is_not_clean(
    database: str, statements: list[str], partitions: list[int]
) -> None:
    await fill(database)
    await execute(database, *KEYS_OFF, *statements)
    await seal_database(database)
    for options in ((), ("--rebuild-snapshots",)):
        code, report = await verify(*options)
        assert (code, report["clean"]) == (1, False)
        assert sorted({one["partition"] for one in report["kept"]}) == partitions
        assert report["entries"] >= 9
        named = {one["partition"] for one in report["kept"] if one["sort"] == "partition"}
        assert named == set(partitions) - ({NUMBER} if len(partitions) == 2 else set())
        assert report["snapshots_rebuilt"] in ([], [NUMBER])


@pytest.mark.parametrize(
    "statements, told",
    [
        (["UPDATE alembic_version SET version_num = '9999'"], "version ['9999']"),
        (["DELETE FROM alembic_version"], "version []"),
        (["DROP TABLE alembic_version"], "another program's"),
        (["ALTER TABLE stock_lot DROP COLUMN age"], "another version's"),
        (["DROP TABLE setting"], "another version's"),
        (["ALTER TABLE courier_cursor ALTER COLUMN partition TYPE text"], "another version's"),
    ],
)
async def test_a_database_of_another_version_cannot_be_checked(
    database: str, statements: list[str], told: str
) -> None:
    await execute(database, *KEYS_OFF, *statements)
    done = await run()
    assert done.exit_code == 2
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


async def test_a_database_without_a_ledger_cannot_be_checked(
    empty_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BINKEEPER_POSTGRES_URL", empty_postgres_url)
    done = await run()
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert "the database has no ledger" in done.stderr


@pytest.mark.parametrize(
    "url",
    ["postgresql://127.0.0.1:1/nothing", "nonsense", "postgresql://[bad", "postgresql://localhost:port/x"],
)
async def test_a_database_that_does_not_answer_cannot_be_checked(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BINKEEPER_POSTGRES_URL", url)
    done = await run()
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1

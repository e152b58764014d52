"""Migrations against the models, and what is fixed when a database is created."""

import asyncio
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from persistence import migrate as migrate_module
from persistence.checksums import COLUMNS, checked
from persistence.migrate import migrate
from persistence.models import Model
from persistence.ports import Unavailable, UnsafeDatabase

_CATALOGUE = {
    "columns": """
        SELECT table_name, ordinal_position, column_name, data_type, is_nullable, column_default,
            collation_name
        FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, contype::text,
            replace(pg_get_constraintdef(oid), ' NOT VALID', '')  -- widened: older rows need no look
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2""",
    "indexes": """
        SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2""",
    "views": "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public' ORDER BY 1",
    "options": """
        SELECT relname, reloptions::text FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 1""",
}


async def _schema(url: str) -> dict[str, list[tuple[object, ...]]]:
    connection = await asyncpg.connect(url)
    try:
        found = {
            name: [tuple(row) for row in await connection.fetch(query)] for name, query in _CATALOGUE.items()
        }
    finally:
        await connection.close()
    return {name: [row for row in rows if row[0] != "alembic_version"] for name, rows in found.items()}


async def _create_from_models(url: str) -> None:
    async def connect() -> asyncpg.Connection:
        return await asyncpg.connect(url)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect)
    async with engine.begin() as connection:
        await connection.run_sync(Model.metadata.create_all)
    await engine.dispose()


def test_migrations_make_what_the_models_say(empty_postgres_url: str, postgres_url: str) -> None:
    asyncio.run(_create_from_models(empty_postgres_url))
    migrated, modelled = asyncio.run(_schema(postgres_url)), asyncio.run(_schema(empty_postgres_url))
    for name, rows in modelled.items():
        assert migrated[name] == rows, name


def test_migrating_again_changes_nothing(empty_postgres_url: str) -> None:
    assert migrate(empty_postgres_url, 4) == 4
    before = asyncio.run(_schema(empty_postgres_url))
    assert migrate(empty_postgres_url) == 4
    assert migrate(empty_postgres_url, 4) == 4
    assert asyncio.run(_schema(empty_postgres_url)) == before


def test_a_database_of_an_earlier_program_is_upgraded_with_what_it_holds(
    empty_postgres_url: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(migrate_module, "HEAD", "0001")
        assert migrate(empty_postgres_url, 4) == 4
    note = (
        "INSERT INTO ledger (partition, seq, at_ms, kind, span, quantity, on_hand, reserved, held)"
        " VALUES (1, {}, 1, '{}', 1, 0, 0, 0, 0)"
    )
    asyncio.run(_execute(empty_postgres_url, note.format(1, "partition_claimed")))
    with pytest.raises(asyncpg.CheckViolationError):
        asyncio.run(_execute(empty_postgres_url, note.format(2, "request_noted")))
    asyncio.run(_execute(empty_postgres_url, _ROWS_OF_0001))
    assert migrate(empty_postgres_url) == 4
    assert asyncio.run(_checksums_hold(empty_postgres_url)) == 1 + 3
    noted = note.format(2, "request_noted").replace("held)", "held, checksum)").replace("0)", "0, 0)")
    asyncio.run(_execute(empty_postgres_url, noted))
    assert asyncio.run(_schema(empty_postgres_url)) == asyncio.run(_schema(postgres_url))


_ROWS_OF_0001 = """
INSERT INTO ledger VALUES
(2, 1, 5, 'stock_received', 'k', 9223372036854775807, 1, 'Zürich/1', 'té', 'A', '',
 9007199254740991, 9007199254740991, 0, 0, NULL, NULL, NULL, -5, '', NULL, NULL),
(2, 2, 5, 'stock_reserved', NULL, NULL, 1, 'Zürich/1', 'té', 'A', '',
 1, 9007199254740991, 1, 0, 2, 0, 'B', 7, 'ref', 'why', '{"a": [1]}'),
(3, 1, 5, 'partition_claimed', NULL, NULL, 1, NULL, NULL, NULL, NULL,
 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, '{}')
"""


async def _checksums_hold(url: str) -> int:
    """Return how many rows there are. Raises RowsChanged."""
    connection = await asyncpg.connect(url)
    rows = await connection.fetch(f"SELECT {', '.join(COLUMNS)} FROM ledger")  # noqa: S608 - our own columns
    await connection.close()
    return len(checked(rows))


def test_a_migration_fills_checksums_in_however_many_steps(
    empty_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(migrate_module, "HEAD", "0002")
        migrate(empty_postgres_url, 4)
    many = (
        "INSERT INTO ledger (partition, seq, at_ms, kind, span, quantity, on_hand, reserved, held)"
        " SELECT p, n, 1, 'request_noted', 1, 0, 0, 0, 0"
        " FROM generate_series(0, 2) AS p, generate_series(1, 4000) AS n"
    )
    asyncio.run(_execute(empty_postgres_url, many))
    migrate(empty_postgres_url)
    assert asyncio.run(_checksums_hold(empty_postgres_url)) == 12_000


def test_the_number_of_partitions_is_fixed_at_creation(empty_postgres_url: str) -> None:
    assert migrate(empty_postgres_url) == 256
    with pytest.raises(UnsafeDatabase, match="256 partitions and cannot have 16"):
        migrate(empty_postgres_url, 16)


def test_a_later_programs_schema_is_refused(empty_postgres_url: str) -> None:
    migrate(empty_postgres_url, 4)
    asyncio.run(_execute(empty_postgres_url, "UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(UnsafeDatabase, match="not this program's"):
        migrate(empty_postgres_url, 4)


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(statement)
    await connection.close()


def test_several_starters_may_migrate_at_once(empty_postgres_url: str) -> None:
    program = "import sys; from persistence.migrate import migrate; print(migrate(sys.argv[1], 4))"
    starters = [
        subprocess.Popen([sys.executable, "-c", program, empty_postgres_url], stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    assert [starter.communicate(timeout=60)[0] for starter in starters] == [b"4\n"] * 2


def test_a_server_that_does_not_answer_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        migrate("postgresql://nobody:x@127.0.0.1:1/none")


async def test_the_view_of_bins_sums_lots(postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(
        "INSERT INTO stock_lot VALUES (1, 'LDN', 'tea', 'A-1', '', 3, 10, 2, 1, NULL, NULL, 1),"
        " (1, 'LDN', 'tea', 'A-1', 'L1', 5, 4, 0, 0, NULL, NULL, 1)"
    )
    row = await connection.fetchrow("SELECT * FROM bin")
    await connection.close()
    assert dict(row) == {
        "site": "LDN",
        "sku": "tea",
        "location": "A-1",
        "seq": 5,
        "on_hand": 14,
        "reserved": 2,
        "held": 1,
        "available": 11,
    }


def test_the_newest_migration_is_the_one_that_a_current_database_is_known_by() -> None:
    versions = Path(migrate_module.__file__).parent / "migrations" / "versions"
    assert max(path.name.partition("_")[0] for path in versions.glob("[0-9]*.py")) == migrate_module.HEAD

"""Brings a database to this program's schema, and settles what is fixed when it is created.

Alembic and SQLAlchemy are imported when they are needed: that costs 0.7 s.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from persistence.ports import Unavailable, UnsafeDatabase

if TYPE_CHECKING:
    from sqlalchemy import Connection

PARTITIONS_DEFAULT = 256
HEAD = "0004"
"""The newest migration; a test compares it with the folder."""
_MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(postgres_url: str, partitions: int | None = None) -> int:
    """Upgrade the schema, create the partitions the first time, and return how many there are.

    `partitions` is what the database is created with, 256 unless told. Several starters may do so at once.
    Raises UnsafeDatabase when another number was asked for than the database was created with, or when the
    schema is a later program's; Unavailable when the server does not answer.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(_migrate(postgres_url, partitions))
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, _migrate(postgres_url, partitions)).result()


async def _migrate(postgres_url: str, partitions: int | None) -> int:
    import asyncpg  # noqa: PLC0415 - see the module's docstring
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415
    from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415
    from sqlalchemy.pool import NullPool  # noqa: PLC0415

    async def connect() -> "asyncpg.Connection":
        return await asyncpg.connect(
            postgres_url, timeout=10, server_settings={"application_name": "binkeeper"}
        )

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            if not await connection.run_sync(_is_current):
                await connection.run_sync(_upgrade)
                await connection.commit()
            found = await connection.run_sync(_settle_partitions, partitions)
            await connection.commit()
            return found
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, DBAPIError) as error:
        raise Unavailable(f"the database cannot be prepared: {error}") from error
    finally:
        await engine.dispose()


def _is_current(connection: "Connection") -> bool:
    """Whether there is nothing to upgrade: worth knowing before Alembic is imported."""
    from sqlalchemy import text  # noqa: PLC0415

    if connection.execute(text("SELECT to_regclass('alembic_version')")).scalar_one() is None:
        return False
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all() == [HEAD]


def _upgrade(connection: "Connection") -> None:
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, HEAD)
    except CommandError as error:
        raise UnsafeDatabase(f"the schema is not this program's, probably a later one's: {error}") from error


def _settle_partitions(connection: "Connection", asked: int | None) -> int:
    from sqlalchemy import text  # noqa: PLC0415

    wanted = PARTITIONS_DEFAULT if asked is None else asked
    connection.execute(
        text("INSERT INTO setting (name, value) VALUES ('partitions', :value) ON CONFLICT (name) DO NOTHING"),
        {"value": str(wanted)},
    )
    found = int(connection.execute(text("SELECT value FROM setting WHERE name = 'partitions'")).scalar_one())
    if asked is not None and asked != found:
        raise UnsafeDatabase(f"the database was created with {found} partitions and cannot have {asked}")
    connection.execute(
        text(
            "INSERT INTO partition (number) SELECT generate_series(0, :last) ON CONFLICT (number) DO NOTHING"
        ),
        {"last": found - 1},
    )
    return found

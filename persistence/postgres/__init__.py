"""Ledger, snapshots, directory, read model and cursors on Postgres, by plain asyncpg.

One `Sessions` per process carries them all; the ledger has a connection of its own beside it.
"""

from persistence.postgres.cursors import PostgresCursors
from persistence.postgres.directory import PostgresDirectory
from persistence.postgres.ledger import PostgresLedger
from persistence.postgres.read_model import PostgresReadModel
from persistence.postgres.sessions import Sessions
from persistence.postgres.snapshots import PostgresSnapshots
from persistence.postgres.survey import PostgresSurvey
from persistence.postgres.wishes import PostgresWishes

__all__ = [
    "PostgresCursors",
    "PostgresDirectory",
    "PostgresLedger",
    "PostgresReadModel",
    "PostgresSnapshots",
    "PostgresSurvey",
    "PostgresWishes",
    "Sessions",
]

"""How Alembic runs the migrations: in the transaction of a connection that `persistence.migrate` hands over.

Whoever starts second waits for the lock and then finds nothing left to do.
"""

from alembic import context
from sqlalchemy import text

from persistence.models import Model

_LOCK = 4_027_431_886_512_734
"""Any number that no other user of the database locks."""

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Model.metadata, transactional_ddl=True)
with context.begin_transaction():
    connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
    context.run_migrations()

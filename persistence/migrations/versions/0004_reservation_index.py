"""Entries that change a reservation and no stock are found by their reservation.

They are few: extensions, confirmations, decisions over several partitions, notes. Other entries have no place
in the index. Nobody can write while it is made, which reads the ledger once.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_INDEX = """\
CREATE INDEX ledger_reservation_idx ON ledger (partition, reservation, seq)
    WHERE sku IS NULL AND reservation IS NOT NULL
"""


def upgrade() -> None:
    """Add the index."""
    op.execute(_INDEX)

"""The ledger takes `request_noted`: the key of a request that is carried out under other keys.

What the ledger holds already is within the new CHECK, which allows more than the old one. So Postgres is told
not to look at each row again: nobody could write meanwhile.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_KINDS = """\
ALTER TABLE ledger
    DROP CONSTRAINT ledger_kind_check,
    ADD CONSTRAINT ledger_kind_check CHECK (
        CASE WHEN sku IS NULL THEN
            site IS NULL AND location IS NULL AND lot IS NULL AND quantity = 0
            AND kind IN (
                'partition_claimed', 'reservation_extended', 'reservation_confirmed', 'attempt_decided',
                'attempt_abandoned', 'request_noted'
            )
        ELSE
            site IS NOT NULL AND location IS NOT NULL AND lot IS NOT NULL
            AND (
                quantity > 0 AND kind IN (
                    'stock_received', 'stock_reserved', 'stock_released', 'reservation_expired',
                    'reservation_moved_out', 'reservation_moved_in', 'stock_picked', 'stock_shorted',
                    'stock_moved_out', 'stock_moved_in', 'stock_held', 'stock_unheld', 'lot_expired'
                )
                OR kind IN ('stock_adjusted', 'stock_counted')
            )
        END
    ) NOT VALID
"""


def upgrade() -> None:
    """Replace the CHECK on kinds by one that knows the new kind."""
    op.execute(_KINDS)

"""Each row of the ledger gets a checksum of its other columns.

Rows that are there get one of what they say now: nothing tells any more whether they were changed before. It
takes 0.08 ms a row, once. The checksum is made here as it was when this was written, whatever becomes of the
program's own: CRC-32 of the row as a MessagePack array, as a signed integer.
"""

from zlib import crc32

import msgspec
import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_AT_ONCE = 5_000
_ROWS = """\
SELECT partition, seq, at_ms, kind, key, fingerprint, span, site, sku, location, lot, quantity, on_hand,
       reserved, held, reservation, line, counterpart, expires_at_ms, reference, reason, detail
FROM ledger WHERE (partition, seq) > (:partition, :seq) ORDER BY partition, seq LIMIT :most
"""
_FILL = """\
UPDATE ledger SET checksum = made.checksum
FROM unnest(CAST(:partitions AS int[]), CAST(:seqs AS bigint[]), CAST(:checksums AS int[]))
    AS made (partition, seq, checksum)
WHERE ledger.partition = made.partition AND ledger.seq = made.seq
"""


def upgrade() -> None:
    """Add the column, fill it, and have every row need it."""
    op.execute("ALTER TABLE ledger ADD COLUMN checksum integer")
    connection = op.get_bind()
    place = {"partition": -1, "seq": 0}
    while rows := connection.execute(sa.text(_ROWS), {**place, "most": _AT_ONCE}).all():
        made = {
            "partitions": [row[0] for row in rows],
            "seqs": [row[1] for row in rows],
            "checksums": [_checksum(tuple(row)) for row in rows],
        }
        connection.execute(sa.text(_FILL), made)
        place = {"partition": rows[-1][0], "seq": rows[-1][1]}
    op.execute("ALTER TABLE ledger ALTER COLUMN checksum SET NOT NULL")


def _checksum(row: tuple[object, ...]) -> int:
    return (crc32(msgspec.msgpack.encode(row)) ^ 0x8000_0000) - 0x8000_0000

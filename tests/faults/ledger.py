"""What Postgres says happened: the ledger, read with SQL of our own and added up by ourselves."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any, NamedTuple

import asyncpg

from tests.faults.history import Abandoned, Call

_EFFECTS = {
    "stock_received": (1, 0),
    "stock_reserved": (0, 1),
    "stock_released": (0, -1),
    "reservation_expired": (0, -1),
    "stock_picked": (-1, -1),
    "stock_moved_out": (-1, -1),
    "stock_moved_in": (1, 1),
    "stock_adjusted": (1, 0),
    "stock_counted": (1, 0),
}
"""What a unit adds to on hand and reserved, as docs/operations.md says; reserved only with a reservation."""


class Row(NamedTuple):
    """An entry, as far as it matters here."""

    partition: int
    seq: int
    at_ms: int
    kind: str
    key: str | None
    sku: str | None
    location: str | None
    quantity: int
    on_hand: int
    reserved: int
    reservation: int | None
    reference: str | None
    reason: str | None


@dataclass(slots=True)
class Told:
    """The ledger of one site, and the length of all of it."""

    rows: list[Row]
    keys: Counter[str]
    heads: dict[int, tuple[int, int, int]]
    """Least and greatest sequence number of every partition, and how many entries it has."""

    def gaps(self) -> list[str]:
        """Return the partitions whose sequence numbers are not 1 to their count."""
        return [
            f"partition {partition}: {least} to {greatest}, {count} entries"
            for partition, (least, greatest, count) in self.heads.items()
            if (least, greatest) != (1, count)
        ]

    def lost(self, calls: list[Call]) -> list[str]:
        """Return the acknowledged changes that are not there."""
        return [call.key for call in calls if _is_change(call, "done") and not self.keys[call.key]]

    def invented(self, calls: list[Call]) -> list[str]:
        """Return the changes that happened although their caller was told that nothing did."""
        told = ("nothing", "refused")
        return [call.key for call in calls if _is_change(call, *told) and self.keys[call.key]]

    def twice(self, calls: list[Call]) -> list[str]:
        """Return the changes whose units are there more than once, counted by what callers wrote on them."""
        units: Counter[tuple[str, str]] = Counter()
        abandoned = self._abandoned_shares()
        for row in self.rows:
            is_ours = row.kind in ("stock_reserved", "stock_received") and row.reference is not None
            if is_ours and (row.partition, row.reservation) not in abandoned:
                assert row.reference is not None
                assert row.sku is not None
                units[row.reference, row.sku] += row.quantity
        found = [key for key, count in self.keys.items() if count > 1]
        for call in calls:
            if call.name in ("reserve", "receive") and call.outcome == "done":
                wanted = {(call.key, sku): quantity for sku, _, quantity in call.lines}
                found += [call.key for place, quantity in wanted.items() if units[place] != quantity]
        return found

    def sums(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Return on hand and reserved of each bin, added up from the first entry."""
        sums: dict[tuple[str, str], tuple[int, int]] = defaultdict(lambda: (0, 0))
        for row in sorted(self.rows, key=lambda row: (row.partition, row.seq)):
            if row.sku is None or row.location is None:
                continue
            on_hand, reserved = sums[row.sku, row.location]
            more_on_hand, more_reserved = _EFFECTS[row.kind]
            if row.reservation is not None:
                reserved += more_reserved * row.quantity
            sums[row.sku, row.location] = (on_hand + more_on_hand * row.quantity, reserved)
            assert 0 <= reserved <= on_hand + more_on_hand * row.quantity, f"oversold at {row}"
            assert sums[row.sku, row.location] == (row.on_hand, row.reserved), f"a wrong balance at {row}"
        return dict(sums)

    def seqs(self) -> dict[tuple[str, str], int]:
        """Return where each key changed each SKU; of a reservation, by what is written on it."""
        found: dict[tuple[str, str], int] = {}
        for row in self.rows:
            for name in (row.reference, row.key and row.key.partition(" ")[0]):
                if name is not None and row.sku is not None:
                    found.setdefault((name, row.sku), row.seq)
        return found

    def _abandoned_shares(self) -> set[tuple[int, int | None]]:
        return {(row.partition, row.reservation) for row in self.rows if row.reason == "abandoned"}

    def abandoned(self, wall_to_monotonic_ns: int) -> list[Abandoned]:
        """Return what undecided attempts held for a while."""
        shares = self._abandoned_shares()
        held = [row for row in self.rows if (row.partition, row.reservation) in shares]
        found = []
        for row in held:
            if row.kind != "stock_reserved":
                continue
            gone = next(
                other
                for other in held
                if other.reason == "abandoned"
                and (other.partition, other.reservation, other.sku)
                == (row.partition, row.reservation, row.sku)
            )
            assert row.sku is not None
            assert row.location is not None
            found.append(
                Abandoned(
                    row.sku, row.location, row.quantity, f"{row.partition}:{row.reservation}",
                    row.at_ms * 1_000_000 + wall_to_monotonic_ns, row.seq,
                    gone.at_ms * 1_000_000 + wall_to_monotonic_ns, gone.seq,
                )
            )  # fmt: skip
        return found


def _is_change(call: Call, *outcomes: str) -> bool:
    return not call.name.startswith("read") and call.outcome in outcomes


async def read_ledger(url: str, site: str) -> Told:
    """Read everything that was recorded of a site."""
    connection: Any = await asyncpg.connect(url, timeout=10)
    try:
        rows = await connection.fetch(
            f"SELECT {', '.join(Row._fields)} FROM ledger WHERE site = $1 ORDER BY partition, seq",  # noqa: S608
            site,
        )
        keys = await connection.fetch("SELECT key FROM ledger WHERE starts_with(key, $1 || '-')", site)
        heads = await connection.fetch(
            "SELECT partition, min(seq), max(seq), count(*) FROM ledger GROUP BY partition"
        )
    finally:
        await connection.close()
    return Told(
        [Row(*row) for row in rows],
        Counter(row[0] for row in keys),
        {row[0]: (row[1], row[2], row[3]) for row in heads},
    )


async def read_entries(url: str) -> dict[tuple[int, int], tuple[str, int]]:
    """Return kind and quantity of all entries there are, by place."""
    connection: Any = await asyncpg.connect(url, timeout=10)
    try:
        rows = await connection.fetch("SELECT partition, seq, kind, quantity FROM ledger")
    finally:
        await connection.close()
    return {(row[0], row[1]): (row[2], row[3]) for row in rows}

"""The auditor: checks while the host runs that memory is what the ledger adds up to.

Every second it takes some active stocks in turn. For each it compares every lot's balances in memory with the
lot's last entry in the ledger, and the units reserved with the sum of what open reservations hold there. It
looks only at stocks with nothing on its way to the ledger, and passes over one that changed while it looked.
It takes a twentieth of the time at most, and leaves a host alone that has much to do.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING

import structlog

from persistence.ports import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.host import Host
    from actors.owned import OwnedPartition
    from engine.commands import StockKey
    from engine.state import Stock

_log = structlog.get_logger()

_TICK_S = 1.0
_STOCKS_PER_TICK = 50
_REST = 20
"""A look at a SKU costs the database as much as its history is long: the auditor rests in proportion."""
_BUSY_IN_FLIGHT = 64
"""Requests in flight from which on the auditor waits."""

Place = tuple[str, str]
"""(location, lot)"""
Balance = tuple[int, int, int]
"""(on hand, reserved, held)"""


class Auditor:
    """Compares memory with the ledger, a few stocks at a time."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._round: Iterator[tuple[OwnedPartition, StockKey]] = iter(())
        self._found = 0

    async def run(self) -> None:
        """Audit until cancelled."""
        host = self._host
        spent_s = 0.0
        while True:
            await host.sleep(max(_TICK_S, spent_s * _REST))
            if host.in_flight >= _BUSY_IN_FLIGHT:
                continue
            started_s = perf_counter()
            try:
                await self.audit(_STOCKS_PER_TICK)
            except Unavailable as fault:
                _log.info("audit_waits", fault=str(fault))
            spent_s = perf_counter() - started_s

    async def audit(self, most: int) -> None:
        """Audit up to so many stocks. Raises Unavailable.

        What is found is published at once; it is taken back when a whole round finds less.
        """
        gauges = self._host.gauges
        looked_at = 0
        for owned, key in islice(self._round, most):
            looked_at += 1
            self._found += await self._drift_of(owned, key)
            gauges.drift = max(gauges.drift, self._found)
        if looked_at < most:
            gauges.drift, self._found = self._found, 0
            self._round = self._stocks()

    def _stocks(self) -> Iterator[tuple[OwnedPartition, StockKey]]:
        """Go through what is active, a partition at a time."""
        for owned in list(self._host.owned.values()):
            for key in list(owned.state.stocks):
                yield owned, key

    async def _drift_of(self, owned: OwnedPartition, key: StockKey) -> int:
        """Return by how many units a stock differs; 0 for one that changes just now."""
        seq, stock = owned.committed_seq, owned.state.stocks.get(key)
        if stock is None or _last_seq(stock) > seq:
            return 0
        entries = await self._host.ledger.balances(owned.state.number, key, seq)
        is_same = self._host.owned.get(owned.state.number) is owned and owned.state.stocks.get(key) is stock
        if not is_same or _last_seq(stock) > seq:
            return 0
        recorded = {
            (entry.location, entry.lot): (entry.on_hand, entry.reserved, entry.held)
            for entry in entries
            if entry.location is not None and entry.lot is not None
        }
        self._host.gauges.audits += 1
        return _difference(key, "ledger", _balances(stock), recorded) + _difference(
            key, "reservations", _reserved(stock), _promised(stock)
        )


def _last_seq(stock: Stock) -> int:
    return max((bin_.seq for bin_ in stock.bins.values()), default=0)


def _balances(stock: Stock) -> dict[Place, Balance]:
    return {
        (bin_.location, lot.code): (lot.on_hand, lot.reserved, lot.held)
        for bin_ in stock.bins.values()
        for lot in bin_.lots
    }


def _reserved(stock: Stock) -> dict[Place, Balance]:
    return {place: (0, reserved, 0) for place, (_, reserved, _) in _balances(stock).items()}


def _promised(stock: Stock) -> dict[Place, Balance]:
    """Return what open reservations hold of each lot."""
    promised: Counter[Place] = Counter()
    for reservation in (stock.reservations or {}).values():
        for line in reservation.lines:
            if (line.site, line.sku) == (stock.site, stock.sku):
                for allocation in line.allocations:
                    promised[allocation.location, allocation.lot] += allocation.open
    return {place: (0, units, 0) for place, units in promised.items()}


def _difference(
    key: StockKey, other: str, memory: dict[Place, Balance], expected: dict[Place, Balance]
) -> int:
    """Return how many units two sides differ by; log each place where they do."""
    total = 0
    for place in memory.keys() | expected.keys():
        ours, theirs = memory.get(place, (0, 0, 0)), expected.get(place, (0, 0, 0))
        units = sum(abs(one - another) for one, another in zip(ours, theirs, strict=True))
        if units:
            site, sku = key
            _log.error(
                "drift",
                site=site,
                sku=sku,
                location=place[0],
                lot=place[1],
                memory=ours,
                expected=theirs,
                of=other,
            )
        total += units
    return total

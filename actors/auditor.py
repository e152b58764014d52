"""The auditor: checks while the host runs that memory, the snapshot and the ledger are the same stock.

It goes through the host's partitions one after another. Of each it has the database add up the whole ledger,
by kinds and quantities alone, a stretch at a time, and looks whether each row's balances follow from the sum.
Then it compares each lot: memory with the sum, and the snapshot's row with the sum, also where a stock rests.
A lot that moved on meanwhile is compared with the ledger's row that moved it, which the next round adds up; a
row that a snapshot will write again is left to the next round too. Reserved units are compared with what open
reservations hold, both as they were at one moment, however busy the stock is. What no balance shows, as the
dates of lots and reservations, is held against the entries by which they came. Every entry is held against
its checksum, since much of what it says shows nowhere else.

It works in steps of some milliseconds, rests in proportion to what they took, and longer on a busy host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from actors.comparing import compare_reservations, compare_stock
from actors.drift import Drift
from actors.origins import durable, rows_of, written, wrong_origins
from actors.seen import Seen
from actors.sums import Place, Sums
from persistence.balances import SUMMED_MAX
from persistence.ports import RowsChanged, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from actors.host import Host
    from actors.owned import OwnedPartition
    from engine.commands import StockKey
    from engine.entries import Entry
    from engine.images import LotRow

_log = structlog.get_logger()

_ROUND_S = 1.0
"""Between rounds."""
_STINT_S = 0.02
"""Work after which there is a rest."""
_REST = 20
"""Rests are so many times as long as the work before: a twentieth of the time at most."""
_BUSY_REST = 50
_BUSY_IN_FLIGHT = 64
"""Requests in flight from which on a host is busy."""
_COMPARED_MAX = 1_000
"""Lots and reservations that are looked at in one go: 2 ms. A stock with more of them is copied whole."""
_LOTS_MAX = 50_000
"""Lots whose sums are remembered: 25 MB. A partition that has more is audited in shares of its SKUs."""
_SHARES_MAX = 4_096
_COUNTED_MAX = 5_000
"""Entries that are looked for at once: 2 ms of a database's time."""
_READ_MAX = 250
"""Entries that are held against their checksums at once: 1 ms of the host's time."""
_DURABLE_TRIES = 400
_DURABLE_POLL_S = 0.005
_MEND_AGAIN_S = 60.0
"""A partition is not rebuilt more often than once a minute: its callers wait meanwhile."""


class Auditor:
    """Compares memory and snapshots with the sum of the ledger.

    `pace` is awaited after each step with the seconds that it took. With `mends`, a partition that differs is
    rebuilt from the ledger.
    """

    def __init__(
        self,
        host: Host,
        *,
        pace: Callable[[float], Awaitable[None]] | None = None,
        stretch: int = SUMMED_MAX,
        lots_max: int = _LOTS_MAX,
        mends: bool = False,
    ) -> None:
        self._host = host
        self._mends = mends
        self._drift = Drift()
        self._mended_s: dict[int, float] = {}
        """When each partition was given to be rebuilt last, on the stopwatch."""
        self._pace = pace or self._rest
        self._stretch = stretch
        self._lots_max = lots_max
        self._began_s = 0.0
        self._spent_s = 0.0

    async def run(self) -> None:
        """Audit until cancelled."""
        while True:
            await self._host.sleep(_ROUND_S)
            await self.round()

    async def round(self) -> None:
        """Audit everything once.

        What is found is published at once; it is taken back when a round finds less that compared everything.
        """
        gauges = self._host.gauges
        self._drift = Drift()
        self._began_s = self._host.stopwatch()
        is_whole = bool(self._host.owned)
        for owned in list(self._host.owned.values()):
            self._drift.next_partition()
            try:
                is_whole &= await self._audit(owned)
            except Unavailable as fault:
                _log.info("audit_waits", fault=str(fault))
                is_whole = False
            self._mend(owned)
            await self._stepped()
        if is_whole:
            gauges.drift = self._drift.units
            gauges.audit_rounds += 1
            gauges.audited_at_ms = self._host.clock()

    def _mend(self, owned: OwnedPartition) -> None:
        """Have a partition rebuilt whose memory or snapshot is not what its ledger adds up to."""
        number, now_s = owned.state.number, self._host.stopwatch()
        why = self._drift.to_mend
        if not self._mends or why is None or not self._is_ours(owned):
            return
        last_s = self._mended_s.get(number)
        if last_s is None or now_s - last_s >= _MEND_AGAIN_S:
            self._mended_s[number] = now_s
            self._host.ownership.distrust(number, why)

    async def _stepped(self) -> None:
        """Publish what was found, and give others a turn."""
        self._host.gauges.drift = max(self._host.gauges.drift, self._drift.units)
        await self._pace(self._host.stopwatch() - self._began_s)
        self._began_s = self._host.stopwatch()

    async def _rest(self, spent_s: float) -> None:
        self._spent_s += spent_s
        if self._spent_s >= _STINT_S:
            is_busy = self._host.in_flight >= _BUSY_IN_FLIGHT
            await self._host.sleep(self._spent_s * (_BUSY_REST if is_busy else _REST))
            self._spent_s = 0.0

    def _is_ours(self, owned: OwnedPartition) -> bool:
        """Whether what was seen of a partition still counts: it was neither lost nor rewound."""
        return owned.is_ready and self._host.owned.get(owned.state.number) is owned

    async def _audit(self, owned: OwnedPartition) -> bool:
        """Audit a partition, in shares of its SKUs if it has very many lots. False: not all was compared.

        Raises Unavailable.
        """
        await self._look_at_rows(owned)
        is_whole = True
        todo = [(0, 1)]
        while todo and self._is_ours(owned):
            share, shares = todo.pop()
            sums = Sums(share, shares)
            if await self._add_up(owned, sums, self._lots_max if shares < _SHARES_MAX else None):
                is_whole &= await self._compare(owned, sums)
            else:
                todo += [(share, shares * 2), (share + shares, shares * 2)]
        return is_whole and self._is_ours(owned)

    async def _look_at_rows(self, owned: OwnedPartition) -> None:
        """See that every entry has its row, as written; name the first of which this is not so."""
        ledger, drift = self._host.ledger, self._drift
        questions = (
            (ledger.missing, _COUNTED_MAX, drift.of_missing),
            (ledger.changed, _READ_MAX, drift.of_changed),
        )
        number, until_seq = owned.state.number, owned.committed_seq
        for first_in, most, tell in questions:
            seq, found = 0, None
            while seq < until_seq and found is None and self._is_ours(owned):
                next_seq = min(seq + most, until_seq)
                found = await first_in(number, seq, next_seq)
                await self._stepped()
                seq = next_seq
            if found is not None and self._is_ours(owned):
                tell(number, found)

    async def _add_up(self, owned: OwnedPartition, sums: Sums, lots_max: int | None) -> bool:
        """Add up what of a partition's ledger is durable now; False when it has too many lots."""
        number, until_seq = owned.state.number, owned.committed_seq
        while sums.seq < until_seq and self._is_ours(owned):
            next_seq = min(sums.seq + self._stretch, until_seq)
            sums.add(await self._host.ledger.sums(number, sums.seq, next_seq), next_seq)
            if lots_max is not None and sums.lots > lots_max:
                return False
            await self._stepped()
        return True

    async def _compare(self, owned: OwnedPartition, sums: Sums) -> bool:
        """Compare memory and the snapshot with the sums, some stocks at a time; False: not all of them."""
        stocks = owned.state.stocks
        keys = [*sums.of, *(key for key in stocks if key not in sums.of and sums.has(key[1]))]
        group: list[StockKey] = []
        weight = 0
        is_whole = True
        for key in keys:
            group.append(key)
            stock = stocks.get(key)
            weight += 1 + len(sums.of.get(key, ())) + len((stock and stock.reservations) or ())
            if weight >= _COMPARED_MAX:
                is_whole &= await self._compare_stocks(owned, sums, group)
                await self._stepped()
                group, weight = [], 0
        return is_whole & await self._compare_stocks(owned, sums, group)

    async def _compare_stocks(self, owned: OwnedPartition, sums: Sums, keys: list[StockKey]) -> bool:
        if not keys:
            return True
        if not self._is_ours(owned):
            return False
        host, state = self._host, owned.state
        snapshot_seq, seq = owned.snapshot_seq, state.seq
        seen = {key: Seen(state.stocks[key]) for key in keys if key in state.stocks}
        memory, until_seq = rows_of(state, seen), owned.committed_seq
        for key, stock in seen.items():
            await compare_reservations(self._drift, key, stock, host.sleep)
        rows: dict[StockKey, dict[Place, LotRow]] = {}
        for row in await host.snapshots.lots(keys):
            rows.setdefault((row.site, row.sku), {})[row.location, row.lot] = row
        snapshot = await written(host.snapshots, owned, rows)
        for of, told, as_of in (("memory", memory, until_seq), ("snapshot", snapshot, snapshot_seq)):
            try:
                wrong = await wrong_origins(host.ledger, owned, durable(told, as_of), as_of)
            except RowsChanged as fault:
                self._drift.of_all_changed(fault.places)
                continue
            if self._is_ours(owned):
                self._drift.of_origins(of, wrong)
        last = await self._moved_on(owned, sums, seen, seq)
        if not self._is_ours(owned):
            return False
        compared = 0
        for key in keys:
            stock_seen, stock_rows = seen.get(key), rows.get(key, {})
            compared += compare_stock(self._drift, key, sums, stock_seen, stock_rows, last, snapshot_seq)
        host.gauges.audits += compared
        return compared == len(keys)

    async def _moved_on(
        self, owned: OwnedPartition, sums: Sums, seen: dict[StockKey, Seen], seq: int
    ) -> dict[int, Entry] | None:
        """Return the last entries of lots that have one after those added up.

        None: they are not durable yet, or not as they were written.
        """
        seqs = [
            lot_seq for stock in seen.values() for lot_seq, _ in stock.lots.values() if lot_seq > sums.seq
        ]
        if not seqs:
            return {}
        for _ in range(_DURABLE_TRIES):
            if owned.committed_seq >= seq or not self._is_ours(owned):
                break
            await self._host.sleep(_DURABLE_POLL_S)
        else:
            return None
        try:
            entries = await self._host.ledger.at([(owned.state.number, lot_seq) for lot_seq in seqs])
        except RowsChanged as fault:
            self._drift.of_all_changed(fault.places)
            return None
        return {entry.seq: entry for entry in entries}

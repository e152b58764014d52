"""Loads resting stocks for all partitions together: what several want at once is one question.

With them comes what the ledger's newest entries say of them, so that no wrong snapshot is believed.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine
from functools import partial
from typing import Any, NamedTuple

from actors.joining import Joining, Place
from actors.origins import DEPTH
from engine.commands import StockKey
from engine.images import Rows
from persistence.balances import LotBalance
from persistence.ports import Ledger, Snapshots, Unavailable

_STOCKS_MAX = 2_000
"""Stocks in one question: some ten milliseconds' worth."""


class Loaded(NamedTuple):
    """A partition's answer."""

    rows: Rows
    """Of the stocks that rest, as `Snapshots.load` gives them."""
    last: dict[StockKey, list[LotBalance]]
    """What the ledger says last of each lot of the stocks, as `Ledger.last` gives it."""


class _Wish(NamedTuple):
    partition: int
    asleep: list[StockKey]
    keys: list[StockKey]
    until_seq: int
    future: asyncio.Future[Loaded]


class Loader:
    """Joins the partitions' wishes. While one question is on its way, the next collects."""

    def __init__(
        self, snapshots: Snapshots, ledger: Ledger, spawn: Callable[[Coroutine[Any, Any, None]], None]
    ) -> None:
        self._snapshots = snapshots
        self._ledger = ledger
        self._spawn = spawn
        self._wishes: list[_Wish] = []
        self._is_running = False
        places: Joining[Place] = Joining(ledger.at, _STOCKS_MAX, spawn)
        self.at = places.ask
        """Asks for entries of one partition as `Ledger.at` does."""
        self.last_of = Joining(partial(ledger.last_of, depth=DEPTH), _STOCKS_MAX, spawn).ask
        """Asks what changed reservations of one partition last, as `Ledger.last_of` does."""

    async def load(
        self, partition: int, asleep: Collection[StockKey], keys: Collection[StockKey], until_seq: int
    ) -> Loaded:
        """Return the rows of stocks that are `asleep`, and the last entries of all `keys` up to `until_seq`.

        Raises Unavailable.
        """
        future: asyncio.Future[Loaded] = asyncio.get_running_loop().create_future()
        self._wishes.append(_Wish(partition, sorted(asleep), sorted(keys), until_seq, future))
        if not self._is_running:
            self._is_running = True
            self._spawn(self._run())
        return await future

    async def _run(self) -> None:
        try:
            while self._wishes:
                await self._ask()
        finally:
            self._is_running = False

    async def _ask(self) -> None:
        asked = self._next_wishes()
        asleep = [(wish.partition, key) for wish in asked for key in wish.asleep]
        keys = [(wish.partition, key, wish.until_seq) for wish in asked for key in wish.keys]
        try:
            rows, last = await asyncio.gather(self._rows(asleep), self._ledger.last(keys, DEPTH))
        except Unavailable as fault:
            for wish in asked:
                if not wish.future.done():
                    wish.future.set_exception(Unavailable(str(fault)))
            return
        answers = {wish.partition: Loaded(Rows([], [], []), {}) for wish in asked}
        for lot in rows.lots:
            if lot.partition in answers:  # A row that says otherwise is wrong, and counts as missing.
                answers[lot.partition].rows.lots.append(lot)
        for reservation in rows.reservations:
            answers[reservation.partition].rows.reservations.append(reservation)
        for line in rows.lines:
            answers[line.partition].rows.lines.append(line)
        for balance in last:
            of_stocks = answers[balance.partition].last
            of_stocks.setdefault((balance.site, balance.sku), []).append(balance)
        for wish in asked:
            if not wish.future.done():
                wish.future.set_result(answers[wish.partition])

    def _next_wishes(self) -> list[_Wish]:
        """Take wishes for one question, at most one a partition.

        A second one is of another owner's time: the partition was rewound or claimed again meanwhile.
        """
        asked: dict[int, _Wish] = {}
        later: list[_Wish] = []
        count = 0
        for wish in self._wishes:
            if wish.partition in asked or count >= _STOCKS_MAX:
                later.append(wish)
            else:
                asked[wish.partition] = wish
                count += len(wish.keys)
        self._wishes = later
        return list(asked.values())

    async def _rows(self, asleep: list[tuple[int, StockKey]]) -> Rows:
        return await self._snapshots.load(asleep) if asleep else Rows([], [], [])

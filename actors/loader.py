"""Loads resting stocks for all partitions together: what several want at once is one question."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from engine.commands import StockKey
from engine.images import Rows
from persistence.ports import Snapshots, Unavailable

_STOCKS_MAX = 2_000
"""Stocks in one question: some ten milliseconds' worth."""


class Loader:
    """Joins the partitions' wishes. While one question is on its way, the next collects."""

    def __init__(self, snapshots: Snapshots, spawn: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        self._snapshots = snapshots
        self._spawn = spawn
        self._wanted: list[tuple[int, list[StockKey], asyncio.Future[Rows]]] = []
        self._is_running = False

    async def load(self, partition: int, stocks: Iterable[StockKey]) -> Rows:
        """Return the rows of a partition's stocks, as `Snapshots.load` does. Raises Unavailable."""
        future: asyncio.Future[Rows] = asyncio.get_running_loop().create_future()
        self._wanted.append((partition, sorted(stocks), future))
        if not self._is_running:
            self._is_running = True
            self._spawn(self._run())
        return await future

    async def _run(self) -> None:
        try:
            while self._wanted:
                await self._ask()
        finally:
            self._is_running = False

    async def _ask(self) -> None:
        asked: list[tuple[int, list[StockKey], asyncio.Future[Rows]]] = []
        stocks: list[tuple[int, StockKey]] = []
        while self._wanted and len(stocks) < _STOCKS_MAX:
            partition, keys, future = self._wanted.pop(0)
            asked.append((partition, keys, future))
            stocks += [(partition, key) for key in keys]
        try:
            rows = await self._snapshots.load(stocks)
        except Unavailable as fault:
            for _, _, future in asked:
                if not future.done():
                    future.set_exception(Unavailable(str(fault)))
            return
        split: dict[int, Rows] = {partition: Rows([], [], []) for partition, _, _ in asked}
        for lot in rows.lots:
            split[lot.partition].lots.append(lot)
        for reservation in rows.reservations:
            split[reservation.partition].reservations.append(reservation)
        for line in rows.lines:
            split[line.partition].lines.append(line)
        for partition, _, future in asked:
            if not future.done():
                future.set_result(split[partition])

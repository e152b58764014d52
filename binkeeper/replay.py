"""Replays a sales file through the public HTTP API, many requests in flight, and reconciles what came of it.

Everything happens at a site of its own, named after the file's content and the opening stock, under keys that
follow from the same: a second replay finds every command done and changes nothing; one that was interrupted
goes on.

Invoices begin in the order of the file and run side by side. Where stock can run short, those that want the
same short SKU run one after the other, so that the outcome follows from the file alone.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from binkeeper.client import Client, Stopped, complaint
from binkeeper.reconciliation import Plan, Report
from binkeeper.recorded import OPENING, RETURN, read_back, some_keys
from binkeeper.sales import Invoice, SalesFile, SkippedLine, read_sales

LOCATION = "SHELF"
_INVOICES_AT_ONCE = 24
_RECEIPTS_A_BATCH = 250
_BATCHES_AT_ONCE = 4


class Replay:
    """One replay of one file."""

    def __init__(
        self, client: Client, sales: SalesFile, *, opening_stock: int | None = None, site: str | None = None
    ) -> None:
        self._client = client
        self._plan = Plan(sales, opening_stock)
        told = f"{sales.digest} {'enough' if opening_stock is None else opening_stock} {site or ''}"
        self._name = f"replay-{hashlib.sha256(told.encode()).hexdigest()[:16]}"
        self.report = Report(sales, site or self._name)
        self._is_repeated = False
        self._last: dict[str, asyncio.Task[None]] = {}
        """The last invoice so far that wants each SKU that can run short."""

    async def run(self, progress: Progress) -> Report:
        """Replay and reconcile. Raises Stopped."""
        began_s = time.monotonic()
        plan, report = self._plan, self.report
        keys = await some_keys(self._client, report.site)
        self._is_repeated = any(key.startswith(self._name) for key in keys)
        if keys and not self._is_repeated:
            raise Stopped(f"site {report.site!r} holds other stock: leave --site out, or name an empty one")
        skus = plan.opening.keys() | plan.sales.returned.keys()
        try:
            await self._receive_opening(_counter(progress, "opening stock", len(plan.opening)))
            await self._process(_counter(progress, "invoices", len(plan.sales.invoices)))
            step = _counter(progress, "reading back", len(skus))
            report.recorded = await read_back(self._client, report.site, skus, step)
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        report.differences = plan.differences(report.recorded)
        report.took_s = time.monotonic() - began_s
        return report

    async def _receive_opening(self, step: Callable[[], None]) -> None:
        receipts = [
            self._receipt(sku, units, OPENING, f"open-{index}")
            for index, (sku, units) in enumerate(self._plan.opening.items())
            if units
        ]
        turns = asyncio.Semaphore(_BATCHES_AT_ONCE)

        async def receive(first: int) -> None:
            async with turns:
                share = receipts[first : first + _RECEIPTS_A_BATCH]
                for result in await self._client.batch(share):
                    self._count(is_replayed="replayed" in result)
                    if result["status"] >= httpx.codes.BAD_REQUEST:
                        raise Stopped(f"opening stock was refused: {result.get('detail')}")
                    step()

        async with asyncio.TaskGroup() as group:
            for first in range(0, len(receipts), _RECEIPTS_A_BATCH):
                group.create_task(receive(first))

    async def _process(self, step: Callable[[], None]) -> None:
        turns = asyncio.Semaphore(_INVOICES_AT_ONCE)

        async def process(index: int, invoice: Invoice, before: set[asyncio.Task[None]]) -> None:
            try:
                await asyncio.gather(*before)
                await (self._take_back if invoice.is_return else self._sell)(index, invoice)
                step()
            finally:
                turns.release()

        async with asyncio.TaskGroup() as group:
            for index, invoice in enumerate(self._plan.sales.invoices):
                # Turns are taken in the order of the file: whoever waits for another waits for one that runs.
                await turns.acquire()
                scarce = {line.sku for line in invoice.lines} & self._plan.scarce
                before = {self._last[sku] for sku in scarce if sku in self._last}
                self._last |= dict.fromkeys(scarce, group.create_task(process(index, invoice, before)))

    async def _sell(self, index: int, invoice: Invoice) -> None:
        if self._is_repeated and index in self._plan.refused:
            self._refuse(
                invoice, "refused before"
            )  # Asked again, it might be served by what came back since.
            return
        site = self.report.site
        lines = [{"site": site, "sku": line.sku, "quantity": line.quantity} for line in invoice.lines]
        body = {"lines": lines, "reference": invoice.number}
        reserved = await self._client.post("/v1/reservations", body, self._key("reserve", index))
        if reserved.is_error:
            self._refuse(invoice, complaint(reserved))
            return
        self._count(is_replayed=_is_replayed(reserved))
        path = f"/v1/reservations/{reserved.json()['id']}/pick"
        picked = await self._client.post(path, {}, self._key("pick", index))
        if picked.is_error:
            raise Stopped(f"invoice {invoice.number}, reserved, was not picked: {complaint(picked)}")
        self._count(is_replayed=_is_replayed(picked))

    async def _take_back(self, index: int, invoice: Invoice) -> None:
        operations = [
            self._receipt(line.sku, line.quantity, RETURN, f"return-{index}-{position}", invoice.number)
            for position, line in enumerate(invoice.lines)
        ]
        for first in range(0, len(operations), _RECEIPTS_A_BATCH):
            share = operations[first : first + _RECEIPTS_A_BATCH]
            results = await self._client.batch(share)
            for line, result in zip(invoice.lines[first:], results, strict=False):
                if result["status"] >= httpx.codes.BAD_REQUEST:
                    self.report.refusals.append(SkippedLine(line.number, str(result.get("detail"))))
                else:
                    self._count(is_replayed="replayed" in result)

    def _receipt(
        self, sku: str, units: int, reason: str, step: str, reference: str | None = None
    ) -> dict[str, Any]:
        told = {} if reference is None else {"reference": reference}
        return {
            "op": "receive", "key": f"{self._name}-{step}", "site": self.report.site, "sku": sku,
            "location": LOCATION, "quantity": units, "reason": reason, **told,
        }  # fmt: skip

    def _key(self, step: str, index: int) -> str:
        return f"{self._name}-{step}-{index}"

    def _count(self, *, is_replayed: bool) -> None:
        if is_replayed:
            self.report.replayed += 1
        else:
            self.report.changed += 1

    def _refuse(self, invoice: Invoice, why: str) -> None:
        self.report.refusals += [
            SkippedLine(line.number, f"invoice {invoice.number}: {why}") for line in invoice.lines
        ]


def replay(
    file: Path, url: str, token: str, *, opening_stock: int | None, site: str | None, console: Console
) -> Report:
    """Replay `file` against the server at `url`; progress goes to `console`.

    Raises SalesFileError (nothing was sent) or Stopped (what was done is not done again when it is repeated).
    """
    sales = read_sales(file)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())

    async def run() -> Report:
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            async with Client(url, token) as client:
                return await Replay(client, sales, opening_stock=opening_stock, site=site).run(progress)

    return asyncio.run(run())


def _is_replayed(answer: httpx.Response) -> bool:
    return bool(answer.headers.get("Idempotent-Replayed") == "true")


def _counter(progress: Progress, what: str, total: int) -> Callable[[], None]:
    task = progress.add_task(what, total=total)
    return lambda: progress.advance(task)

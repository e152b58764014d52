"""The replay against the whole API with memory storage, and a server that fails as servers do."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console
from rich.progress import Progress

from binkeeper.client import Client, Stopped, running_server
from binkeeper.errors import StartError
from binkeeper.reconciliation import Report, show
from binkeeper.replay import Replay
from binkeeper.sales import SalesFile, read_sales
from binkeeper.settings import Settings
from tests.component.api.world import TOKEN, World

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
URL = "http://binkeeper"
Sale = tuple[str, str, int]
Handler = Callable[[httpx.Request], Awaitable[httpx.Response]]


class Flaky(httpx.AsyncBaseTransport):
    """A server that answers in vain, refuses or goes away before and after it has done what it was asked."""

    def __init__(self, inner: httpx.AsyncBaseTransport, seed: int, share: float) -> None:
        self._inner = inner
        self._chance = random.Random(seed)
        self._share = share
        self.requests = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        trouble = self._chance.random() < self._share
        if trouble and self._chance.random() < 0.5:
            return httpx.Response(self._chance.choice((429, 503, 504)), headers={"Retry-After": "0"})
        answer = await self._inner.handle_async_request(request)
        if trouble:
            raise httpx.ReadError("connection reset")
        return answer


def sales_file(folder: Path, *sales: Sale) -> SalesFile:
    lines = [f"{invoice},{sku},x,{quantity},01/12/2010 08:26,1,,X" for invoice, sku, quantity in sales]
    file = folder / "sales.csv"
    file.write_text("\n".join([HEADER, *lines]), encoding="utf-8")
    return read_sales(file)


def some_sales(folder: Path, seed: int = 1, invoices: int = 40) -> SalesFile:
    chance = random.Random(seed)
    sales = []
    for number in range(invoices):
        is_return = number % 7 == 6
        for _ in range(chance.randint(1, 6)):
            quantity = chance.randint(1, 9)
            sku = f"S{chance.randrange(12)} é/"
            sales.append((f"{'C' if is_return else ''}{number}", sku, -quantity if is_return else quantity))
    return sales_file(folder, *sales)


async def replayed(
    world: World, sales: SalesFile, *, transport: httpx.AsyncBaseTransport | None = None, **options: Any
) -> Report:
    transport = transport or httpx.ASGITransport(world.app)
    async with Client(URL, TOKEN, transport=transport, patience_s=5.0) as client:
        with Progress(disable=True) as progress:
            return await Replay(client, sales, **options).run(progress)


async def test_a_file_is_replayed_to_the_unit(tmp_path: Path) -> None:
    sales = some_sales(tmp_path)
    report = await replayed(World(), sales)
    figures = report.figures
    assert figures["units_received"] == figures["units_sold"] == sum(sales.sold.values())
    assert figures["units_on_hand"] == figures["units_returned"] == sum(sales.returned.values())
    assert (figures["refused_lines"], figures["oversold"], report.differences) == (0, 0, [])
    assert report.is_reconciled
    assert not report.is_repetition


async def test_a_second_time_changes_nothing_and_says_so(tmp_path: Path) -> None:
    world, sales = World(), some_sales(tmp_path)
    first = await replayed(world, sales)
    entries = len(world.gateway.first)
    second = await replayed(world, sales)
    assert second.figures == first.figures
    assert (second.changed, second.replayed) == (0, first.changed)
    assert len(world.gateway.first) == entries  # The ledger is as long as it was.
    console = Console(record=True, width=120, file=(tmp_path / "shown").open("w"))
    show(second, console)
    assert "nothing changed: this file was replayed before" in console.export_text()


@pytest.mark.parametrize("opening_stock", [0, 5, 20, 45])
async def test_what_cannot_be_served_is_refused_whole_and_the_same_each_time(
    tmp_path: Path, opening_stock: int
) -> None:
    world, sales = World(), some_sales(tmp_path, seed=opening_stock)
    first = await replayed(world, sales, opening_stock=opening_stock)
    assert first.refusals
    assert first.is_reconciled
    assert first.figures["units_received"] == opening_stock * len(sales.sold)
    second = await replayed(world, sales, opening_stock=opening_stock)
    assert second.figures == first.figures
    assert second.changed == 0
    assert second.is_reconciled


async def test_units_that_come_back_are_sold_again_but_not_to_who_was_refused_before(tmp_path: Path) -> None:
    sales = sales_file(tmp_path, ("1", "A", 3), ("2", "A", 2), ("C3", "A", -2), ("4", "A", 1))
    world = World()
    for _ in range(2):
        report = await replayed(world, sales, opening_stock=4)
        assert [(line.number, line.reason[:9]) for line in report.refusals] == [(3, "invoice 2")]
        assert (report.figures["units_sold"], report.figures["units_on_hand"]) == (4, 2)


async def test_a_return_of_what_was_never_sold_is_received(tmp_path: Path) -> None:
    report = await replayed(World(), sales_file(tmp_path, ("C1", "A", -3), ("2", "B", 1)))
    assert report.figures["skus"] == 2
    assert (report.figures["units_returned"], report.figures["units_on_hand"]) == (3, 3)


async def test_the_same_sku_twice_on_an_invoice_is_sold_twice(tmp_path: Path) -> None:
    report = await replayed(World(), sales_file(tmp_path, ("1", "A", 3), ("1", "A", 4)))
    assert report.figures["units_sold"] == 7
    assert report.is_reconciled


@pytest.mark.parametrize("seed", range(3))
async def test_a_server_that_fails_often_changes_no_figure(tmp_path: Path, seed: int) -> None:
    world, sales = World(), some_sales(tmp_path, invoices=15)
    flaky = Flaky(httpx.ASGITransport(world.app), seed, share=0.15)
    report = await replayed(world, sales, transport=flaky, opening_stock=20)
    assert report.is_reconciled
    assert report.figures == (await replayed(World(), sales, opening_stock=20)).figures


async def test_one_that_was_interrupted_goes_on_when_it_is_repeated(tmp_path: Path) -> None:
    world, sales = World(), some_sales(tmp_path)
    served = 0
    inner = httpx.ASGITransport(world.app)

    class Stopping(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            nonlocal served
            served += 1
            if served > 30:
                return httpx.Response(401, json={"code": "token_invalid", "detail": "gone"})
            # The server goes on when the caller has gone.
            return await asyncio.shield(asyncio.ensure_future(inner.handle_async_request(request)))

    with pytest.raises(Stopped, match="refused the token: 401 token_invalid"):
        await replayed(world, sales, transport=Stopping(), opening_stock=30)
    report = await replayed(world, sales, opening_stock=30)
    assert report.changed
    assert report.replayed
    assert report.is_reconciled
    assert report.figures == (await replayed(World(), sales, opening_stock=30)).figures


async def test_another_opening_stock_is_another_replay_at_another_site(tmp_path: Path) -> None:
    world, sales = World(), some_sales(tmp_path)
    enough = await replayed(world, sales)
    plenty = await replayed(world, sales, opening_stock=1_000)
    assert enough.site != plenty.site
    assert plenty.figures["units_received"] == 1_000 * len(sales.sold)
    assert plenty.is_reconciled


async def test_a_site_that_holds_other_stock_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    world = World()
    body = {"site": "LON", "sku": "A", "location": "1", "quantity": 5}
    assert (await world.ask("POST", "/v1/stock/receive", body)).status == 201
    with pytest.raises(Stopped, match="site 'LON' holds other stock"):
        await replayed(world, sales_file(tmp_path, ("1", "B", 1)), site="LON")
    assert len(world.gateway.first) == 1
    assert (await replayed(world, sales_file(tmp_path, ("1", "B", 1)), site="PAR")).is_reconciled


async def test_stock_that_somebody_else_moves_at_the_site_is_a_difference(tmp_path: Path) -> None:
    world, sales = World(), sales_file(tmp_path, ("1", "A", 1), ("C2", "A", -2))
    site = (await replayed(world, sales)).site
    body = {"site": site, "sku": "A", "location": "SHELF", "delta": -1, "reason": "broken"}
    assert (await world.ask("POST", "/v1/stock/adjust", body)).status == 200
    report = await replayed(world, sales)
    assert report.differences == ["A: other -1 instead of 0, on hand 1 instead of 2"]
    assert not report.is_reconciled


async def test_what_has_no_lasting_result_is_sent_again_as_a_batch_of_its_own() -> None:
    world = World()
    inner = httpx.ASGITransport(world.app)
    receipts = [
        {"op": "receive", "key": f"r{number}", "site": "s", "sku": "tea", "location": "A", "quantity": number}
        for number in (1, 2, 3)
    ]

    class Busy(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            answer = await inner.handle_async_request(request)
            results = json.loads(await answer.aread())["results"]
            if len(results) == 3:
                results[1] = {"status": 504, "detail": "it may have happened"}
            return httpx.Response(200, json={"results": results})

    async with Client(URL, TOKEN, transport=Busy()) as client:
        results = await client.batch(receipts)
    assert [result["status"] for result in results] == [201, 201, 201]
    assert [result.get("replayed") for result in results] == [None, True, None]
    assert world.balance() == [(6, 0, 0)]


async def test_a_server_that_is_away_is_told_with_how_long_it_was_waited_for() -> None:
    async def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused", request=request)

    async with Client(URL, TOKEN, transport=httpx.MockTransport(refuse), patience_s=0.2) as client:
        with pytest.raises(
            Stopped, match=r"http://binkeeper does not answer \(connection refused\), for 0 s"
        ):
            await client.get("/v1/stock")


def test_without_a_server_it_is_told_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="start it by `binkeeper up`, or give --url and --token"):
        running_server(Settings.read(home=tmp_path))
    assert running_server(Settings.read(home=tmp_path), "http://a", "b") == ("http://a", "b")

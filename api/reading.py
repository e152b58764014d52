"""Endpoints that read stock and reservations."""

import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

from actors.outcomes import Outcome
from actors.ports import Gateway, Reservations
from actors.queries import ExplainStock, Query, ReadBin, ReadStock
from api.exchange import Answer, Edge, Endpoint, Exchange
from api.history import History
from api.listing import Listing
from api.past import Past
from api.paths import checked_code
from api.problems import Headers, parameter_problem, problem_of_refusal
from engine.limits import QUANTITY_MAX
from engine.partitioning import partition_of
from engine.refusals import Refusal, Refused, refused

PAGE_DEFAULT = 100
PAGE_MAX = 1_000
_FILTERS: tuple[str, ...] = ("site", "sku", "location")


class ReadEndpoint(Endpoint):
    """A read: what is asked for comes from the path and the query."""

    def __init__(self, edge: Edge, name: str, read: Callable[[Exchange], Awaitable[Answer]]) -> None:
        super().__init__(edge, name)
        self._read = read

    async def answer(self, exchange: Exchange) -> Answer:
        """Return what was asked for."""
        return await self._read(exchange)


class Reads:
    """How each read is answered."""

    def __init__(
        self, gateway: Gateway, reservations: Reservations, past: Past, history: History, listing: Listing
    ) -> None:
        self._gateway = gateway
        self._reservations = reservations
        self._past = past
        self._history = history
        self._listing = listing

    async def reservation(self, exchange: Exchange) -> Answer:
        """Return a reservation."""
        exchange.query()
        return Answer(200, _seen(await self._reservations.find(exchange.path_text("id"))))

    async def stock(self, exchange: Exchange) -> Answer:
        """Return all bins of a SKU, now or as they were."""
        site, sku = _codes(exchange, "site", "sku")
        as_of = exchange.query("as_of").get("as_of")
        if as_of is None:
            return Answer(200, _seen(await self._ask(site, sku, ReadStock(site, sku))))
        return Answer(200, await self._as_it_was(site, sku, as_of))

    async def bin(self, exchange: Exchange) -> Answer:
        """Return one bin, now or as it was."""
        site, sku, location = _codes(exchange, "site", "sku", "location")
        as_of = exchange.query("as_of").get("as_of")
        if as_of is None:
            return Answer(200, _seen(await self._ask(site, sku, ReadBin(site, sku, location))))
        stock = await self._as_it_was(site, sku, as_of)
        for view in stock["bins"]:
            if view["location"] == location:
                return Answer(200, {**view, "as_of": stock["as_of"]})
        raise problem_of_refusal(refused(Refusal.BIN_NOT_FOUND, site=site, sku=sku, location=location))

    async def explain(self, exchange: Exchange) -> Answer:
        """Return why the available quantity of a SKU is what it is."""
        exchange.query()
        site, sku = _codes(exchange, "site", "sku")
        return Answer(200, _seen(await self._ask(site, sku, ExplainStock(site, sku))))

    async def history(self, exchange: Exchange) -> Answer:
        """Return a page of a SKU's entries."""
        site, sku = _codes(exchange, "site", "sku")
        query = exchange.query("after", "limit")
        after_seq = _whole(query, "after", 0, 0, QUANTITY_MAX)
        limit = _whole(query, "limit", PAGE_DEFAULT, 1, PAGE_MAX)
        page = await self._history.page(self._partition(site, sku), (site, sku), after_seq, limit)
        if not page["items"]:
            # A page after the last entry is empty; a SKU that nothing was recorded of is not there.
            known = after_seq and await self._history.page(self._partition(site, sku), (site, sku), 0, 1)
            if not known or not known["items"]:
                raise problem_of_refusal(refused(Refusal.STOCK_NOT_FOUND, site=site, sku=sku))
        headers = _next(exchange, {"after": page["next_cursor"], "limit": limit}, page["next_cursor"])
        return Answer(200, page, headers=headers)

    async def bins(self, exchange: Exchange) -> Answer:
        """Return a page of bins."""
        query = exchange.query(*_FILTERS, "limit", "cursor")
        named = {name: checked_code(query[name], name) for name in _FILTERS if name in query}
        limit = _whole(query, "limit", PAGE_DEFAULT, 1, PAGE_MAX)
        cursor = query.get("cursor")
        await self._gateway.flush()
        page = await self._listing.page(
            site=named.get("site"),
            sku=named.get("sku"),
            location=named.get("location"),
            cursor=cursor,
            limit=limit,
        )
        headers = _next(
            exchange, {**named, "limit": limit, "cursor": page["next_cursor"]}, page["next_cursor"]
        )
        return Answer(200, page, headers=headers)

    async def _as_it_was(self, site: str, sku: str, as_of: str) -> dict[str, Any]:
        stock = await self._past.stock(
            self._partition(site, sku), site, sku, as_of, time.time_ns() // 1_000_000
        )
        if isinstance(stock, Refused):
            raise problem_of_refusal(stock)
        return stock

    def _ask(self, site: str, sku: str, query: Query) -> Awaitable[Outcome]:
        return self._gateway.query(self._partition(site, sku), query)

    def _partition(self, site: str, sku: str) -> int:
        return partition_of(site, sku, self._gateway.partitions)


def _seen(outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, Refused):
        raise problem_of_refusal(outcome)
    return outcome.view


def _codes(exchange: Exchange, *names: str) -> list[str]:
    return [checked_code(exchange.path_text(name), name) for name in names]


def _whole(query: dict[str, str], name: str, default: int, least: int, most: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 16 and least <= int(text) <= most):
        raise parameter_problem(name, f"Expected a whole number from {least} to {most}.")
    return int(text)


def _next(exchange: Exchange, parameters: dict[str, Any], cursor: object) -> Headers:
    """Return the header that links to the next page, if there is one."""
    if cursor is None:
        return ()
    return ((b"link", f'<{exchange.instance}?{urlencode(parameters)}>; rel="next"'.encode("latin-1")),)

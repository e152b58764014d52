"""What the engine has recorded at a site, read back from its ledger and its bins.

Units are summed from each SKU's history; units on hand come from the bins. Nothing is a replay's own count.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx

from binkeeper.client import Client, Stopped, complaint

OPENING = "opening stock"
RETURN = "return"
_READS_AT_ONCE = 16
_PAGE = 1_000
_SETTLING_S_MAX = 20.0
"""Twice as long as a server leaves an attempt undecided."""
_SETTLING_POLL_S = 0.5


@dataclass(slots=True)
class Recorded:
    """Units of one SKU at the site."""

    received: int = 0
    returned: int = 0
    sold: int = 0
    other: int = 0
    """Units on hand that something else than a replay added or took away."""
    on_hand: int = 0
    reserved: int = 0
    oversold: int = 0
    keys: set[str] = field(default_factory=set)


async def read_back(
    client: Client, site: str, skus: Iterable[str], step: Callable[[], None]
) -> dict[str, Recorded]:
    """Return what is recorded of the site's SKUs and of `skus`; `step` follows each. Raises Stopped."""
    recorded: dict[str, Recorded] = {sku: Recorded() for sku in skus}
    for bin_ in await _settled_bins(client, site):
        one = recorded.setdefault(bin_["sku"], Recorded())
        one.on_hand += bin_["on_hand"]
        one.reserved += bin_["reserved"]
        one.oversold += max(0, -bin_["on_hand"]) + max(
            0, bin_["reserved"] + bin_["held"] - max(0, bin_["on_hand"])
        )
    turns = asyncio.Semaphore(_READS_AT_ONCE)

    async def read(sku: str, one: Recorded) -> None:
        async with turns:
            await _read_history(client, site, sku, one)
        one.oversold += max(0, one.sold - one.received - one.returned - one.other)
        step()

    async with asyncio.TaskGroup() as group:
        for sku, one in recorded.items():
            group.create_task(read(sku, one))
    return recorded


async def some_keys(client: Client, site: str) -> set[str]:
    """Return the keys of the commands that one of the site's SKUs has seen; none when the site is empty."""
    answer = await client.get("/v1/stock", site=site, limit=1)
    if answer.is_error:
        raise Stopped(f"site {site!r} cannot be used: {complaint(answer)}")
    one = Recorded()
    for bin_ in answer.json()["items"]:
        await _read_history(client, site, bin_["sku"], one)
    return one.keys


async def _settled_bins(client: Client, site: str) -> list[dict[str, Any]]:
    """Return the bins, once no attempt that a crash left undecided holds units any more."""
    give_up_s = time.monotonic() + _SETTLING_S_MAX
    while True:
        bins = [bin_ async for bin_ in _bins(client, site)]
        if not any(bin_["reserved"] for bin_ in bins) or time.monotonic() > give_up_s:
            return bins
        await asyncio.sleep(_SETTLING_POLL_S)


async def _bins(client: Client, site: str) -> Any:  # noqa: ANN401 - an asynchronous iterator of plain bins
    cursor: dict[str, str] = {}
    while True:
        answer = await client.get("/v1/stock", site=site, limit=_PAGE, **cursor)
        if answer.is_error:
            raise Stopped(f"the bins cannot be read: {complaint(answer)}")
        page = answer.json()
        for bin_ in page["items"]:
            yield bin_
        if page["next_cursor"] is None:
            return
        cursor = {"cursor": page["next_cursor"]}


async def _read_history(client: Client, site: str, sku: str, one: Recorded) -> None:
    after = 0
    while True:
        path = f"/v1/history/{quote(site, safe='')}/{quote(sku, safe='')}"
        answer = await client.get(path, after=after, limit=_PAGE)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return  # Nothing was ever recorded of it.
        if answer.is_error:
            raise Stopped(f"the history of {sku!r} cannot be read: {complaint(answer)}")
        page = answer.json()
        for entry in page["items"]:
            _add(one, entry)
        if page["next_cursor"] is None:
            return
        after = page["next_cursor"]


def _add(one: Recorded, entry: dict[str, Any]) -> None:
    units = entry["quantity"]
    match entry["kind"]:
        case "stock_received" if entry["reason"] == OPENING:
            one.received += units
        case "stock_received" if entry["reason"] == RETURN:
            one.returned += units
        case "stock_received" | "stock_adjusted" | "stock_counted":
            one.other += units
        case "stock_picked" if entry["reservation"] is not None:
            one.sold += units
        case "stock_picked":
            one.other -= units
    if entry["key"] is not None:
        one.keys.add(entry["key"])

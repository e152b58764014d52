"""Callers that keep asking until they know, and remember every answer: what a crash must not change.

Each request carries a key and is sent again under it until its outcome is known. So at the end everything is
known, and the stock must be exactly the sum of what was acknowledged: less is lost, more is done twice.
"""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import httpx

from tests.end_to_end.running import Running, receive, stock_of
from tests.waiting import InVain, until

SKUS = 16
CALLERS = 12
OPENING = 100_000
UNKNOWN = frozenset({429, 502, 503, 504})
PATIENCE_S = 60.0
SILENCE_S_MAX = 3.0
"""Seconds without any answer, on a busy machine, while something is away that stock does not need."""
TENTATIVE_S_MAX = 20.0
"""Twice the time after which an undecided attempt is abandoned."""


@dataclass
class Expected:
    """What the acknowledged operations come to."""

    on_hand: Counter[str] = field(default_factory=Counter)
    reserved: Counter[str] = field(default_factory=Counter)
    states: dict[str, str] = field(default_factory=dict)
    """State of each reservation by its id."""


def longest_silence_s(answered: Iterable[tuple[float, float]], after_s: float) -> float:
    """Return the longest time without any answer from an instant until now: a stall that lasts counts too."""
    known = sorted(known_s for _, known_s in answered if known_s >= after_s)
    return max(later - earlier for earlier, later in pairwise([after_s, *known, time.monotonic()]))


class Workload:
    """Seeded callers on one site."""

    def __init__(self, binkeeper: Running, site: str, seed: int) -> None:
        self.binkeeper = binkeeper
        self.site = site
        self.expected = Expected()
        self.answered: list[tuple[float, float]] = []
        """When each request was first sent and when its outcome was known."""
        self.repeats = 0
        self._chance = random.Random(seed)
        self._keys = 0
        self._is_over = False

    async def run(self, crash: "asyncio.Future[None]") -> None:
        """Work until `crash` is done, then let everything that was begun come to its end."""
        async with self.binkeeper.http() as http:
            for number in range(SKUS):
                await receive(http, self.site, f"S{number}", OPENING)
                self.expected.on_hand[f"S{number}"] = OPENING
            callers = [asyncio.create_task(self._call(http)) for _ in range(CALLERS)]
            try:
                await crash
            finally:
                self._is_over = True
                await asyncio.gather(*callers)

    async def _call(self, http: httpx.AsyncClient) -> None:
        while not self._is_over:
            chance = self._chance
            if chance.random() < 0.2:
                await self._receive(http)
                continue
            count = chance.choice((1, 1, 1, 3))
            lines = {f"S{n}": chance.randint(1, 3) for n in chance.sample(range(SKUS), count)}
            reservation = await self._reserve(http, lines)
            end = chance.choice(("pick", "release", "keep"))
            if end != "keep":
                await self._resolve(http, reservation, lines, end)

    async def _receive(self, http: httpx.AsyncClient) -> None:
        sku, quantity = f"S{self._chance.randrange(SKUS)}", self._chance.randint(1, 5)
        body = {"site": self.site, "sku": sku, "location": "A-01", "quantity": quantity}
        await self._ask(http, "/stock/receive", body)
        self.expected.on_hand[sku] += quantity

    async def _reserve(self, http: httpx.AsyncClient, lines: dict[str, int]) -> str:
        wanted = [{"site": self.site, "sku": sku, "quantity": quantity} for sku, quantity in lines.items()]
        reservation = (await self._ask(http, "/reservations", {"lines": wanted}))["id"]
        assert isinstance(reservation, str)
        self.expected.reserved.update(lines)
        self.expected.states[reservation] = "held"
        return reservation

    async def _resolve(
        self, http: httpx.AsyncClient, reservation: str, lines: dict[str, int], end: str
    ) -> None:
        told = await self._ask(http, f"/reservations/{reservation}/{end}", {})
        self.expected.reserved.subtract(lines)
        if end == "pick":
            self.expected.on_hand.subtract(lines)
        self.expected.states[reservation] = "picked" if end == "pick" else "released"
        assert told["state"] == self.expected.states[reservation], told

    async def _ask(self, http: httpx.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Send a request under one key until its outcome is known; it must be a success."""
        self._keys += 1
        headers = {"Idempotency-Key": f"{self.site}-{self._keys}"}
        began_s = time.monotonic()

        async def known() -> httpx.Response | None:
            with contextlib.suppress(httpx.TransportError):
                answer = await http.post(path, json=body, headers=headers)
                if answer.status_code not in UNKNOWN:
                    return answer
            self.repeats += 1
            return None

        answer = await until(known, f"{path} has an outcome", PATIENCE_S)
        assert answer.is_success, answer.text
        self.answered.append((began_s, time.monotonic()))
        told = answer.json()
        assert isinstance(told, dict)
        return told

    def first_answer_s(self, after_s: float) -> float:
        """Return when the first request that was sent after an instant was answered."""
        return min(known_s for began_s, known_s in self.answered if began_s >= after_s)

    def longest_silence_s(self, after_s: float) -> float:
        """Return the longest time without any answer from an instant until now."""
        return longest_silence_s(self.answered, after_s)

    async def verify(self) -> None:
        """Nothing acknowledged is missing, nothing happened twice.

        What a killed API held tentatively for an attempt that it did not finish goes back after its deadline.
        """
        async with self.binkeeper.http() as http:

            async def differing() -> list[dict[str, Any]]:
                stocks = [await stock_of(http, self.site, f"S{number}") for number in range(SKUS)]
                return [
                    stock
                    for stock in stocks
                    if stock["on_hand"] != self.expected.on_hand[stock["sku"]]
                    or stock["reserved"] != self.expected.reserved[stock["sku"]]
                ]

            async def all_agrees() -> bool:
                return not await differing()

            try:
                await until(all_agrees, "stock is what was acknowledged", TENTATIVE_S_MAX)
            except InVain:
                raise AssertionError(await differing()) from None
            for reservation, state in self.expected.states.items():
                told = (await http.get(f"/reservations/{reservation}")).json()
                assert told["state"] == state, (reservation, told)

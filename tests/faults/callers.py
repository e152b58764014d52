"""Seeded callers that keep asking until they know, and a record of everything that they were told.

Each request carries a key and is sent again under it until its outcome is known. Now and then a caller gives
up instead: then what it was told last (nothing happened, or unknown) must be true.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.faults.channels import Channel, Reply
from tests.faults.history import Call, Try

PATIENCE_S = 90.0
LOCATIONS = ("A-01", "B-02")
_RETRY_S = 0.05
_GIVES_UP = 0.3
_REPEATS = 0.1
"""How often what is done is asked for again, as by a caller that did not see its answer."""
_SHARED_MAX = 64
_NAMES = (
    "reserve", "reserve_several", "end", "receive", "take", "move", "adjust", "count", "read_bin",
    "read_stock", "read_reservation",
)  # fmt: skip
_WEIGHTS = (24, 6, 28, 8, 4, 5, 4, 2, 12, 4, 5)
_READS = (0, 0, 0, 0, 0, 0, 0, 0, 6, 3, 1)


@dataclass(slots=True)
class Held:
    """A reservation that a caller has made and may pick."""

    id: str
    lines: tuple[tuple[str, str, int], ...]
    open: int
    """Units."""


@dataclass(slots=True)
class Callers:
    """All callers of one site."""

    site: str
    seed: int
    skus: Sequence[str]
    calls: list[Call] = field(default_factory=list)
    is_over: bool = False
    pause_s: float = 0.0
    """Seconds each caller waits between two calls."""
    _keys: int = 0
    _recent: list[Held] = field(default_factory=list)

    async def open(self, channel: Channel) -> None:
        """Put the opening stock into every bin: plenty of the odd SKUs, little of the even ones."""
        chance = random.Random(self.seed)
        for number, sku in enumerate(self.skus):
            for location in LOCATIONS:
                units = 1_000 if number % 2 else 25
                await self.ask(chance, channel, "receive", ((sku, location, units),))

    async def close(self, channel: Channel) -> None:
        """Read everything once more."""
        chance = random.Random(self.seed)
        for sku in self.skus:
            await self.ask(chance, channel, "read_stock", ((sku, "", 0),))

    async def run(self, number: int, channel: Channel, *, is_reader: bool = False) -> None:
        """Be one caller until it is over. A reader goes on looking while changes wait."""
        chance = random.Random(f"{self.seed}-{number}")
        mine: list[Held] = []
        while not self.is_over:
            name = chance.choices(_NAMES, _READS if is_reader else _WEIGHTS)[0]
            await self._turn(chance, channel, mine, name)
            await asyncio.sleep(self.pause_s)

    async def _turn(self, chance: random.Random, channel: Channel, mine: list[Held], name: str) -> None:
        sku, location = chance.choice(self.skus), chance.choice(LOCATIONS)
        units = chance.randint(1, 5)
        match name:
            case "reserve" | "reserve_several":
                if len(mine) > 6:
                    await self._end(chance, channel, mine)
                    return
                await self._reserve(chance, channel, mine, several=name == "reserve_several")
            case "end":
                if mine:
                    await self._end(chance, channel, mine)
            case "move":
                to = LOCATIONS[1 - LOCATIONS.index(location)]
                await self.ask(chance, channel, "move", ((sku, location, units),), to=to)
            case "adjust":
                delta = chance.choice((-3, -2, -1, 1, 2))
                await self.ask(chance, channel, "adjust", ((sku, location, delta),))
            case "count":
                await self.ask(chance, channel, "count", ((sku, location, chance.randint(15, 60)),))
            case "read_reservation":
                if self._recent:
                    held = chance.choice(self._recent)
                    await self.ask(chance, channel, name, held.lines, reservation=held.id)
            case _:
                await self.ask(chance, channel, name, ((sku, location, units),))

    async def _reserve(
        self, chance: random.Random, channel: Channel, mine: list[Held], *, several: bool
    ) -> None:
        count = chance.choice((2, 2, 3)) if several and channel.via == "http" else 1
        lines = tuple(
            (sku, chance.choice(LOCATIONS), chance.randint(1, 4))
            for sku in sorted(chance.sample(list(self.skus), count))
        )
        call = await self.ask(chance, channel, "reserve", lines)
        if call.outcome == "done":
            held = Held(call.answer["id"], lines, sum(units for _, _, units in lines))
            mine.append(held)
            self._recent.append(held)
            del self._recent[:-_SHARED_MAX]

    async def _end(self, chance: random.Random, channel: Channel, mine: list[Held]) -> None:
        """Pick or release a reservation, or pick a part of it."""
        held = mine.pop(chance.randrange(len(mine)))
        if len(held.lines) == 1 and held.open > 1 and chance.random() < 0.3:
            call = await self.ask(chance, channel, "pick", held.lines, reservation=held.id, quantity=1)
            if call.outcome == "done":
                held.open -= 1
                mine.append(held)
            return
        name = chance.choice(("pick", "pick", "release"))
        await self.ask(chance, channel, name, held.lines, reservation=held.id)

    async def ask(
        self,
        chance: random.Random,
        channel: Channel,
        name: str,
        lines: tuple[tuple[str, str, int], ...],
        *,
        to: str = "",
        reservation: str = "",
        quantity: int = 0,
    ) -> Call:
        """Send one request until its outcome is known, or its caller gives up."""
        self._keys += 1
        call = Call(name, f"{self.site}-{self._keys}", channel.via, lines, to, reservation, quantity)
        self.calls.append(call)
        is_read = name.startswith("read")
        may_give_up = not is_read and len(lines) == 1 and channel.via == "http"
        while True:
            began = time.monotonic_ns()
            # Written down before it is sent: what never comes back began all the same.
            call.tries.append(Try(began, began))
            reply = await channel.send(call)
            call.tries[-1] = Try(began, time.monotonic_ns(), reply.outcome, reply.code)
            self._note(call, reply, is_read=is_read)
            if call.outcome == "done" and not is_read and chance.random() < _REPEATS:
                again = await channel.send(call)
                if again.outcome in ("done", "refused"):
                    call.repeated = again.answer
            if call.is_answered or (may_give_up and chance.random() < _GIVES_UP):
                return call
            assert time.monotonic_ns() - call.start < PATIENCE_S * 1e9, f"no outcome: {call}"
            await asyncio.sleep(_RETRY_S)
            if is_read:  # What was not answered says nothing.
                call.tries.clear()

    def _note(self, call: Call, reply: Reply, *, is_read: bool) -> None:
        """A try of which nothing happened says nothing of the tries before it."""
        if reply.outcome == "nothing" and call.outcome == "unknown" and len(call.tries) > 1 and not is_read:
            return
        call.outcome, call.answer, call.code = reply.outcome, reply.answer, reply.code

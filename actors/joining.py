"""Questions of several partitions that are asked as one: while one is on its way, the next collects."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from engine.entries import Entry
from persistence.ports import RowsChanged, Unavailable


class _OfPartition(Protocol):
    """What is asked for: of one partition."""

    @property
    def partition(self) -> int: ...


_Asked = TypeVar("_Asked", bound=_OfPartition)


class Place(NamedTuple):
    """Where an entry is."""

    partition: int
    seq: int


class _Wish(NamedTuple, Generic[_Asked]):
    asked: Sequence[_Asked]
    future: asyncio.Future[list[Entry]]


class Joining(Generic[_Asked]):
    """Asks for entries, for all partitions together, about at most so many things at once."""

    def __init__(
        self,
        question: Callable[[Sequence[_Asked]], Awaitable[list[Entry]]],
        asked_max: int,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._question = question
        self._asked_max = asked_max
        self._spawn = spawn
        self._wishes: list[_Wish[_Asked]] = []
        self._is_running = False

    async def ask(self, asked: Sequence[_Asked]) -> list[Entry]:
        """Return the entries that answer a question about one partition.

        Raises Unavailable; RowsChanged, also for a partition that others asked for at the same time: who
        asks again is asked without it, since it is served no more.
        """
        if not asked:
            return []
        future: asyncio.Future[list[Entry]] = asyncio.get_running_loop().create_future()
        self._wishes.append(_Wish(asked, future))
        if not self._is_running:
            self._is_running = True
            self._spawn(self._run())
        return await future

    async def _run(self) -> None:
        try:
            while self._wishes:
                await self._ask(self._next_wishes())
        finally:
            self._is_running = False

    async def _ask(self, wishes: dict[int, _Wish[_Asked]]) -> None:
        try:
            entries = await self._question([one for wish in wishes.values() for one in wish.asked])
        except Unavailable as fault:
            self._fail(wishes, partial(Unavailable, str(fault)))
            return
        except RowsChanged as fault:
            self._fail(wishes, partial(RowsChanged, fault.places))
            return
        found: dict[int, list[Entry]] = {number: [] for number in wishes}
        for entry in entries:
            found[entry.partition].append(entry)
        for number, wish in wishes.items():
            if not wish.future.done():
                wish.future.set_result(found[number])

    @staticmethod
    def _fail(wishes: dict[int, _Wish[_Asked]], fault: Callable[[], Exception]) -> None:
        """Fail wishes with a fault each: one that is raised in several places gathers their tracebacks."""
        for wish in wishes.values():
            if not wish.future.done():
                wish.future.set_exception(fault())

    def _next_wishes(self) -> dict[int, _Wish[_Asked]]:
        """Take wishes for one question, at most one a partition: a second may be of another owner's time."""
        taken: dict[int, _Wish[_Asked]] = {}
        later: list[_Wish[_Asked]] = []
        count = 0
        for wish in self._wishes:
            number = wish.asked[0].partition
            if number in taken or count >= self._asked_max:
                later.append(wish)
            else:
                taken[number] = wish
                count += len(wish.asked)
        self._wishes = later
        return taken

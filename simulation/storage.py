"""The database behind a network: requests are late, fail, or succeed without an answer.

What the tables hold and refuse is `persistence.memory`'s doing, which passes the same contract tests as
Postgres. A commit happens at one instant between its request and its answer; whether the caller is still
there makes no difference to it.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from engine.entries import Entry
from engine.images import Rows
from persistence.memory import MemoryCursors, MemoryDatabase, MemoryDirectory, MemoryLedger, MemorySnapshots
from persistence.ports import OutcomeUnknown, Unavailable
from simulation.loop import Process, SimulatedLoop

_LATE_S_MAX = 1.5
"""How much later than its caller gave up a commit may still happen."""


@dataclass(slots=True)
class StorageWeather:
    """How the database behaves now."""

    latency_s: float = 0.002
    jitter_s: float = 0.003
    fail_odds: float = 0.0
    """That a request is refused before it does anything."""
    lose_odds: float = 0.0
    """That the answer to a request is lost."""
    is_down: bool = False


@dataclass(slots=True)
class Flight:
    """An append on its way."""

    entries: Sequence[Entry]
    is_ended: bool = False
    """It was committed or refused, or its session was ended before."""
    is_unknown: bool = False
    """Its answer is lost."""


class Storage:
    """The server. `on_committed(writer, entries)` is told of each commit at its instant.

    `on_saved` is told under which epochs, and up to which entry, snapshots of partitions were written, and
    `on_saving` of the rows before they are; `on_claimed` and `on_replaced` of partitions that are taken over,
    and whose snapshots are written anew.
    """

    def __init__(self, loop: SimulatedLoop, random: Random, partitions: int) -> None:
        self.loop = loop
        self.random = random
        self.database = MemoryDatabase(partitions)
        self.weather = StorageWeather()
        self.on_committed: Callable[[str, Sequence[Entry]], None] = lambda _writer, _entries: None
        self.cut_off_until_s: dict[str, float] = {}
        """Hosts that cannot reach it until then, by name."""
        self.on_saved: Callable[[dict[int, tuple[int, int, int]]], None] = lambda _epochs: None
        self.on_saving: Callable[[Rows], None] = lambda _rows: None
        self.on_claimed: Callable[[int], None] = lambda _number: None
        self.on_replaced: Callable[[int, int], None] = lambda _number, _epoch: None
        self._world = loop.within(None)

    def is_cut_off(self, process: Process | None) -> bool:
        """Whether nothing passes between a process and the server now."""
        if not self.cut_off_until_s or process is None:
            return False
        return self.cut_off_until_s.get(process.name, 0.0) > self.loop.time()

    def delay_s(self) -> float:
        """Return how long a request or an answer travels and is worked on now."""
        return self.weather.latency_s + self.random.random() * self.weather.jitter_s

    def happens(self, odds: float) -> bool:
        """Draw whether something happens; with no odds, nothing is drawn."""
        return odds > 0 and self.random.random() < odds

    def later(self, delay_s: float, act: Callable[..., object], *args: object) -> None:
        """Have something happen on the server, whoever asked for it."""
        self.loop.call_later(delay_s, act, *args, context=self._world)

    async def ask(self, act: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever it returns
        """Have the server do something that may be asked for again. Raises Unavailable."""
        answer = self.loop.create_future()
        process = self.loop.process()
        if self.is_cut_off(process):
            self.later(self.cut_off_s(), _fail, answer, Unavailable("the database is out of reach"))
        else:
            self.later(self.delay_s(), self._serve, act, answer, process)
        return await answer

    def cut_off_s(self) -> float:
        """Return how long it takes a host that is cut off to notice it; counts that it does."""
        self.loop.effects["request of a host that is cut off"] += 1
        return 0.05 + self.random.random() * 0.5

    def _serve(self, act: Callable[[], Any], answer: "asyncio.Future[Any]", process: Process | None) -> None:
        weather = self.weather
        if weather.is_down or self.happens(weather.fail_odds):
            self.later(self.delay_s(), _fail, answer, Unavailable("the database is away"))
            return
        try:
            result = act()
        except Exception as fault:  # noqa: BLE001 - it is the caller's
            self.later(self.delay_s(), _fail, answer, fault)
            return
        if self.is_cut_off(process) or self.happens(weather.lose_odds):
            self.loop.effects["answer of the database lost"] += 1
            self.later(self.delay_s(), _fail, answer, Unavailable("the answer was lost"))
        else:
            self.later(self.delay_s(), _give, answer, result)


class Remote:
    """A port's adapter in memory, reached through the network."""

    def __init__(self, storage: Storage, adapter: object) -> None:
        self._storage = storage
        self._adapter = adapter

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the port's method
        method = getattr(self._adapter, name)

        async def call(*args: Any, **named: Any) -> Any:  # noqa: ANN401 - the port's
            return await self._storage.ask(lambda: done(method(*args, **named)))

        return call


class RemoteSnapshots(Remote):
    """Snapshots of one host's session: claims are commits too."""

    def __init__(self, storage: Storage, host: str) -> None:
        super().__init__(storage, MemorySnapshots(storage.database))
        self._host = host

    async def claim(self, host: str, address: str, partitions: Sequence[int], now_ms: int) -> Any:  # noqa: ANN401
        """See `Snapshots.claim`."""
        storage, adapter = self._storage, self._adapter

        def act() -> Any:  # noqa: ANN401
            heads = done(adapter.claim(host, address, partitions, now_ms))  # type: ignore[attr-defined]
            ledgers = storage.database.partitions
            claimed = [head.partition for head in heads if not head.ends_early]
            storage.on_committed(self._host, [ledgers[number].ledger[-1] for number in claimed])
            for number in claimed:
                storage.on_claimed(number)
            return heads

        return await storage.ask(act)

    async def save(self, epochs: dict[int, tuple[int, int, int]], rows: Any) -> Any:  # noqa: ANN401
        """See `Snapshots.save`."""
        storage, adapter = self._storage, self._adapter

        def act() -> Any:  # noqa: ANN401
            storage.on_saving(rows)
            lost = done(adapter.save(epochs, rows))  # type: ignore[attr-defined]
            storage.on_saved({number: epochs[number] for number in epochs if number not in lost})
            return lost

        return await storage.ask(act)

    async def replace(self, head: Any, rows: Any) -> Any:  # noqa: ANN401
        """See `Snapshots.replace`."""
        storage, adapter = self._storage, self._adapter

        def act() -> Any:  # noqa: ANN401
            is_ours = done(adapter.replace(head, rows))  # type: ignore[attr-defined]
            if is_ours:
                storage.on_replaced(head.partition, head.epoch)
            return is_ours

        return await storage.ask(act)


class RemoteLedger(Remote):
    """The ledger of one host's session, which appends one batch after another."""

    def __init__(self, storage: Storage, host: str) -> None:
        super().__init__(storage, MemoryLedger(storage.database, host))
        self._host = host
        self._turn = asyncio.Lock()
        self._abandoned: list[Flight] = []

    async def append(self, entries: Sequence[Entry]) -> None:
        """See `Ledger.append`."""
        async with self._turn:
            storage = self._storage
            flight = Flight(tuple(entries))
            answer = storage.loop.create_future()
            arrives_s = storage.delay_s()
            process = storage.loop.process()
            if process is not None:
                process.on_killed.append(lambda: self._cut_off(flight))
            unknown = OutcomeUnknown("the connection was lost during a commit")
            if storage.is_cut_off(process):
                storage.later(storage.cut_off_s(), _fail, answer, unknown)
                flight.is_ended = True
            elif storage.happens(storage.weather.lose_odds):
                flight.is_unknown = True
                storage.later(arrives_s, _fail, answer, unknown)
                arrives_s *= storage.random.random() * 2
                if storage.random.random() < 0.3:
                    arrives_s += storage.random.random() * _LATE_S_MAX
            storage.later(arrives_s, self._commit, flight, answer, process)
            try:
                await answer
            except OutcomeUnknown:
                self._abandoned.append(flight)
                raise
            finally:
                if process is not None and process.is_alive:
                    process.on_killed.pop()

    async def is_committed(self, entries: Sequence[Entry]) -> bool:
        """See `Ledger.is_committed`. Sessions of appends with unknown outcome are ended first."""
        async with self._turn:

            def act() -> bool:
                for flight in self._abandoned:
                    self._storage.loop.effects["commit cancelled, its outcome unknown"] += not flight.is_ended
                    flight.is_ended = True
                self._abandoned.clear()
                return bool(done(self._adapter.is_committed(entries)))  # type: ignore[attr-defined]

            return bool(await self._storage.ask(act))

    def _cut_off(self, flight: Flight) -> None:
        """The host is gone: its commit is through already, or half of it never arrives."""
        if self._storage.random.random() < 0.5:
            flight.is_ended = True

    def _commit(self, flight: Flight, answer: "asyncio.Future[None]", process: Process | None) -> None:
        storage = self._storage
        if flight.is_ended:
            return
        flight.is_ended = True
        if storage.weather.is_down or storage.happens(storage.weather.fail_odds):
            storage.later(storage.delay_s(), _fail, answer, Unavailable("the database is away"))
            storage.loop.effects["commit refused"] += 1
            return
        try:
            storage.database.commit(flight.entries)
        except Exception as fault:  # noqa: BLE001 - it is the caller's
            storage.later(storage.delay_s(), _fail, answer, fault)
            return
        storage.on_committed(self._host, flight.entries)
        if storage.is_cut_off(process):
            flight.is_unknown = True
            unknown = OutcomeUnknown("the host was cut off during a commit")
            storage.later(storage.cut_off_s(), _fail, answer, unknown)
            return
        if flight.is_unknown:
            is_late = any(flight is one for one in self._abandoned)
            storage.loop.effects["commit late" if is_late else "commit without an answer"] += 1
        storage.later(storage.delay_s(), _give, answer, None)


def cursors(storage: Storage) -> Any:  # noqa: ANN401 - a `Cursors`
    """Return the courier's cursors."""
    return Remote(storage, MemoryCursors(storage.database))


def directory(storage: Storage) -> Any:  # noqa: ANN401 - a `Directory`
    """Return where partitions are."""
    return Remote(storage, MemoryDirectory(storage.database))


def done(work: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - its result
    """Return the result of a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as ended:
        return ended.value
    raise AssertionError("an adapter in memory waited for something")


def _give(answer: "asyncio.Future[Any]", result: object) -> None:
    if not answer.done():
        answer.set_result(result)


def _fail(answer: "asyncio.Future[Any]", fault: Exception) -> None:
    if not answer.done():
        answer.set_exception(fault)

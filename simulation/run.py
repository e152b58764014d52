"""One run: a plan carried out in a world of its own, and what came of it."""

import asyncio
import hashlib
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import msgspec

from actors.outcomes import Answered
from simulation.clients import Client
from simulation.loop import Process, SimulatedLoop, Stuck
from simulation.plan import Operation, Plan, last_round
from simulation.referee import Referee, Violation
from simulation.tidying import tidying
from simulation.trouble import Trouble
from simulation.world import World

_CALM_S_MAX = 90.0
"""Virtual seconds within which everything is answered, and after the last fault available and at rest."""
_AVAILABLE_S = 30.0
"""Virtual seconds after the last fault within which whatever was under way is answered."""
_ANSWER_S_MAX = 5.0
"""Virtual seconds within which whatever is asked later is answered."""
_SETTLING_S = 6.0
"""What a courier that has nothing to send takes to notice that the streams have forgotten something."""
_LOOK_EVERY_S = 0.2
_REFUSED = frozenset({"count", "reuse"})
"""What may be refused when there is enough of everything."""
_LAST_KEY = 10_000_000  # Above the keys of any plan.
_UNSEEN_S_MAX = 5.0  # Within which somebody looks at a task's error.


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a run."""

    plan: Plan
    violation: str | None
    operations: int
    faults: int
    answers: int
    refusals: int
    unknown: int
    entries: int
    steps: int
    """Callbacks that ran."""
    virtual_s: float
    faults_by_kind: dict[str, int]
    """How often each fault met something to harm."""
    effects: dict[str, int]
    """What came of them: see `simulation.coverage`."""
    entries_by_kind: dict[str, int]
    digest: str
    """Of every ledger and every answer: the same for the same plan and code."""


def run(plan: Plan, *, is_last: bool = False) -> Result:
    """Carry out a plan. Returns the violation, if there is one, instead of raising it.

    A process whose last one it is need not tidy up: that is an eighth of the time.
    """
    loop = SimulatedLoop()  # type: ignore[abstract]  # what is left out is never asked for
    with tidying(loop, is_last=is_last):
        scene = _Scene(plan, loop)
        try:
            loop.run_until_complete(scene.play())
        except Stuck as fault:
            scene.referee.blame("liveness", str(fault))
        except Violation:
            pass
        return scene.result()


class _Scene:
    """A world with its clients and its troubles."""

    def __init__(self, plan: Plan, loop: SimulatedLoop) -> None:
        self._plan = plan
        self._loop = loop
        self._world = World(loop, plan.seed, plan.partitions, plan.hosts)
        self.referee = Referee(self._world, must_answer=plan.only_moves)
        self._trouble = Trouble(self._world)
        self._begun = 0
        self._calm_s: float | None = None
        """When the last fault ended."""
        self._faults_left = list(plan.faults)
        loop.on_exception = self._failed

    def _failed(self, context: dict[str, Any]) -> None:
        fault = context.get("exception")
        self.referee.blame("liveness", f"an error nobody took: {context.get('message')}: {fault!r}")

    async def play(self) -> None:
        """Carry out everything. Raises Violation."""
        world, plan = self._world, self._plan
        await world.start()
        await self._calm(lambda: self._unserved() or world.unheard())
        clients = [self._client(number) for number in range(plan.clients)]
        tasks = [self._loop.spawn(None, self._act(client)) for client in clients]
        try:
            await self._watch(clients, tasks)
            self._end_troubles()
            await self._calm(self.referee.set_back, "P8")  # What is asked next changes every bin.
            await self._ask_everything()
            await self._rest()
            self._look(unseen_s=0.0)
            self.referee.judge_end()
        finally:
            self._look()

    def _look(self, unseen_s: float = _UNSEEN_S_MAX) -> None:
        """Raise what the referee has found, what a host found in itself, or an error that nobody took."""
        for fault in self._loop.errors(unseen_s):
            self.referee.blame("liveness", f"an error that nobody took: {fault!r} {_where(fault)}")
        for host in self._world.hosts:
            self.referee.examine(host)
        self.referee.look(is_quiet=not self._trouble.is_under_way and self._unserved() is None)
        if self._world.broken:
            self.referee.blame("liveness", f"a host broke: {self._world.broken[0]}")
        if self.referee.violation is not None:
            raise self.referee.violation

    def _client(self, number: int) -> Client:
        random = Random(f"client {self._plan.seed} {number}")
        return Client(number, self._world, self.referee, random, Process(f"client-{number}"))

    async def _watch(self, clients: list[Client], tasks: list[asyncio.Task[None]]) -> None:
        """Wait until clients are done, and see that each is answered in time. Raises Violation."""
        under_way = set(tasks)
        while under_way:
            _, under_way = await asyncio.wait(under_way, timeout=_LOOK_EVERY_S)
            self._look()
            for client in clients:
                due_s = client.waits_since_s + _CALM_S_MAX
                if self._calm_s is not None:
                    due_s = max(client.waits_since_s, self._calm_s + _AVAILABLE_S) + _ANSWER_S_MAX
                if client.waits_for and self._loop.time() > due_s:
                    waited_s = self._loop.time() - client.waits_since_s
                    self.referee.blame("liveness", f"not answered for {waited_s:.1f} s: {client.waits_for}")
        for task in tasks:
            task.result()

    def _end_troubles(self) -> None:
        if self._calm_s is None:
            self._calm_s = self._loop.time()
            self._trouble.end()

    async def _ask_everything(self) -> None:
        """Have every kind of request answered for every SKU, now that nothing goes wrong."""
        clients = [self._client(self._plan.clients + sku) for sku in range(self._plan.skus)]
        key = _LAST_KEY
        for step in last_round(self._plan.skus, len(self._world.gateways)):
            tasks = [
                self._loop.spawn(None, self._ask(client, key + client.number, operation))
                for client, operation in zip(clients, step, strict=True)
            ]
            await self._watch(clients, tasks)
            key += 100

    async def _ask(self, client: Client, place: int, operation: Operation) -> None:
        outcome = await client.perform(place, operation)
        if not isinstance(outcome, Answered) and operation.kind not in _REFUSED:
            self.referee.blame("liveness", f"key-{place} ({operation.kind}) of what is there: {outcome}")

    async def _act(self, client: Client) -> None:
        for place, operation in enumerate(self._plan.operations):
            if operation.client == client.number:
                if self._plan.calm_after is not None and self._begun >= self._plan.calm_after:
                    self._end_troubles()
                self._begun += 1
                while self._faults_left and self._faults_left[0].after <= self._begun:
                    self._trouble.begin(self._faults_left.pop(0))
                await self._world.end_of_lull()
                await client.perform(place, operation)

    async def _rest(self) -> None:
        """Wait until everything is available again, broadcast and settled. Raises Violation."""
        world = self._world
        await asyncio.sleep(_SETTLING_S)
        await self._calm(self._restless)
        await self._calm(self._unaudited, "P7")
        await self._calm(world.harming.wrong_row, "P7")
        for host in list(world.hosts):
            if host.running.host.owned:
                await host.running.snapshotter.flush()
        await self._calm(self._restless)

    async def _calm(self, why_not: Callable[[], str | None], promise: str = "liveness") -> None:
        """Wait until there is no reason any more why not. Raises Violation."""
        deadline_s = self._loop.time() + _CALM_S_MAX
        while (why := why_not()) is not None:
            if self._loop.time() > deadline_s:
                self.referee.blame(promise, f"{_CALM_S_MAX:g} s after the last fault {why}")
            self._look()
            await asyncio.sleep(_LOOK_EVERY_S)

    def _unaudited(self) -> str | None:
        """Say which owner has never compared its memory with the ledger."""
        for model in self.referee.models:
            host = self._world.owner_of(model.partition)
            if host is not None and host.running.host.gauges.drift:
                return f"{host.name} counts a drift of {host.running.host.gauges.drift}"
            if host is not None and model.stocks and not host.running.host.gauges.audits:
                return f"{host.name} has not compared memory with the ledger"
        return None

    def _unserved(self) -> str | None:
        """Say which partition nobody serves."""
        for model in self.referee.models:
            host = self._world.owner_of(model.partition)
            owned = host.running.host.owned.get(model.partition) if host is not None else None
            if owned is None or not owned.is_ready:
                return f"nobody serves partition {model.partition}"
        return None

    def _restless(self) -> str | None:
        """Say what is not as it should be at rest."""
        why = self._unserved()
        if why is not None:
            return why
        for model in self.referee.models:
            host = self._world.owner_of(model.partition)
            assert host is not None
            owned = host.running.host.owned[model.partition]
            if host.running.courier.lag or not host.running.courier.bins.is_certain:
                return f"{host.name} has something to broadcast, or to broadcast again"
            if host.running.host.in_flight:
                return f"{host.name} has requests in flight"
            if any(promise.is_tentative and promise.open_units for promise in model.promises.values()):
                return f"shares in partition {model.partition} are tentative"
            if owned.committed_seq != model.seq:
                return f"{host.name} does not have all of partition {model.partition}"
        return None

    def result(self) -> Result:
        """Return what came of it."""
        referee, violation = self.referee, self.referee.violation
        digest = hashlib.blake2b(digest_size=12)
        kinds: Counter[str] = Counter()
        for tables in self._world.storage.database.partitions:
            kinds.update(str(entry.kind) for entry in tables.ledger)
            for entry in tables.ledger:
                digest.update(msgspec.msgpack.encode(tuple(entry)))
        digest.update(referee.digest.digest())
        counts = (referee.answers, referee.refusals, referee.unknown, self._loop.steps, self._loop.time())
        digest.update(repr((counts, str(violation))).encode())
        return Result(
            self._plan,
            None if violation is None else str(violation),
            len(self._plan.operations),
            self._trouble.counts.total(),
            referee.answers,
            referee.refusals,
            referee.unknown,
            sum(model.seq for model in referee.models),
            self._loop.steps,
            self._loop.time(),
            dict(self._trouble.counts),
            dict(self._loop.effects),
            dict(kinds),
            digest.hexdigest(),
        )


def _where(fault: BaseException) -> str:
    """Say where an error came from."""
    frames = traceback.extract_tb(fault.__traceback__)
    return f"in {frames[-1].name}, line {frames[-1].lineno}" if frames else ""

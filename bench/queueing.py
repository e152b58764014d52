"""A simulation of hosts that share commits, for latencies and for what saturates: discrete events, seeded.

It has what makes people wait: processes that do one thing after another, cores that they share, a commit
whose batch is whatever was decided during the last one (`actors/committer.py`), and a log that is written
for all who wait for it at once. It has no network, no faults, no activation and no garbage collection.

A process's work is a queue. Cores take turns at processes, a slice each, as an operating system does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from bench.samples import percentile
from bench.virtual_machine import Clock, Cores, Log, Process


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What is simulated. Costs are seconds on a core: `_once_s` for a commit, `_each_s` for an operation."""

    hosts: int = 1
    shares: Sequence[float] = ()
    """Of the load, by host; even if there are none."""
    shared_cores: int = 0
    """All processes share so many, and one caller asks all hosts. With 0 each host has a core and a caller of
    its own, and Postgres a machine."""
    postgres_cores: int = 8
    host_each_s: float = 0.0
    host_once_s: float = 0.0
    postgres_each_s: float = 0.0
    postgres_once_s: float = 0.0
    log_s: float = 0.0
    """To write the log, whatever is in it."""
    beside_each_s: float = 0.0
    beside_once_s: float = 0.0
    """What others do beside a commit, and nobody waits for: checkpoints, the broadcast."""
    caller_each_s: float = 0.0
    caller_once_s: float = 0.0
    batch_max: int = 0
    """Operations of a commit at most; 0 for any number."""


@dataclass(slots=True)
class Seen:
    """What a simulation showed, after its warm-up."""

    rate_s: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    asked: int = 0
    answered: int = 0
    under_way: int = 0
    commits: int = 0
    host_use: list[float] = field(default_factory=list)
    """How much of its core each host needed."""
    by_host: list[int] = field(default_factory=list)

    @property
    def mean_s(self) -> float:
        """The mean latency."""
        return sum(self.latencies_s) / len(self.latencies_s)

    def at_ms(self, share: float) -> float:
        """Return a percentile of the latencies."""
        return percentile(sorted(self.latencies_s), share) * 1e3

    @property
    def batch(self) -> float:
        """Operations of a commit, on average."""
        return self.answered / max(1, self.commits)


class _Host:
    """Decides requests one by one; commits what was decided while the last commit was under way."""

    def __init__(self, run: "_Run", number: int, cores: Cores) -> None:
        self.run = run
        self.number = number
        self.process = Process(cores)
        self.caller = run.caller or Process(Cores(run.clock, 1))
        self.backend = Process(run.postgres)
        self.beside = Process(run.postgres)
        self._open: list[float] = []
        self._is_committing = False

    def ask(self, due_s: float) -> None:
        """Send a request that was due at a time."""
        world = self.run.world
        self.caller.do(
            world.caller_each_s / 2, lambda: self.process.do(world.host_each_s, lambda: self._decided(due_s))
        )

    def _decided(self, due_s: float) -> None:
        self._open.append(due_s)
        if not self._is_committing:
            self._commit()

    def _commit(self) -> None:
        self._is_committing = True
        self.process.do(self.run.world.host_once_s / 2, self._close)

    def _close(self) -> None:
        world = self.run.world
        size = min(len(self._open), world.batch_max or len(self._open))
        batch, self._open = self._open[:size], self._open[size:]
        cpu_s = world.postgres_once_s + size * world.postgres_each_s
        beside_s = world.beside_once_s + size * world.beside_each_s
        if beside_s:
            self.beside.do(beside_s, _nothing)
        self.run.seen.commits += 1
        self.backend.do(
            cpu_s,
            lambda: self.run.log.write(lambda: self.process.do(0.0, lambda: self._durable(batch))),
        )

    def _durable(self, batch: list[float]) -> None:
        """The batch is durable: the next one begins, and its answers leave."""
        world = self.run.world
        self._is_committing = False
        if self._open:
            self._commit()
        self.process.do(world.host_once_s / 2, _nothing)
        cpu_s = world.caller_once_s + len(batch) * world.caller_each_s / 2
        self.caller.do(cpu_s, lambda: self.run.answered(self, batch))


class _Run:
    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.chance = Random(seed)
        self.clock = Clock()
        self.seen = Seen()
        self.machine = Cores(self.clock, world.shared_cores) if world.shared_cores else None
        self.caller = Process(self.machine) if self.machine else None
        self.postgres = self.machine or Cores(self.clock, world.postgres_cores)
        self.log = Log(self.clock, world.log_s)
        self.hosts = [
            _Host(self, number, self.machine or Cores(self.clock, 1)) for number in range(world.hosts)
        ]
        self.seen.by_host = [0] * world.hosts
        self.again: Callable[[_Host], None] = lambda _: None
        self.warm_s = 0.0
        self._began: list[float] = []
        self._commits = 0
        self._counted = 0

    def host(self) -> _Host:
        """Draw the host of a request."""
        if not self.world.shares:
            return self.hosts[self.chance.randrange(len(self.hosts))]
        return self.chance.choices(self.hosts, self.world.shares)[0]

    def ask(self, host: _Host) -> None:
        self.seen.asked += 1
        host.ask(self.clock.now_s)

    def answered(self, host: _Host, batch: list[float]) -> None:
        now_s = self.clock.now_s
        self.seen.answered += len(batch)
        if now_s >= self.warm_s:
            self._counted += len(batch)
            self.seen.latencies_s += [now_s - due_s for due_s in batch]
            self.seen.by_host[host.number] += len(batch)
        for _ in batch:
            self.again(host)

    def until(self, end_s: float) -> Seen:
        """Play to a time; what is measured is from the end of the warm-up on."""
        while self.clock.now_s < self.warm_s and self.clock.step():
            pass
        began_s, used = self.clock.now_s, [host.process.busy_s for host in self.hosts]
        while self.clock.now_s < end_s and self.clock.step():
            pass
        span_s = max(1e-12, self.clock.now_s - began_s)
        seen = self.seen
        seen.rate_s = self._counted / span_s
        seen.host_use = [
            (host.process.busy_s - before) / span_s for host, before in zip(self.hosts, used, strict=True)
        ]
        seen.under_way = seen.asked - seen.answered
        return seen


def closed(world: World, in_flight: int, *, seconds: float, warm_s: float = 0.0, seed: int = 1) -> Seen:
    """Simulate callers that have so many requests under way all the time."""
    run = _Run(world, seed)
    run.warm_s = warm_s
    run.again = lambda _: run.ask(run.host())
    for _ in range(in_flight):
        run.ask(run.host())
    return run.until(warm_s + seconds)


def open_loop(world: World, rate_s: float, *, seconds: float, warm_s: float = 0.0, seed: int = 1) -> Seen:
    """Simulate requests that are due at random times, whatever became of those before (Poisson)."""
    run = _Run(world, seed)
    run.warm_s = warm_s

    def due() -> None:
        run.ask(run.host())
        run.clock.after(run.chance.expovariate(rate_s), due)

    run.clock.after(run.chance.expovariate(rate_s), due)
    return run.until(warm_s + seconds)


def _nothing() -> None:
    pass

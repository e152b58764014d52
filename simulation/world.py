"""Real hosts, gateways and supervisors as processes of a simulated world."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from actors.gateway import LaneGateway
from actors.host import Host, HostOptions
from actors.outcomes import Fault, Unavailable
from actors.reservations import SpanningReservations
from actors.running_host import RunningHost
from actors.supervisor import HostProcess, Supervisor
from simulation.broadcast import Broadcast, RemoteStreams, subjects_in_doubt
from simulation.harming import Harming
from simulation.loop import Process, SimulatedLoop
from simulation.network import Network
from simulation.storage import RemoteLedger, RemoteSnapshots, Storage, cursors, directory

TOKEN = "lane token"  # noqa: S105 - it guards nothing
EPOCH_MS = 1_750_000_000_000
_START_S = (0.02, 0.3)
"""How long a process takes to start, from and to."""


class GatewayDied(Exception):
    """The gateway was killed, or its connection broke, while it had the request."""


@dataclass(slots=True)
class SimulatedHost:
    """A host as its launcher knows it."""

    name: str
    address: str
    process: Process
    running: RunningHost
    pid: int = 0
    node: str = ""


@dataclass(slots=True)
class SimulatedGateway:
    """What stands where the API stands in production."""

    process: Process
    lanes: LaneGateway
    reservations: SpanningReservations
    calls: dict[asyncio.Future[Any], None] = field(default_factory=dict)


class World:
    """All processes, and the servers that they share."""

    def __init__(
        self, loop: SimulatedLoop, seed: int, partitions: int, hosts: int, gateways: int = 4
    ) -> None:
        self.loop = loop
        self.partitions = partitions
        self.network = Network(loop, Random(f"network {seed}"))
        loop.network = self.network
        self.storage = Storage(loop, Random(f"storage {seed}"), partitions)
        self.broadcast = Broadcast(loop, Random(f"broadcast {seed}"))
        self.harming = Harming(self)
        self.random = Random(f"world {seed}")
        self.hosts: list[SimulatedHost] = []
        """Those whose process lives."""
        self.supervisors: list[tuple[Process, Supervisor]] = []
        self.gateways: list[SimulatedGateway | None] = [None] * gateways
        self.clock_ahead_ms = loop.clock_ahead_ms
        self.ahead_ms_max = 0
        """By how much any host's clock ever was ahead: a partition's time does not go back with it."""
        self.starting: list[Process] = []
        """Hosts' processes that do not listen yet."""
        self.doomed_s: list[float] = []
        """The hosts that start next are killed so many seconds later, if they are not up by then."""
        self.broken: list[str] = []
        """Hosts whose memory did not follow: none must."""
        self.on_kill: Callable[[SimulatedHost], None] = lambda _: None
        """Told of a host right before its process ends."""
        self._places = hosts
        self._counted = 0

    # Clocks and processes

    def clock(self, name: str) -> Callable[[], int]:
        """Return a process's clock: milliseconds UTC."""
        ahead_ms = self.clock_ahead_ms
        return lambda: EPOCH_MS + int(self.loop.time() * 1000) + ahead_ms.get(name, 0)

    def _next(self, what: str) -> str:
        self._counted += 1
        return f"{what}-{self._counted}"

    async def start(self) -> None:
        """Start a supervisor, its hosts, and the gateways."""
        for place in range(len(self.gateways)):
            self.start_gateway(place)
        await self.start_supervisor()

    async def start_supervisor(self) -> None:
        """Start another supervisor, which knows nothing of hosts that live."""
        process = Process(self._next("supervisor"))
        ready = self.loop.create_future()
        self.loop.spawn(process, self._supervise(process, ready))
        await ready

    async def _supervise(self, process: Process, ready: asyncio.Future[None]) -> None:
        lanes = LaneGateway(directory(self.storage), TOKEN, self.partitions)
        supervisor = Supervisor(
            _Launcher(self), lanes.control, TOKEN, partitions=self.partitions, hosts=self._places
        )
        await supervisor.start()
        self.supervisors.append((process, supervisor))
        ready.set_result(None)

    def start_gateway(self, place: int) -> None:
        """Start a gateway on a place; who calls it before it is up is told so."""
        process = Process(self._next("gateway"))
        self.loop.spawn(process, self._serve_gateway(process, place))

    async def _serve_gateway(self, process: Process, place: int) -> None:
        await asyncio.sleep(self.random.uniform(*_START_S))
        lanes = LaneGateway(directory(self.storage), TOKEN, self.partitions, timeout_s=5.0)
        reservations = SpanningReservations(lanes, tentative_ttl_s=0.4, random_bytes=self.random.randbytes)
        self.gateways[place] = SimulatedGateway(process, lanes, reservations)

    # Calls

    async def call(self, place: int, ask: Callable[[SimulatedGateway], Awaitable[Any]]) -> Any:  # noqa: ANN401
        """Have a gateway do something for a client. Raises its Fault, or GatewayDied."""
        await asyncio.sleep(self.network.delay_s())
        gateway = self.gateways[place]
        if gateway is None or not gateway.process.is_alive:
            raise Unavailable("nobody listens")
        answer = self.loop.create_future()
        gateway.calls[answer] = None
        self.loop.spawn(gateway.process, self._answer(gateway, ask, answer))
        try:
            return await answer
        finally:
            gateway.calls.pop(answer, None)

    async def _answer(
        self,
        gateway: SimulatedGateway,
        ask: Callable[[SimulatedGateway], Awaitable[Any]],
        answer: asyncio.Future[Any],
    ) -> None:
        try:
            result, fault = await ask(gateway), None
        except Fault as raised:
            result, fault = None, raised
        world = self.loop.within(None)
        delay_s = self.network.delay_s(gateway.process)
        self.loop.call_later(delay_s, _settle, answer, result, fault, context=world)

    # Ends

    def kill_host(self, host: SimulatedHost) -> None:
        """End a host's process."""
        if host in self.hosts:
            self.hosts.remove(host)
            self.on_kill(host)
        self.loop.kill(host.process)

    def kill_starting(self, process: Process) -> None:
        """End a host that is not up yet: before it listens, or before it owns anything."""
        host = next((host for host in self.hosts if host.process is process), None)
        if process in self.starting:
            self.starting.remove(process)
            self.loop.effects["host killed before it listened"] += 1
            self.loop.kill(process)
        elif host is not None and not any(owned.is_ready for owned in host.running.host.owned.values()):
            self.loop.effects["host killed before it served"] += 1
            self.kill_host(host)

    def kill_gateway(self, place: int) -> bool:
        """End a gateway; its callers see their connections break, and another one starts.

        Returns whether there was one.
        """
        gateway = self.gateways[place]
        if gateway is None:
            return False
        self.gateways[place] = None
        self.loop.kill(gateway.process)
        for answer in list(gateway.calls):
            _settle(answer, None, GatewayDied("the connection to the gateway broke"))
        self.start_gateway(place)
        return True

    async def replace_supervisor(self) -> None:
        """End the supervisor; its hosts live on, and the next one replaces them."""
        process, _ = self.supervisors[-1]
        self.loop.kill(process)
        await self.start_supervisor()

    def owner_of(self, partition: int) -> SimulatedHost | None:
        """Return the living host that owns a partition by the last claim."""
        name = self.storage.database.partitions[partition].host
        found = [host for host in self.hosts if host.name == name]
        return found[0] if found else None


class _Launcher:
    """Starts the processes of hosts."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def nodes(self) -> list[str]:
        """See `Launcher.nodes`."""
        return [""]

    async def launch(self, name: str, _node: str | None = None) -> HostProcess:
        """See `Launcher.launch`."""
        world = self._world
        await asyncio.sleep(world.random.uniform(*_START_S))
        process = Process(world._next(name))
        world.starting.append(process)
        if world.doomed_s:
            after_s = world.doomed_s.pop(0)
            world.loop.call_later(after_s, world.kill_starting, process, context=world.loop.within(None))
        ready: asyncio.Future[SimulatedHost] = world.loop.create_future()
        died = Unavailable("the process died while it started")
        process.on_killed.append(lambda: _settle(ready, None, died))
        world.loop.spawn(process, self._run(process, ready))
        return await ready

    async def _run(self, process: Process, ready: asyncio.Future[SimulatedHost]) -> None:
        world, name = self._world, process.name

        def broken(fault: BaseException) -> None:
            world.broken.append(f"{name}: {type(fault).__name__}: {fault}")
            for host in [host for host in world.hosts if host.process is process]:
                world.kill_host(host)

        core = Host(
            HostOptions(
                name,
                key_window=80,
                recovered_keys=40,
                snapshot_interval_s=0.7,
                snapshot_entries=200,
                active_stocks_max=4,
            ),
            RemoteLedger(world.storage, name),
            RemoteSnapshots(world.storage, name),
            world.clock(name),
            stopwatch=world.loop.time,
        )
        streams = RemoteStreams(world.broadcast, name)
        running = RunningHost(
            core,
            streams,
            cursors(world.storage),
            directory(world.storage),
            token=TOKEN,
            partitions=world.partitions,
            on_broken=broken,
        )
        streams.mended = lambda: subjects_in_doubt(running.courier.overtaken)
        # Importing, connecting and preparing take a while, in which nothing of it listens.
        await asyncio.sleep(world.random.uniform(*_START_S))
        address = await running.start("127.0.0.1")
        host = SimulatedHost(name, address, process, running)
        world.starting.remove(process)
        world.hosts.append(host)
        if not ready.done():
            ready.set_result(host)

    async def kill(self, process: HostProcess) -> None:
        """See `Launcher.kill`. A paused one goes on for a moment: the signal has to arrive."""
        assert isinstance(process, SimulatedHost)
        world = self._world
        await asyncio.sleep(world.random.choice((0.0, 0.01, 3.0, 20.0)))
        world.kill_host(process)

    async def stop(self, process: HostProcess) -> None:
        """See `Launcher.stop`."""
        assert isinstance(process, SimulatedHost)
        await process.running.stop()
        self._world.kill_host(process)


def _settle(answer: asyncio.Future[Any], result: object, fault: Exception | None) -> None:
    if answer.done():
        return
    if fault is None:
        answer.set_result(result)
    else:
        answer.set_exception(fault)

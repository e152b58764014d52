"""Real hosts, gateways and supervisors as processes of a simulated world."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from actors.gateway import LaneGateway
from actors.outcomes import Fault, Unavailable
from actors.places import first_places
from actors.placing import Placing
from actors.reservations import SpanningReservations
from actors.supervisor import Supervisor
from engine.partitioning import partition_of
from simulation.broadcast import Broadcast
from simulation.harming import Harming
from simulation.launching import START_S, TOKEN, CountedWishes, Launcher, SimulatedHost, settle
from simulation.loop import Process, SimulatedLoop
from simulation.network import Network
from simulation.storage import Remote, Storage, directory, done

EPOCH_MS = 1_750_000_000_000
_DECIDED_S_MAX = 20.0
"""How long before its commit an entry may have been decided: its host may be paused in between."""
_LULL_S = 7.0


class GatewayDied(Exception):
    """The gateway was killed, or its connection broke, while it had the request."""


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
        self.wishes = CountedWishes(loop)
        self.random = Random(f"world {seed}")
        self.hosts: list[SimulatedHost] = []
        """Those whose process lives."""
        self.supervisors: list[tuple[Process, Supervisor]] = []
        self.gateways: list[SimulatedGateway | None] = [None] * gateways
        self.clock_ahead_ms = loop.clock_ahead_ms
        self._were_ahead: list[tuple[float, str, int]] = []
        """When clocks were set, whose, and by how much each was ahead until then."""
        self.starting: list[Process] = []
        """Hosts' processes that do not listen yet."""
        self.doomed_s: list[float] = []
        """The hosts that start next are killed so many seconds later, if they are not up by then."""
        self.lull_until_s = 0.0
        """Until when clients begin nothing: what was left wrong by then is seen."""
        self.broken: list[str] = []
        """Hosts whose memory did not follow: none must."""
        self.on_kill: Callable[[SimulatedHost], None] = lambda _: None
        """Told of a host right before its process ends."""
        self._places = hosts
        self._counted = 0

    def lull(self, seconds: float = _LULL_S) -> None:
        """Have clients begin nothing for a while: what is wrong by then stays so, and is seen."""
        self.lull_until_s = self.loop.time() + seconds

    async def end_of_lull(self) -> None:
        """Wait until clients may begin something."""
        if self.lull_until_s > self.loop.time():
            await asyncio.sleep(self.lull_until_s - self.loop.time())

    # Clocks and processes

    def clock(self, name: str) -> Callable[[], int]:
        """Return a process's clock: milliseconds UTC."""
        ahead_ms = self.clock_ahead_ms
        return lambda: EPOCH_MS + int(self.loop.time() * 1000) + ahead_ms.get(name, 0)

    def set_clock(self, name: str, ahead_ms: int) -> None:
        """Have a process's clock be ahead, or with a negative figure behind."""
        self._were_ahead.append((self.loop.time(), name, self.clock_ahead_ms.get(name, 0)))
        self.clock_ahead_ms[name] = ahead_ms

    def latest_ms(self, name: str) -> int:
        """Return the latest time by a process's clock at which it can have decided what is committed now."""
        since_s = self.loop.time() - _DECIDED_S_MAX
        before_ms = [ahead for at_s, one, ahead in self._were_ahead if one == name and at_s >= since_s]
        return self.clock("")() + max([self.clock_ahead_ms.get(name, 0), *before_ms])

    def _next(self, what: str) -> str:
        self._counted += 1
        return f"{what}-{self._counted}"

    async def start(self) -> None:
        """Start a supervisor, its hosts, and the gateways."""
        starting = [self.start_gateway(place) for place in range(len(self.gateways))]
        await self.start_supervisor()
        await asyncio.gather(*starting)

    async def start_supervisor(self) -> None:
        """Start another supervisor, which knows nothing of hosts that live."""
        process = Process(self._next("supervisor"))
        ready = self.loop.create_future()
        self.loop.spawn(process, self._supervise(process, ready))
        await ready

    async def _supervise(self, process: Process, ready: asyncio.Future[None]) -> None:
        lanes = LaneGateway(directory(self.storage), TOKEN, self.partitions)
        supervisor = Supervisor(
            Launcher(self), lanes.control, TOKEN, partitions=self.partitions, hosts=self._places
        )
        wishes: Any = Remote(self.storage, self.wishes)
        isolated = {partition_of(*stock, self.partitions) for stock in done(self.wishes.wished()).isolated}
        supervisor.arrange(first_places(self.partitions, self._places, isolated))
        placing = Placing(supervisor, wishes, partitions=self.partitions, hosts=self._places)
        await supervisor.start()
        self.loop.spawn(process, _grant(supervisor, placing))
        self.supervisors.append((process, supervisor))
        ready.set_result(None)

    def start_gateway(self, place: int) -> asyncio.Task[None]:
        """Start a gateway on a place; who calls it before it is up is told so."""
        process = Process(self._next("gateway"))
        return self.loop.spawn(process, self._serve_gateway(process, place))

    async def _serve_gateway(self, process: Process, place: int) -> None:
        await asyncio.sleep(self.random.uniform(*START_S))
        lanes = LaneGateway(directory(self.storage), TOKEN, self.partitions, timeout_s=5.0)
        reservations = SpanningReservations(lanes, tentative_ttl_s=0.4, random_bytes=self.random.randbytes)
        self.gateways[place] = SimulatedGateway(process, lanes, reservations)

    def unheard(self) -> str | None:
        """Say at which gateway nobody listens yet."""
        return next(
            (f"nobody listens at gateway {place}" for place, one in enumerate(self.gateways) if one is None),
            None,
        )

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
        self.loop.call_later(delay_s, settle, answer, result, fault, context=world)

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
            settle(answer, None, GatewayDied("the connection to the gateway broke"))
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


async def _grant(supervisor: Supervisor, placing: Placing) -> None:
    """Carry out what is wished as soon as every place is served."""
    await supervisor.serving()
    await placing.run()

"""Reaches the owner of each partition over lanes, and finds it again when it has moved.

A request that was sent when its lane broke may have happened: it is sent again under the same key, so that it
happens once. One that is not answered by its deadline fails with what is known: nothing happened, or unknown.
"""

import asyncio
import itertools
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog

from actors.allowance import UNDER_WAY_MAX
from actors.controls import Controls
from actors.lane_client import Lane
from actors.lanes import Lanes
from actors.outcomes import LedgerRefused, Outcome, Overloaded, Unavailable
from actors.pending import OVERLOADED_RETRY_MS, Pending, late, outcome_of
from actors.queries import QUERY_NAMES, Query
from actors.requests import Status
from actors.room import Room
from engine.commands import OPERATION_NAMES, Command
from persistence.placement import Directory, Placement

_log = structlog.get_logger()

_RETRY_S = 0.03
_DIRECTORY_S_MAX = 5.0
_OF_ITS_OWNER = frozenset(Status) - {Status.ANSWERED, Status.REPLAYED}
"""What only the host that a request waits for can say. An answer is as good from where it was sent before: it
leaves there when it is durable, that to a read when the ledger has confirmed who is the owner. That it was
refused there, or that nothing happened, says little: it may happen where it was sent since."""
_OVERDUE_S = 1.0
"""An answer that takes longer makes the gateway look whether the partition has a new owner."""
_REFUSED_S = 1.0
"""For so long the host that says that a partition's ledger is refused is believed to be its owner."""


class LaneGateway:
    """The gateway over lanes. One connection a host; thousands of requests in flight on it."""

    def __init__(
        self,
        directory: Directory,
        token: str,
        partitions: int,
        *,
        timeout_s: float = 10.0,
        pending_max: int = UNDER_WAY_MAX,
        heeds_hosts: bool = False,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.partitions = partitions
        self._directory = directory
        self._timeout_s = timeout_s
        self._sleep = sleep
        self._loop = asyncio.get_running_loop()
        self._routes: dict[int, Lane] = {}
        self._lanes = Lanes(token, self._receive, self._lost, secrets.token_hex(8))
        self._ids = itertools.count(1)
        self._controls = Controls(self._lanes, self._ids, directory)
        self._pending: dict[int, Pending] = {}
        self.room = Room(self._lanes, self._routes, self._pending, most=pending_max, heeds_hosts=heeds_hosts)
        self._waiting: dict[int, list[Pending]] = {}
        self._placed: dict[int, tuple[str, int]] = {}
        """(host, epoch) by which each partition's route was found."""
        self._refuted: dict[int, tuple[str, int]] = {}
        """What the directory said of partitions whose host says that they have moved."""
        self._refused_s: dict[int, float] = {}
        """When the directory was last to be asked whether another host has a partition that is refused."""
        self._resolver: asyncio.Task[None] | None = None
        self._rerouter: asyncio.Task[None] | None = None
        self._rerouted_s = 0.0
        self._is_closed = False
        self._is_asked = asyncio.Event()
        self._reaper = self._loop.create_task(self._reap())

    # Sending

    def submit(self, partition: int, command: Command, key: str) -> asyncio.Future[Outcome]:
        """Send a command in order; the future gives its outcome (see `actors.ports.Gateway`)."""
        return self._send(partition, OPERATION_NAMES[type(command)], key, command)

    def query(self, partition: int, query: Query) -> asyncio.Future[Outcome]:
        """Ask the owner of a partition."""
        return self._send(partition, QUERY_NAMES[type(query)], None, query)

    def _send(self, partition: int, name: str, key: str | None, fields: Any) -> asyncio.Future[Any]:  # noqa: ANN401
        pending = Pending(next(self._ids), partition, name, key, fields)
        pending.future = self._loop.create_future()
        if self._is_closed:
            pending.future.set_exception(Unavailable("the gateway is closed; nothing happened"))
            return pending.future
        if not self.room.has_room(partition) and not (pending.ends_what_was_begun and self.room.has_any()):
            pending.future.set_exception(Overloaded(OVERLOADED_RETRY_MS))
            return pending.future
        pending.deadline_s = self._loop.time() + self._timeout_s
        self._pending[pending.id] = pending
        self._is_asked.set()
        lane = self._routes.get(partition)
        if lane is not None and lane.is_open and partition not in self._waiting:
            pending.goes(lane)
            lane.send(pending.id, partition, name, key, fields)
        else:
            self._park(pending)
        return pending.future

    def _park(self, pending: Pending) -> None:
        pending.goes(None)
        self._waiting.setdefault(pending.partition, []).append(pending)
        if self._resolver is None or self._resolver.done():
            self._resolver = self._loop.create_task(self._resolve())

    # Receiving

    def _receive(self, lane: Lane, request_id: int, status: int, answer: msgspec.Raw) -> None:
        pending = self._pending.get(request_id)
        if pending is None:
            self._controls.receive(request_id, status, answer)
            return
        if pending.lane is not lane and status in _OF_ITS_OWNER:
            return
        if status == Status.MOVED:
            if self._routes.get(pending.partition) is pending.lane:
                del self._routes[pending.partition]
                self._refuted[pending.partition] = self._placed[pending.partition]
            self._park(pending)
            return
        outcome = outcome_of(pending, status, answer)  # While it still waits: it may raise.
        pending.goes(None)
        lane.allowance.ended(self._loop.time(), is_overloaded=status == Status.OVERLOADED)
        del self._pending[request_id]
        if pending.future.done():
            return
        if isinstance(outcome, Exception):
            if isinstance(outcome, LedgerRefused):
                self._look_again(pending.partition)
            pending.future.set_exception(outcome)
        else:
            pending.future.set_result(outcome)

    def _look_again(self, partition: int) -> None:
        """Have the next request look whether another host has taken a refused partition, and serves it.

        Not each of them: the host that answers is asked at once, and the directory is a database.
        """
        now_s = self._loop.time()
        looked_s = self._refused_s.get(partition)
        if looked_s is None or now_s - looked_s >= _REFUSED_S:
            self._refused_s[partition] = now_s
            self._routes.pop(partition, None)

    def _lost(self, lane: Lane) -> None:
        """Send what a broken lane left unanswered again, in order, to whoever owns it now."""
        for partition in [partition for partition, route in self._routes.items() if route is lane]:
            del self._routes[partition]
        for pending in [pending for pending in self._pending.values() if pending.lane is lane]:
            pending.was_lost = True
            self._park(pending)
        self._controls.lost(lane)

    # Finding owners

    async def _resolve(self) -> None:
        while self._waiting:
            refuted = list(self._refuted)
            try:
                placements = await self._placements()
                if connecting := self._drain_all(placements):
                    await asyncio.wait(connecting, timeout=_RETRY_S)
                    self._drain_all(placements)
            except Exception as fault:  # noqa: BLE001 - whoever waits would wait in vain
                _log.error("gateway_failed", exc_info=fault)
            if self._waiting:
                await self._sleep(_RETRY_S)
                for partition in refuted:  # A host that takes a partition back has a right to be asked again.
                    self._refuted.pop(partition, None)

    async def _placements(self) -> list[Placement]:
        """Return what the directory says; nothing when it does not answer."""
        try:
            async with asyncio.timeout(_DIRECTORY_S_MAX):
                return await self._directory.placements()
        except (Unavailable, TimeoutError):
            return []

    def _drain_all(self, placements: list[Placement]) -> set[asyncio.Task[Lane | None]]:
        """Send what waits for partitions whose owner is connected; return the connections that are awaited.

        One that cannot be reached holds up nobody but those who want it.
        """
        connecting = set()
        for placement in placements:
            claim = (placement.host, placement.epoch)
            if placement.partition in self._waiting and self._refuted.get(placement.partition) != claim:
                lane = self._lanes.get(placement.address)
                if lane is not None:
                    self._placed[placement.partition] = claim
                    self._drain(placement.partition, lane)
                else:
                    connecting.add(self._lanes.opening(placement.address))
        return connecting

    def _drain(self, partition: int, lane: Lane) -> None:
        self._routes[partition] = lane
        for pending in sorted(self._waiting.pop(partition, ()), key=lambda pending: pending.id):
            if not pending.future.done():
                pending.goes(lane)
                lane.send(pending.id, partition, pending.name, pending.key, pending.fields)

    async def _reap(self) -> None:
        """Fail what has waited too long; look for a new owner when an answer is overdue.

        Deadlines rise with ids, so that only the oldest need a look.
        """
        while True:
            if not self._pending:
                self._is_asked.clear()
                await self._is_asked.wait()
            await self._sleep(0.1)
            try:
                self._look_at_oldest()
            except Exception as fault:  # noqa: BLE001 - nobody would be told of a deadline any more
                _log.error("gateway_failed", exc_info=fault)

    def _look_at_oldest(self) -> None:
        now_s = self._loop.time()
        while self._pending:
            pending = next(iter(self._pending.values()))
            if pending.deadline_s > now_s and not pending.future.done():
                is_overdue = pending.deadline_s - now_s < self._timeout_s - _OVERDUE_S
                is_rerouting = self._rerouter is not None and not self._rerouter.done()
                if is_overdue and now_s - self._rerouted_s > _OVERDUE_S and not is_rerouting:
                    self._rerouted_s = now_s
                    self._rerouter = self._loop.create_task(self._reroute())
                return
            self._give_up(pending)

    def _give_up(self, pending: Pending) -> None:
        del self._pending[pending.id]
        parked = self._waiting.get(pending.partition)
        if parked and pending in parked:
            parked.remove(pending)
            if not parked:
                del self._waiting[pending.partition]
        if not pending.future.done():
            pending.future.set_exception(late(pending))
        pending.goes(None)

    async def _reroute(self) -> None:
        """Send again what waits at a host that is not the owner any more, such as one that was replaced."""
        try:
            placements = await self._placements()
        except Exception as fault:  # noqa: BLE001 - it is tried again while an answer is overdue
            _log.error("gateway_failed", exc_info=fault)
            return
        moved = set()
        for placement in placements:
            route = self._routes.get(placement.partition)
            if route is not None and route.address != placement.address:
                del self._routes[placement.partition]
                moved.add(placement.partition)
        for pending in list(self._pending.values()):
            if pending.partition in moved and pending.lane is not None:
                pending.was_lost = True
                self._park(pending)

    # Hosts

    async def control(self, address: str, name: str, fields: Any, timeout_s: float = 30.0) -> Any:  # noqa: ANN401
        """Ask a host about itself; `timeout_s` is for the way there too. Raises Unavailable."""
        return await self._controls.ask(address, name, fields, timeout_s)

    async def flush(self) -> None:
        """Have every host write its snapshots. Raises Unavailable."""
        await self._controls.flush()

    async def hosts(self) -> list[dict[str, Any]]:
        """Return what each host that answers within 1 s says of itself. Raises Unavailable."""
        return await self._controls.describe()

    async def close(self) -> None:
        """Close all lanes; what is in flight fails."""
        self._is_closed = True
        tasks = [task for task in (self._reaper, self._resolver, self._rerouter) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._lanes.close()
        for pending in self._pending.values():
            if not pending.future.done():
                pending.future.set_exception(late(pending))
        self._controls.close()
        self._pending.clear()
        self._waiting.clear()

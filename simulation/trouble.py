"""Carries out a plan's faults, and puts the world in order again for the end of the run."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from persistence.ports import Unavailable
from simulation.bad_weather import BadWeather
from simulation.broadcast import CLOSED_S, BroadcastWeather
from simulation.network import Weather
from simulation.plan import SITE
from simulation.storage import StorageWeather, done

if TYPE_CHECKING:
    from simulation.launching import SimulatedHost
    from simulation.loop import Process
    from simulation.plan import Fault
    from simulation.world import World

_HOUR_MS = 3_600_000
_DEPOSED_AFTER_S = 0.5
_LONG_LULL_S = 13.0
_LULL_ODDS = 0.5
"""How often nothing more is asked for a while when a host goes on that was replaced."""


class Trouble:
    """Makes things go wrong in a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.counts: Counter[str] = Counter()
        """How often each fault met something that it could harm."""
        self.is_over = False
        self._paused: list[Process] = []
        self._bad_weather = BadWeather(world)

    def begin(self, fault: Fault) -> None:
        """Have a fault happen after the callbacks that it waits for."""
        self._world.loop.after_steps(fault.steps, lambda: self._strike(fault))

    def _strike(self, fault: Fault) -> None:
        strike = getattr(self, f"_{fault.kind}", self._bad_weather.strike)
        if not self.is_over and strike(fault) is not False:
            self.counts[fault.kind] += 1

    @property
    def is_under_way(self) -> bool:
        """Whether anything goes wrong now, or is held up by what went wrong."""
        world, now_s = self._world, self._world.loop.time()
        weathers = (world.network.weather, world.storage.weather, world.broadcast.weather)
        return (
            weathers != (Weather(), StorageWeather(), BroadcastWeather())
            or any(process.is_paused and process.is_alive for process in self._paused)
            or world.network.is_held
            or world.harming.is_ledger_harmed
            or any(until_s > now_s for until_s in world.storage.cut_off_until_s.values())
            or any(until_s > now_s for until_s in world.broadcast.stalled_until_s.values())
        )

    def end(self) -> None:
        """Let nothing go wrong any more."""
        self.is_over = True
        world = self._world
        world.network.weather = Weather()
        world.network.release()
        world.storage.weather = StorageWeather()
        world.storage.cut_off_until_s.clear()
        world.doomed_s.clear()
        world.broadcast.weather = BroadcastWeather()
        world.broadcast.stalled_until_s.clear()
        world.broadcast.on_cut = None
        for name in list(world.clock_ahead_ms):
            world.set_clock(name, 0)
        world.harming.restore()
        for process in self._paused:
            world.loop.go_on(process)
        self._paused.clear()

    def _host(self, fault: Fault) -> SimulatedHost | None:
        hosts = self._world.hosts
        return hosts[fault.target % len(hosts)] if hosts else None

    # Processes

    def _kill_host(self, fault: Fault) -> bool:
        host = self._host(fault)
        if host is not None:
            self._world.kill_host(host)
        return host is not None

    def _depose_host(self, fault: Fault, after_s: float = 0.0) -> bool:
        """Another host takes partitions whose owner lives and hears everything."""
        loop, target = self._world.loop, self._host(fault)
        others = [host for host in self._world.hosts if host is not target]
        owned = sorted(target.running.host.owned) if target is not None else []
        if others and owned:
            share = owned[: 1 + int(fault.size * len(owned))]
            taker = others[fault.steps % len(others)]
            self._world.loop.later(after_s, lambda: loop.spawn(taker.process, _take(taker, share)))
        return bool(others and owned)

    def _stall_streams(self, fault: Fault) -> bool:
        """What a host sends to the streams is on its way until after it was deposed."""
        host, world = self._host(fault), self._world
        if host is None or not self._depose_host(fault, _DEPOSED_AFTER_S):
            return False
        stalled_s = 2 * _DEPOSED_AFTER_S + fault.seconds
        world.broadcast.stalled_until_s[host.name] = world.loop.time() + stalled_s
        if fault.size < _LULL_ODDS:
            self._world.loop.later(stalled_s, self._world.lull)
        return True

    def _kill_stalled(self, fault: Fault) -> bool:
        """What a host sends to the streams is on its way until long after it was killed."""
        host, world = self._host(fault), self._world
        if host is None:
            return False
        stalled_s = _DEPOSED_AFTER_S + CLOSED_S * fault.size
        world.broadcast.stalled_until_s[host.name] = world.loop.time() + stalled_s
        world.loop.later(_DEPOSED_AFTER_S, lambda: world.kill_host(host))
        if fault.steps % 2:
            world.loop.later(stalled_s, lambda: world.lull(_LONG_LULL_S))
        return True

    def _hand_over(self, fault: Fault) -> bool:
        """A host gives some of its partitions to another, as when they are moved on purpose."""
        hosts, source = self._world.hosts, self._host(fault)
        others = [host for host in hosts if host is not source]
        if source is not None and others:
            owned = sorted(source.running.host.owned)
            share = owned[: 1 + int(fault.size * len(owned) / 2)]
            target = others[fault.steps % len(others)]
            self._world.loop.spawn(source.process, _give(source, share, target.address))
        return source is not None and bool(others) and bool(source.running.host.owned)

    def _wish(self, fault: Fault) -> None:
        """An administrator wants an SKU to have a host of its own, or not any more, or an even spread."""
        wishes = self._world.wishes
        isolated = done(wishes.wished()).isolated
        if isolated:
            done(wishes.join(isolated[0]))
        elif fault.size < 0.6:
            done(wishes.isolate((SITE, f"SKU-{fault.target % 7}")))
        else:
            done(wishes.spread(2 + fault.target % 2))

    def _kill_starting(self, fault: Fault) -> bool:
        """Kill a host, and the one that is started for it before that serves."""
        host = self._host(fault)
        if host is None:
            return False
        self._world.doomed_s += [0.6 * fault.size] * 2
        self._world.kill_host(host)
        return True

    def _pause(self, process: Process, seconds: float, woken: Callable[[], None]) -> None:
        loop = self._world.loop
        loop.pause(process)
        self._paused.append(process)

        def wake() -> None:
            if process.is_paused:
                woken()
                loop.go_on(process)

        self._world.loop.later(seconds, wake)

    def _pause_host(self, fault: Fault) -> bool:
        host = self._host(fault)
        if host is None:
            return False
        world, name = self._world, host.name

        def woken() -> None:
            if fault.seconds > CLOSED_S:
                host.streams.break_off()
            believed = host.running.host.owned
            if any(world.storage.database.partitions[number].host != name for number in believed):
                world.loop.effects["host woken after it was replaced"] += 1
                if fault.size < _LULL_ODDS:
                    self._world.lull()

        self._pause(host.process, fault.seconds, woken)
        return True

    def _pause_gateway(self, fault: Fault) -> bool:
        gateway = self._world.gateways[fault.target % len(self._world.gateways)]
        if gateway is None:
            return False
        self._pause(gateway.process, fault.seconds, lambda: None)
        return True

    def _pause_supervisor(self, fault: Fault) -> None:
        process, _ = self._world.supervisors[-1]
        self._pause(process, fault.seconds, lambda: None)

    def _kill_gateway(self, fault: Fault) -> bool:
        return self._world.kill_gateway(fault.target % len(self._world.gateways))

    def _kill_supervisor(self, _: Fault) -> None:
        self._world.loop.spawn(None, self._world.replace_supervisor())

    def _clock_steps(self, fault: Fault) -> bool:
        host = self._host(fault)
        if host is not None:
            self._step(host.name, fault)
        return host is not None

    def _gateway_clock_steps(self, fault: Fault) -> bool:
        gateway = self._world.gateways[fault.target % len(self._world.gateways)]
        if gateway is not None:
            self._step(gateway.process.name, fault)
        return gateway is not None

    def _step(self, name: str, fault: Fault) -> None:
        """Set a clock forth or back."""
        step_ms = _HOUR_MS if fault.size > 0.5 else -_HOUR_MS
        self._world.set_clock(name, self._world.clock_ahead_ms.get(name, 0) + step_ms)

    def _give_up(self, fault: Fault) -> bool:
        """A host ends in order, as when it is told to."""
        host = self._host(fault)
        if host is not None:
            self._world.loop.spawn(host.process, _stop(host))
        return host is not None

    # Connections and rows

    def _hold_network(self, fault: Fault) -> bool:
        host = self._host(fault)
        if host is not None:
            self._world.network.hold(host.name, fault.seconds * 2)
        return host is not None

    def _cut_off_host(self, fault: Fault) -> bool:
        """One host cannot reach the database; the others can."""
        host = self._host(fault)
        if host is None:
            return False
        until_s = self._world.loop.time() + fault.seconds * 3
        self._world.storage.cut_off_until_s[host.name] = until_s
        return True

    def _harm_snapshot(self, fault: Fault) -> bool:
        return self._world.harming.harm_snapshot(fault.target + fault.steps, fault.size)

    def _harm_ledger(self, fault: Fault) -> bool:
        """An entry is harmed while its owner dies; somebody puts it right later."""
        return self._world.harming.harm_ledger(fault.target + fault.steps, 1.0 + 2 * fault.seconds)


async def _take(host: SimulatedHost, partitions: list[int]) -> None:
    with contextlib.suppress(Unavailable):
        await host.running.take(partitions)


async def _give(host: SimulatedHost, partitions: list[int], address: str) -> None:
    with contextlib.suppress(Unavailable):
        await host.running.handing_over.hand_over(partitions, address)


async def _stop(host: SimulatedHost) -> None:
    await host.running.stop()
    await asyncio.sleep(0)

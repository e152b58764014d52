"""Faults of what lies between the processes: the network, the database and the streams behave badly."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulation.plan import Fault
    from simulation.world import World

_SAID_AGAIN_S = 0.2
"""For how long clients go on after bins were cut off: these change, and are told before the late messages."""


class BadWeather:
    """Has the world's weathers be bad."""

    def __init__(self, world: World) -> None:
        self._world = world

    def strike(self, fault: Fault) -> None:
        """Carry out a fault: each kind is a method."""
        getattr(self, f"_{fault.kind}")(fault)

    def _cut_connections(self, fault: Fault) -> None:
        odds = 0.005 + 0.1 * fault.size**2
        self._set_for(fault.seconds, self._world.network.weather, "cut_odds", odds)

    def _storage_down(self, fault: Fault) -> None:
        self._set_for(fault.seconds, self._world.storage.weather, "is_down", True)  # noqa: FBT003

    def _storage_slow(self, fault: Fault) -> None:
        self._set_for(fault.seconds, self._world.storage.weather, "jitter_s", 0.02 + 0.3 * fault.size)

    def _storage_fails(self, fault: Fault) -> None:
        self._set_for(fault.seconds, self._world.storage.weather, "fail_odds", 0.05 + 0.5 * fault.size)

    def _storage_loses_answers(self, fault: Fault) -> None:
        self._set_for(fault.seconds, self._world.storage.weather, "lose_odds", 0.05 + 0.4 * fault.size)

    def _streams_down(self, fault: Fault) -> None:
        broadcast = self._world.broadcast
        broadcast.weather.is_down = True

        def back() -> None:
            broadcast.weather.is_down = False
            broadcast.crash(keeps=1.0)

        self._world.loop.later(fault.seconds, back)

    def _streams_cut(self, fault: Fault) -> None:
        self._set_for(fault.seconds, self._world.broadcast.weather, "lose_odds", 0.2 + 0.5 * fault.size)
        if fault.target % 2:
            self._world.broadcast.on_cut = lambda: self._world.loop.later(_SAID_AGAIN_S, self._world.lull)

    def _streams_forget(self, fault: Fault) -> None:
        self._world.broadcast.crash(keeps=0.0 if fault.size < 0.3 else fault.size)

    def _set_for(self, seconds: float, weather: object, name: str, value: object) -> None:
        """Have a weather be bad for a while, and then as it is when nothing goes wrong."""
        setattr(weather, name, value)
        self._world.loop.later(seconds, lambda: setattr(weather, name, getattr(type(weather)(), name)))

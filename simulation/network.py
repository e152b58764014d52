"""Connections between processes: bytes arrive in order, late, in pieces, or the connection breaks.

A connection is TCP's promise and no more: what one end wrote arrives in order, once or not at all, and an end
may learn of a break after it has written much. Over several connections frames are doubled and change places:
who learns of a break sends again on another one, and what was on its way on the first arrives after that. A
paused process still accepts connections and takes bytes: its kernel does.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from simulation.loop import Process, SimulatedLoop

_PIECE_ODDS = 0.05
"""How often bytes arrive in two pieces."""
_LATE_ODDS = 0.5
_LATE_S_MAX = 1.5
"""How often, and how long after its sender learned of a break, a frame arrives that was sent in full."""


@dataclass(slots=True)
class Weather:
    """How the network behaves now."""

    latency_s: float = 0.0004
    jitter_s: float = 0.0006
    cut_odds: float = 0.0
    """That a write breaks its connection, after all, a part or none of its bytes have arrived."""


_WHEN = {0.0: "before a frame", 1.0: "after a frame"}


class Listener:
    """What `create_server` returns."""

    def __init__(self, network: "Network", port: int) -> None:
        self._network = network
        self.port = port
        self.sockets = (self,)

    def getsockname(self) -> tuple[str, int]:
        """Return (address, port)."""
        return ("127.0.0.1", self.port)

    def close(self) -> None:
        """Accept nothing more."""
        self._network.listening.pop(self.port, None)


class End(asyncio.Transport):
    """One end of a connection."""

    def __init__(self, network: "Network", process: Process | None, protocol: asyncio.BaseProtocol) -> None:
        super().__init__()
        self._network = network
        self._loop = network.loop
        self._process = process
        self._context = network.loop.within(process)
        self.protocol: Any = protocol
        self.other: End
        self._arrives_s = 0.0
        """When the last of what is on its way to this end arrives."""
        self._is_open = True
        self._is_reading = True
        self._unread: list[bytes] = []

    # What protocols call

    def write(self, data: bytes) -> None:  # type: ignore[override]
        """Send bytes to the other end."""
        if self._is_open and data:
            self._network.carry(self, bytes(data))

    def writelines(self, list_of_data: Any) -> None:  # noqa: ANN401 - asyncio's signature
        """Send bytes to the other end."""
        self.write(b"".join(list_of_data))

    def is_closing(self) -> bool:
        """Whether nothing can be written any more."""
        return not self._is_open

    def close(self) -> None:
        """Close after what was written has arrived."""
        self._network.part(self)

    def abort(self) -> None:
        """Close at once."""
        self._network.part(self)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Do nothing: what is on its way takes no room here."""

    def pause_reading(self) -> None:
        """Let bytes wait."""
        self._is_reading = False

    def resume_reading(self) -> None:
        """Take bytes again."""
        self._is_reading = True
        unread, self._unread = self._unread, []
        for data in unread:
            self.deliver(data)

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401, ARG002 - asyncio's
        """Return nothing."""
        return default

    # What the network calls

    def at(self, when_s: float, callback: Callable[..., object], *args: object) -> None:
        """Have something happen at this end, in its process."""
        self._arrives_s = max(self._arrives_s, when_s)
        self._loop.call_at(self._arrives_s, callback, *args, context=self._context)

    def deliver(self, data: bytes) -> None:
        """Hand bytes to the protocol."""
        if not self._is_open:
            return
        if self._is_reading:
            self.protocol.data_received(data)
        else:
            self._unread.append(data)

    def end(self, fault: Exception | None) -> None:
        """Tell the protocol that the connection is gone."""
        if self._is_open:
            self._is_open = False
            self.protocol.connection_lost(fault)

    def shut(self) -> bool:
        """Close this end from within; return whether it was open."""
        was_open, self._is_open = self._is_open, False
        return was_open


class Network:
    """Who listens, and how bytes travel."""

    def __init__(self, loop: SimulatedLoop, random: Random) -> None:
        self.loop = loop
        self.weather = Weather()
        self.listening: dict[int, tuple[Process | None, Callable[[], asyncio.BaseProtocol]]] = {}
        self.cuts = 0
        self._random = random
        self._ports = 20_000
        self._held_until_s: dict[str, float] = {}
        """Processes that nothing reaches or leaves until then."""

    def hold(self, name: str, seconds: float) -> None:
        """Let nothing from or to a process arrive for a while."""
        self._held_until_s[name] = self.loop.time() + seconds

    @property
    def is_held(self) -> bool:
        """Whether there is a process that nothing reaches or leaves now."""
        return any(until_s > self.loop.time() for until_s in self._held_until_s.values())

    def release(self) -> None:
        """Let everything arrive again."""
        self._held_until_s.clear()

    def delay_s(self, *processes: Process | None) -> float:
        """Return how long something takes now between these processes."""
        weather = self.weather
        delay_s = weather.latency_s + self._random.random() * weather.jitter_s
        if self._held_until_s:
            now_s = self.loop.time()
            for process in processes:
                if process is not None:
                    delay_s = max(delay_s, self._held_until_s.get(process.name, 0.0) - now_s + delay_s)
        return delay_s

    async def create_server(
        self, factory: Callable[[], asyncio.BaseProtocol], _host: str, port: int = 0
    ) -> Listener:
        """Listen, as `loop.create_server` does."""
        self._ports += 1
        port = port or self._ports
        process = self.loop.process()
        self.listening[port] = (process, factory)
        if process is not None:
            process.on_killed.append(partial(self._forget, port))
        return Listener(self, port)

    def _forget(self, port: int) -> None:
        self.listening.pop(port, None)

    async def create_connection(
        self, factory: Callable[[], asyncio.BaseProtocol], _host: str, port: int
    ) -> tuple[End, asyncio.BaseProtocol]:
        """Connect, as `loop.create_connection` does. Raises ConnectionRefusedError."""
        caller = self.loop.process()
        known = self.listening.get(port)
        await asyncio.sleep(self.delay_s(caller, known[0] if known else None))
        if self.listening.get(port) is not known or known is None:
            raise ConnectionRefusedError(f"nobody listens on port {port}")
        process, accept = known
        ours = End(self, caller, factory())
        theirs = End(self, process, asyncio.Protocol())
        ours.other, theirs.other = theirs, ours
        for end in (ours, theirs):
            if end._process is not None:
                end._process.on_killed.append(partial(self.part, end))
        theirs.at(self.loop.time(), _accept, theirs, accept)
        ours.protocol.connection_made(ours)
        return ours, ours.protocol

    def carry(self, sender: End, data: bytes) -> None:
        """Bring bytes to the other end, whole or in pieces, or break the connection."""
        receiver, random = sender.other, self._random
        arrives_s = self.loop.time() + self.delay_s(sender._process, receiver._process)
        if self.weather.cut_odds and random.random() < self.weather.cut_odds:
            self.cuts += 1
            share = random.choice((0.0, random.random(), 1.0))
            self.loop.effects["cut " + _WHEN.get(share, "within a frame")] += 1
            data = data[: int(len(data) * share)]
            fault = ConnectionResetError("the connection was cut")
            if share == 1.0 and random.random() < _LATE_ODDS:
                self.loop.effects["frame late, its sender has sent it again"] += 1
                receiver.at(arrives_s + random.random() * _LATE_S_MAX, receiver.deliver, data)
                receiver.at(arrives_s, receiver.end, fault)
                sender.at(self.loop.time() + self.delay_s(), sender.end, fault)
                return
            if data:
                receiver.at(arrives_s, receiver.deliver, data)
            receiver.at(arrives_s, receiver.end, fault)
            sender.at(self.loop.time() + self.delay_s() * random.choice((1, 1, 20)), sender.end, fault)
            return
        if len(data) > 1 and random.random() < _PIECE_ODDS:
            middle = random.randrange(1, len(data))
            receiver.at(arrives_s, receiver.deliver, data[:middle])
            receiver.at(arrives_s + self.delay_s(), receiver.deliver, data[middle:])
        else:
            receiver.at(arrives_s, receiver.deliver, data)

    def part(self, end: End) -> None:
        """Close a connection from one end; the other learns of it after what was written."""
        if end.shut():
            now_s = self.loop.time()
            end.at(now_s, end.protocol.connection_lost, None)
            other = end.other
            other.at(now_s + self.delay_s(end._process, other._process), other.end, None)


def _accept(end: End, factory: Callable[[], asyncio.BaseProtocol]) -> None:
    end.protocol = factory()
    end.protocol.connection_made(end)

"""The streams behind a network: they go away, take a message without saying so, and forget what they held.

Like JetStream, they sync now and then: after a crash the newest messages may be gone, and with them the
memory of which message ids were seen. What was sent on a connection that breaks may arrive after it was sent
again on the next one: late, and twice.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

from persistence.nats.subjects import ledger_subject
from persistence.ports import Message, Unavailable
from simulation.loop import SimulatedLoop
from simulation.storage import _fail, _give

CLOSED_S = 8.0
"""The server closes a connection on which it hears nothing for so long."""
_SYNC_S = 10.0
_LATE_S_MAX = 1.5
"""How much later than its sender learned of a break a message may arrive that was on its way."""


@dataclass(slots=True)
class BroadcastWeather:
    """How the streams behave now."""

    latency_s: float = 0.001
    jitter_s: float = 0.002
    lose_odds: float = 0.0
    """That a publish is cut off after some of its messages."""
    is_down: bool = False


class Speaker(NamedTuple):
    """Who sends a message."""

    host: str
    connection: int
    is_mending: bool = False
    """Whether it says again what others may have overwritten."""
    is_late: bool = False
    """Whether it has given up the connection on which the message was under way."""


class Broadcast:
    """The server: streams `STOCK` and `LEDGER`. `on_message` is told of what is stored, and who sent it."""

    def __init__(self, loop: SimulatedLoop, random: Random) -> None:
        self.loop = loop
        self.random = random
        self.weather = BroadcastWeather()
        self.stock: dict[str, bytes] = {}
        self.ledger: dict[str, list[Message]] = {}
        self.on_message: Callable[[Message, Speaker], None] = lambda *_: None
        self.stalled_until_s: dict[str, float] = {}
        """Hosts whose messages wait on their way until then, by name."""
        self.on_cut: Callable[[], None] | None = None
        """Where it is set, the next bins are on their way when the connection breaks; called once."""
        self.connections = 0
        self.epoch = 0
        """Rises when the server comes back: who published before has to look what is there."""
        self._seen: set[str] = set()
        self._stored_s: dict[str, float] = {}
        self._world = loop.within(None)

    def delay_s(self) -> float:
        """Return how long a message travels."""
        return self.weather.latency_s + self.random.random() * self.weather.jitter_s

    def later(self, act: Callable[..., object], *args: object, after_s: float = 0.0) -> None:
        """Have something happen on the server or on the way back."""
        self.loop.call_later(after_s + self.delay_s(), act, *args, context=self._world)

    def store(self, message: Message, speaker: Speaker) -> None:
        """Take a message; one whose id was seen is taken for a repeat."""
        if message.message_id is not None:
            if message.message_id in self._seen:
                self.loop.effects["stream message twice, and dropped"] += 1
                return
            self._seen.add(message.message_id)
        if message.subject.startswith("stock."):
            self.stock[message.subject] = message.payload
            self._stored_s[message.subject] = self.loop.time()
        else:
            self.ledger.setdefault(message.subject, []).append(message)
        self.on_message(message, speaker)

    def store_late(self, message: Message, speaker: Speaker) -> None:
        """Take a message from a connection that its sender has given up; messages stay in their order."""
        epoch = self.epoch

        def arrive() -> None:
            if self.epoch == epoch and not self.weather.is_down:
                self.loop.effects["stream message late, its sender has sent it again"] += 1
                self.store(message, speaker)

        self.loop.call_later(self._late_s(speaker.connection), arrive, context=self._world)

    def _late_s(self, connection: int) -> float:
        """Return how late a given-up connection's messages are: all alike."""
        return Random(connection).random() * _LATE_S_MAX

    def crash(self, *, keeps: float) -> None:
        """Lose all but a share of each partition's messages, and bins of what is lost."""
        for messages in self.ledger.values():
            kept = int(len(messages) * keeps)
            self.loop.effects["stream message forgotten"] += len(messages) - kept
            del messages[kept:]
        for subject in sorted(self.stock):
            is_synced = keeps and self.loop.time() - self._stored_s[subject] > _SYNC_S
            if not is_synced and self.random.random() > keeps:
                del self.stock[subject]
        self._seen.clear()
        self.epoch += 1


class RemoteStreams:
    """One host's connection to the streams."""

    def __init__(self, server: Broadcast, host: str) -> None:
        self._server = server
        server.connections += 1
        self._speaker = Speaker(host, server.connections)
        self._epoch = server.epoch

    async def publish(self, messages: Sequence[Message]) -> None:
        """See `Streams.publish`."""
        await self._ask(lambda: self._publish(tuple(messages), self._speaker))

    async def publish_mending(self, messages: Sequence[Message]) -> None:
        """Publish what others may have overwritten, on the same connection."""
        mending = self._speaker._replace(is_mending=True)
        await self._ask(lambda: self._publish(tuple(messages), mending))

    async def ledger_tails(self, partitions: Sequence[int]) -> dict[int, int]:
        """See `Streams.ledger_tails`."""
        tails: dict[int, int] = await self._ask(lambda: self._tails(partitions))
        return tails

    def start_over(self) -> None:
        """See `Streams.start_over`."""
        self._epoch = self._server.epoch

    def break_off(self) -> None:
        """Find the connection closed with the next request: the server heard nothing for too long."""
        self._epoch = -1

    async def _ask(self, act: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever it returns
        server = self._server
        answer = server.loop.create_future()

        def serve() -> None:
            if server.weather.is_down or self._epoch != server.epoch:
                server.later(_fail, answer, Unavailable("the streams are away, or were"))
                return
            try:
                result = act()
            except Unavailable as fault:
                server.later(_fail, answer, fault)
            else:
                server.later(_give, answer, result)

        stalled_s = server.stalled_until_s.get(self._speaker.host, 0.0) - server.loop.time()
        server.later(serve, after_s=max(0.0, stalled_s))
        return await answer

    def _publish(self, messages: Sequence[Message], speaker: Speaker) -> None:
        server = self._server
        most = len(messages)
        odds = server.weather.lose_odds
        on_cut = server.on_cut if messages and messages[0].subject.startswith("stock.") else None
        is_cut = on_cut is not None or (odds > 0 and server.random.random() < odds)
        if on_cut is not None:
            server.on_cut = None
            on_cut()
            most = 0
        elif is_cut:
            most = server.random.randint(0, most)
        for message in messages[:most]:
            server.store(message, speaker)
        if is_cut:
            if on_cut is not None or server.random.random() < 0.5:
                server.connections += 1
                late = speaker._replace(connection=server.connections, is_late=True)
                for message in messages[most:]:
                    server.store_late(message, late)
            raise Unavailable("the connection to the streams was cut")

    def _tails(self, partitions: Sequence[int]) -> dict[int, int]:
        server = self._server
        tails = {}
        for number in partitions:
            messages = server.ledger.get(ledger_subject(number))
            last = messages[-1].message_id if messages else None
            tails[number] = int(last.rpartition(":")[2]) if last is not None else 0
        return tails


class Mending:
    """A host's streams as who says bins again has them: what it publishes is known for that."""

    def __init__(self, streams: RemoteStreams) -> None:
        self._streams = streams

    async def publish(self, messages: Sequence[Message]) -> None:
        """See `Streams.publish`."""
        await self._streams.publish_mending(messages)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the port's method
        return getattr(self._streams, name)

"""What others may do to our streams and on our subjects, by a client of the same NATS."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import msgspec
import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import RetentionPolicy, StorageType, StreamConfig
from nats.js.client import JetStreamContext
from nats.js.errors import Error as JetStreamError
from nats.js.errors import NotFoundError

from tests.component.actors.world import PARTITIONS, World
from tests.fuzz.hostile_bytes import encode, hostile_value

_DEADLINE_S = 60.0
_LARGE_BYTES = 1_000_000
"""All but as much as NATS takes in one message."""


class Scene:
    """A world that broadcasts to a real NATS, a hostile client beside it, and what `LEDGER` holds."""

    def __init__(self, world: World, client: Client, rng: Random) -> None:
        self.world = world
        self.client = client
        self.stream: JetStreamContext = client.jetstream(timeout=5)
        self.rng = rng
        self.held: dict[int, set[int]] = defaultdict(set)
        self.thrown_away: dict[int, int] = defaultdict(int)
        """Up to where entries were thrown away on purpose, by partition."""
        self.afterwards: list[Callable[[], Awaitable[Any]]] = []
        """What ends the attack."""
        self._read_to = 0
        self._created: object = None

    def partition(self) -> int:
        return self.rng.randrange(PARTITIONS)

    def committed(self, partition: int) -> int:
        return len(self.world.database.partitions[partition].ledger)

    def throw_away(self) -> None:
        """Note that others have thrown away what the stream holds by now."""
        for partition in range(PARTITIONS):
            self.thrown_away[partition] = self.committed(partition)

    async def put(self, subject: str, payload: bytes, headers: dict[str, str] | None = None) -> None:
        with contextlib.suppress(JetStreamError, nats.errors.Error):
            await self.client.publish(subject, payload, headers=headers)

    async def delete(self, *names: str) -> None:
        for name in names:
            with contextlib.suppress(NotFoundError):
                await self.stream.delete_stream(name)

    async def add(self, **configuration: Any) -> None:
        """Make a stream as another program does, as soon as ours is not there."""
        async with asyncio.timeout(_DEADLINE_S):
            while True:
                try:
                    await self.stream.add_stream(StreamConfig(**configuration))
                except JetStreamError:  # The courier was faster.
                    await self.delete("LEDGER", "STOCK")
                else:
                    return

    async def update(self, **changes: Any) -> None:
        info = await self.stream.stream_info("LEDGER")
        with contextlib.suppress(JetStreamError):
            await self.stream.update_stream(info.config.evolve(**changes))

    async def look(self) -> bool:
        """Whether the stream holds everything that it must."""
        try:
            info = await self.stream.stream_info("LEDGER")
        except (JetStreamError, nats.errors.Error):
            return False
        if info.created != self._created:
            self._created, self._read_to = info.created, 0
            self.held.clear()
        while self._read_to < info.state.last_seq:
            self._read_to += 1
            try:
                message = await self.stream.get_msg("LEDGER", self._read_to)
                found = msgspec.msgpack.decode(message.data or b"")
                seqs = [entry["seq"] for entry in found["entries"]]
                self.held[found["partition"]].update(seqs)
            except (JetStreamError, msgspec.MsgspecError, TypeError, KeyError, ValueError, RecursionError):
                continue  # Garbage, or thrown away.
        return all(
            self.held[number].issuperset(range(self.thrown_away[number] + 1, self.committed(number) + 1))
            for number in range(PARTITIONS)
        )


async def _garbage_at_the_end(scene: Scene) -> None:
    rng = scene.rng
    for _ in range(rng.randrange(1, 20)):
        number = scene.partition()
        ids = [
            "",
            f"{number}:",
            f"{number}:abc",
            f"{number}:-3",
            f"{number}:999999999",
            f"{number}:7",
            "x:y:z",
        ]
        ids += [
            f"{number}:" + "9" * 5_000,
            f"{number}:\u0663",
            f"{number + 1}:5",
            f"{number}:1e3",
            f"{number}: 4",
        ]
        headers = {"Nats-Msg-Id": rng.choice(ids)}
        if rng.random() < 0.3:
            headers |= rng.choice(
                ({"Status": "404"}, {"Status": "503"}, {"Nats-Sequence": "x"}, {"Nats-Sequence": "-9"})
            )
        with contextlib.suppress(TypeError):
            payload = rng.choice((rng.randbytes(100), b"", encode(hostile_value(rng))))
            await scene.put(f"ledger.{number}", payload, rng.choice((headers, headers, None)))


async def _garbage_everywhere(scene: Scene) -> None:
    for number in range(500):
        subject = scene.rng.choice(
            ("ledger.x", "ledger.1.2", "ledger.999999", "stock.x", "stock.a.b.c.d", "ledger")
        )
        await scene.put(f"{subject}{number}", scene.rng.randbytes(50), {"Nats-Msg-Id": f"{number}"})


async def _flood_at_one_partition(scene: Scene) -> None:
    number = scene.partition()
    for _ in range(scene.rng.choice((150, 400))):
        await scene.put(f"ledger.{number}", b"x")


async def _as_large_as_can_be(scene: Scene) -> None:
    """Messages that a new owner's courier has to read to find its own: more together than may stay."""
    payload = scene.rng.randbytes(_LARGE_BYTES)
    for number in range(PARTITIONS):
        for _ in range(scene.rng.choice((4, 8))):
            await scene.put(f"ledger.{number}", payload)
    await scene.client.flush()
    for _ in range(2):  # Owners, one after another.
        await scene.world.hosts[0].take(list(range(PARTITIONS)))


async def _ids_in_advance(scene: Scene) -> None:
    for number in range(PARTITIONS):
        for ahead in range(1, 12):
            id_ = f"{number}:{scene.committed(number) + ahead}"
            await scene.put(f"ledger.{number}", b"not yours", {"Nats-Msg-Id": id_})


async def _deleted(scene: Scene) -> None:
    await scene.delete(scene.rng.choice(("LEDGER", "STOCK")))


async def _purged(scene: Scene) -> None:
    scene.throw_away()
    with contextlib.suppress(JetStreamError):
        await scene.stream.purge_stream("LEDGER")


async def _anothers_stream(scene: Scene) -> None:
    await scene.delete("LEDGER")
    subjects = scene.rng.choice((["ledger.>"], ["ledger.*"], [f"ledger.{scene.partition()}"], [">"]))
    if subjects == [">"]:
        await scene.delete("STOCK")
    await scene.add(
        name="OTHER",
        subjects=subjects,
        storage=StorageType.MEMORY,
        no_ack=subjects == [">"] or scene.rng.random() < 0.5,
    )
    scene.afterwards.append(lambda: scene.delete("OTHER"))


async def _under_our_name(scene: Scene) -> None:
    await scene.delete("LEDGER")
    changes = scene.rng.choice(
        [
            {"subjects": ["other.>"]},
            {"subjects": ["ledger.>"], "storage": StorageType.MEMORY},
            {"subjects": ["ledger.>"], "retention": RetentionPolicy.WORK_QUEUE},
            {"subjects": ["ledger.>"], "retention": RetentionPolicy.INTEREST},
            {"subjects": ["ledger.0", "ledger.1"], "max_msg_size": 10},
        ]
    )
    await scene.add(name="LEDGER", **changes)
    scene.afterwards.append(lambda: scene.delete("LEDGER"))


async def _reconfigured(scene: Scene) -> None:
    changes = scene.rng.choice(
        [{"max_msgs": 1}, {"max_msg_size": 10}, {"no_ack": True}, {"allow_direct": False}, {"max_bytes": 100},
         {"subjects": ["ledger.0"]}, {"subjects": ["elsewhere"]}, {"max_msgs_per_subject": 1}]
    )  # fmt: skip
    await scene.update(**changes)
    scene.afterwards.append(lambda: _heal(scene))


async def _heal(scene: Scene) -> None:
    """Have the courier meet the changed stream, and let go of what the change has thrown away."""
    scene.throw_away()
    await scene.delete("LEDGER")


async def _sealed(scene: Scene) -> None:
    await scene.update(sealed=True)
    scene.afterwards.append(lambda: scene.delete("LEDGER"))


_ECHOES = (b"", b"+OK", b"\xff", b'"error"', b'{"error":5}', b'{"error":{"description":"no"}}', b"[]", b"{}",
           b'{"stream":"LEDGER","seq":"x"}', b'{"stream":"LEDGER","seq":-1}', b'{"stream":"OTHER","seq":1}',
           b'{"stream":"LEDGER","seq":1,"duplicate":true}', b"[" * 100_000)  # fmt: skip


async def _others_answer(scene: Scene) -> None:
    """Programs that answer to each message on our subjects, as services do."""
    await _answering(scene, ["ledger.>", "stock.>"])


async def _in_jetstreams_place(scene: Scene) -> None:
    """A program that answers what only the server may."""
    await _answering(
        scene, ["$JS.API.STREAM.*.LEDGER", "$JS.API.STREAM.*.STOCK", "$JS.API.STREAM.MSG.GET.LEDGER"]
    )


async def _answering(scene: Scene, subjects: list[str]) -> None:
    async def answer(message: Msg) -> None:
        if message.reply:
            await scene.client.publish(message.reply, scene.rng.choice(_ECHOES))

    for subject in subjects:
        subscription = await scene.client.subscribe(subject, cb=answer)
        scene.afterwards.append(subscription.unsubscribe)
    await scene.client.flush()


KINDS: dict[str, Callable[[Scene], Awaitable[None]]] = {
    "garbage at a partition's end": _garbage_at_the_end,
    "garbage on thousands of subjects": _garbage_everywhere,
    "flood at one partition": _flood_at_one_partition,
    "messages as large as can be": _as_large_as_can_be,
    "ids of ours in advance": _ids_in_advance,
    "stream deleted": _deleted,
    "stream purged": _purged,
    "another's stream on our subjects": _anothers_stream,
    "another's stream under our name": _under_our_name,
    "stream reconfigured": _reconfigured,
    "stream sealed": _sealed,
    "others answer our messages": _others_answer,
    "others answer for JetStream": _in_jetstreams_place,
}

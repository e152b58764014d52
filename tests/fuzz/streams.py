"""Attacks the broadcast by NATS: garbage in our streams and on our subjects, streams that others change, make
under our name or delete, answers by others to what is ours.

Meanwhile stock operations are served; when the attack is over, the courier goes on by itself, and the
`LEDGER` stream holds every entry of the ledger, but for what somebody has thrown away on purpose. The memory
of this process, in which the host and its courier run, stays bounded.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import nats

from persistence.nats.streams import NatsStreams
from tests.component.actors.world import PARTITIONS, World, until
from tests.fuzz.stream_attacks import KINDS, Scene
from tests.fuzz.tally import Case, Tally
from tests.fuzz.target import MIB, MemoryWatch, own_memory_bytes
from tests.waiting import InVain

_DEADLINE_S = 60.0
_OPERATION_S_MAX = 20.0


@asynccontextmanager
async def broadcasting_world(url: str) -> AsyncIterator[World]:
    """Return a world whose hosts broadcast to a NATS server."""
    world = World()
    streams: Any = NatsStreams(url)
    world.streams = streams
    try:
        await world.host("first")
        yield world
        assert world.faults == []
    finally:
        await world.close()
        await streams.close()


async def fuzz_streams(tally: Tally, url: str) -> None:
    """Attack the courier of a world by its NATS server. Raises AssertionError."""

    async def silent(_: Exception) -> None:
        """What the hostile client meets is its own business."""

    client = await nats.connect(url, error_cb=silent)
    received = 0
    try:
        async with broadcasting_world(url) as world:
            scene = Scene(world, client, Random(0))
            await world.receive("TEA", 1)
            with MemoryWatch(own_memory_bytes) as memory:
                for case in tally.plan(list(KINDS)):
                    with tally.trying(case):
                        done, waited_s = await _attack(scene, case)
                    received += done
                    tally.count(case.kind, "nothing lost" + (", within 5 s" if waited_s < 5 else ", later"))
    finally:
        await client.close()
    tally.notes["stock operations meanwhile"] = received
    tally.notes["entries broadcast"] = sum(scene.committed(number) for number in range(PARTITIONS))
    tally.notes["memory"] = memory.check(growth_bytes_max=32 * MIB, peak_bytes_max=128 * MIB)


async def _attack(scene: Scene, case: Case) -> tuple[int, float]:
    """Carry out one attack; return how many operations were served, and how long the streams then took."""
    world = scene.world
    scene.rng = case.rng
    await KINDS[case.kind](scene)
    received = await _operate(world, case.rng)
    if case.rng.random() < 0.5:  # A new owner's courier looks where to go on.
        await world.hosts[0].take(list(range(PARTITIONS)))
    received += await _operate(world, case.rng)
    for end in scene.afterwards:
        await end()
    scene.afterwards.clear()
    began = asyncio.get_running_loop().time()
    await _until_all_is_there(scene)
    assert world.faults == [], world.faults
    return received, asyncio.get_running_loop().time() - began


async def _operate(world: World, rng: Random) -> int:
    """Change stock: NATS must not matter to it."""
    async with asyncio.timeout(_OPERATION_S_MAX):
        for _ in range(8):
            await world.receive(f"SKU-{rng.randrange(30)}", 3)
        await world.reserve(f"SKU-{rng.randrange(30)}", 1)
    return 9


async def _until_all_is_there(scene: Scene) -> None:
    async with asyncio.timeout(_DEADLINE_S):
        while True:
            await scene.world.receive("TEA", 1)  # The courier notices what others did when it has work.
            with contextlib.suppress(InVain):
                await until(lambda: not scene.world.hosts[0].courier.lag, 1.0)
                if await scene.look():
                    return

"""Attacks a caller of lanes: hosts that answer nonsense, too much, late, twice, or not at all.

Whatever a host does, every call ends within its deadline with an answer, or a fault that says what is known;
nothing is raised into the loop; and calls to a host that behaves are answered right all the while. The memory
of this process stays bounded: callers, evil hosts and the good one run in it.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import msgspec

from actors.frames import FRAME_BYTES_MAX, LANE_VERSION, FrameReader, frame
from actors.gateway import LaneGateway
from actors.outcomes import Answered, OutcomeUnknown, Overloaded, Unavailable
from actors.queries import ReadStock
from actors.requests import Status
from engine.commands import ReceiveStock
from engine.refusals import Refusal, Refused
from persistence.placement import Placement
from tests.component.actors.world import PARTITIONS, TOKEN, World
from tests.fuzz.hostile_bytes import damaged, deep, encode, hostile_value, plain_value, twisted
from tests.fuzz.neighbour import Neighbour, OneHost
from tests.fuzz.tally import Case, Tally
from tests.fuzz.target import MIB, MemoryWatch, own_memory_bytes

_TIMEOUT_S = 0.6
"""The gateway's deadline for each call."""
_LATE_S_MAX = 10.0
"""How long a call may take beyond it: the machine may be busy."""
_WELCOME = ["welcome", LANE_VERSION, "host"]
_EVIL = 3
"""The partition whose host is evil."""
_AT_ONCE = 8
_KNOWN = (Answered, Refused, Unavailable, OutcomeUnknown, Overloaded, ValueError)
"""How a call may end."""

Behave = Callable[[Random, asyncio.StreamWriter, list[Any]], Awaitable[None]]
"""What a host does with the requests of a frame, once it has said welcome."""


def _replies(requests: list[Any], status: int, answer: Any) -> bytes:
    return frame(encode([[request[0], status, answer] for request in requests]))


def _answers(make: Callable[[Random, list[Any]], bytes]) -> Behave:
    async def behave(rng: Random, writer: asyncio.StreamWriter, requests: list[Any]) -> None:
        writer.write(make(rng, requests))
        await writer.drain()

    return behave


async def _one_by_one(rng: Random, writer: asyncio.StreamWriter, requests: list[Any]) -> None:
    pause_s = rng.choice((0.0, 0.05))
    for byte in _replies(requests, Status.ANSWERED, {"on_hand": 1}):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(pause_s)


async def _hang_up(_: Random, writer: asyncio.StreamWriter, __: list[Any]) -> None:
    writer.transport.abort()


async def _never(_: Random, __: asyncio.StreamWriter, ___: list[Any]) -> None:
    """Say nothing."""


_WELCOMES: dict[str, Callable[[Random], bytes]] = {
    "garbage instead of a welcome": lambda rng: rng.randbytes(rng.randrange(1, 200)),
    "twisted welcome": lambda rng: frame(encode(twisted(rng, _WELCOME))),
    "damaged welcome": lambda rng: damaged(rng, frame(encode(_WELCOME))),
    "refused, then welcome": lambda _: frame(encode(["refused", 1, "no"])) + frame(encode(_WELCOME)),
    "welcome twice": lambda _: frame(encode(_WELCOME)) * 2,
    "welcome, then garbage": lambda rng: frame(encode(_WELCOME)) + rng.randbytes(rng.randrange(1, 200)),
    "half a welcome": lambda rng: frame(encode(_WELCOME))[: rng.randrange(12)],
    "no welcome": lambda _: b"",
    "welcome of billions": lambda rng: rng.choice((b"\xff" * 4, (FRAME_BYTES_MAX + 1).to_bytes(4, "big"))),
}
_BEHAVIOURS: dict[str, Behave] = {
    "any answer": _answers(
        lambda rng, asked: _replies(
            asked, rng.choice([*Status]), rng.choice((hostile_value, plain_value))(rng)
        )
    ),
    "any status": _answers(
        lambda rng, asked: _replies(asked, rng.choice((-1, 9, 99, 2**63, 2**64 - 1)), plain_value(rng))
    ),
    "refusal of any form": _answers(
        lambda rng, asked: _replies(
            asked, Status.REFUSED, twisted(rng, [str(Refusal.INSUFFICIENT_STOCK), {}], 1, plain_value)
        )
    ),
    "twisted replies": _answers(
        lambda rng, asked: frame(encode(twisted(rng, [[request[0], 0, {}] for request in asked], 2)))
    ),
    "damaged replies": _answers(lambda rng, asked: damaged(rng, _replies(asked, 0, {"on_hand": 1}))),
    "replies to others": _answers(
        lambda rng, asked: _replies([[rng.choice((0, -1, 2**63, one[0] + 1))] for one in asked], 0, {})
    ),
    "replies twice": _answers(lambda _, asked: _replies(asked, 0, {"on_hand": 1}) * 2),
    "moved for ever": _answers(lambda _, asked: _replies(asked, Status.MOVED, None)),
    "garbage": _answers(lambda rng, _: rng.randbytes(rng.randrange(1, 5_000))),
    "length of billions": _answers(lambda _, __: b"\xff\xff\xff\xff" + b"x" * 100),
    "billions of items": _answers(lambda _, __: frame(b"\xdd\xff\xff\xff\xff" + b"\x93\x00\x00\x00" * 50)),
    "millions of items": _answers(
        lambda _, __: frame(b"\xdd" + (1_000_000).to_bytes(4, "big") + b"\x93\x00\x00\x00" * 1_000_000)
    ),
    "deep nesting": _answers(
        lambda rng, asked: _replies(asked, rng.choice([*Status]), msgspec.Raw(deep(rng))) + frame(deep(rng))
    ),
    "byte by byte": _one_by_one,
    "hangs up": _hang_up,
    "says nothing": _never,
}


class EvilHost:
    """A host that says a right welcome, or a wrong one, and then behaves as it is told."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.welcome: Callable[[Random], bytes] = lambda _: frame(encode(_WELCOME))
        self.behave: Behave = _never
        self.address = ""
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        frames = FrameReader()
        has_said_hello = False
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                for payload in frames.feed(data):
                    if has_said_hello:
                        await self.behave(self.rng, writer, msgspec.msgpack.decode(payload))
                    else:
                        has_said_hello = True
                        writer.write(self.welcome(self.rng))
        writer.transport.abort()

    def stop(self) -> None:
        """Listen no more, and hang up."""
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()


class _Placed:
    """A directory in which one partition belongs to the evil host, all others to the good one."""

    def __init__(self, good: str, evil: str) -> None:
        self._placements = [
            Placement(number, *(("evil", evil) if number == _EVIL else ("good", good)), 1)
            for number in range(PARTITIONS)
        ]

    async def placements(self) -> list[Placement]:
        """See `Directory.placements`."""
        return self._placements


async def fuzz_hosts(tally: Tally, good: World) -> None:
    """Attack gateways, each by one of its hosts. Raises AssertionError."""
    raised: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context))
    address = good.hosts[0].address
    patient = LaneGateway(OneHost(address, PARTITIONS), TOKEN, PARTITIONS, timeout_s=30.0)
    neighbour = Neighbour(patient)
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(case: Case) -> None:
        async with turns:
            with tally.trying(case):
                endings = await _endings(address, case)
                assert raised == [], raised
            tally.count(case.kind, " and ".join(endings))

    try:
        with MemoryWatch(own_memory_bytes) as memory:
            async with asyncio.TaskGroup() as group:
                group.create_task(neighbour.keep_asking())
                async with asyncio.TaskGroup() as cases:
                    for case in tally.plan([*_WELCOMES, *_BEHAVIOURS]):
                        cases.create_task(one(case))
                neighbour.is_over = True
        assert raised == [], raised
        tally.notes["memory"] = memory.check(growth_bytes_max=48 * MIB, peak_bytes_max=128 * MIB)
        tally.notes["right answers to a neighbour"] = neighbour.answers
    finally:
        await patient.close()


async def _endings(good: str, case: Case) -> list[str]:
    """Call an evil host in all ways, and a good one by the same gateway; return how the calls ended."""
    evil = EvilHost(case.rng)
    evil.welcome = _WELCOMES.get(case.kind, evil.welcome)
    evil.behave = _BEHAVIOURS.get(case.kind, _never)
    await evil.start()
    gateway = LaneGateway(_Placed(good, evil.address), TOKEN, PARTITIONS, timeout_s=_TIMEOUT_S)
    calls = [
        gateway.submit(_EVIL, ReceiveStock("fuzz", "sku", "A", 1), f"{case.number}"),
        gateway.query(_EVIL, ReadStock("fuzz", "sku")),
        gateway.control(evil.address, "describe", None, timeout_s=_TIMEOUT_S),
        gateway.control(good, "ping", None),
    ]
    try:
        async with asyncio.timeout(_TIMEOUT_S + _LATE_S_MAX):
            changed, read, control, ping = await asyncio.gather(*calls, return_exceptions=True)
        for ended in (changed, read):
            assert isinstance(ended, _KNOWN), repr(ended)
        assert not isinstance(control, BaseException) or isinstance(control, Unavailable), repr(control)
        assert ping == list(range(PARTITIONS))
        assert not gateway._pending, "a request waits that has ended"
        return [type(changed).__name__, type(read).__name__]
    finally:
        evil.stop()
        await gateway.close()

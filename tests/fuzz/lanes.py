"""Attacks a bin host by its lanes: with and without the token, in form and without any.

Every case ends within a deadline: the peer is answered, refused, or cut off. Meanwhile the host lives, its
memory stays bounded, and a neighbour is served with right answers.
"""

import asyncio
import contextlib
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

import msgspec

from actors.frames import FRAME_BYTES_MAX, HELLO_BYTES_MAX, LANE_VERSION, frame
from actors.gateway import LaneGateway
from engine.commands import OPERATIONS
from engine.partitioning import partition_of
from tests.component.actors.world import PARTITIONS, TOKEN
from tests.fuzz.hostile_bytes import damaged, deep, encode, hostile_value, plain_value, twisted
from tests.fuzz.neighbour import Neighbour, OneHost
from tests.fuzz.tally import Case, Tally
from tests.fuzz.target import MIB, MemoryWatch, Target

_AT_ONCE = 24
_DEADLINE_S = 30.0
"""How long a case may take beyond the target's patience: the machine may be busy."""
_SENTINEL = 987_654_321
"""The id of the request that follows each attack: its answer shows that the lane is still served."""
_HELLO = ["binkeeper-lane", LANE_VERSION, TOKEN]


class Attack(NamedTuple):
    """What is sent on one lane."""

    chunks: list[bytes]
    has_hello: bool = True
    """Whether a right hello goes before."""
    may_enter: bool = False
    """Whether what is sent may be taken for a right hello."""
    pause_s: float = 0.0
    """How long to wait between chunks."""
    is_reset: bool = False
    """Whether the peer goes away without a word."""
    is_deaf: bool = False
    """Whether the peer reads no answers until it has sent all."""


def _framed(value: object) -> bytes:
    return frame(encode(value))


def _requests(rng: Random, count: int = 4) -> list[Any]:
    """Return requests as a right caller sends them."""
    made: list[Any] = []
    for number in range(count):
        sku = f"sku {rng.randrange(20)}"
        partition = partition_of("fuzz", sku, PARTITIONS)
        line = ["fuzz", sku, rng.randrange(1, 5)]
        name, fields = rng.choice(
            [
                ("receive", ["fuzz", sku, "A", 5, "lot", 1_900_000_000_000, "why"]),
                ("reserve", [[line], 60, None, False]),
                ("pick_stock", ["fuzz", sku, 1, None, None, None]),
                ("move", ["fuzz", sku, "A", "B", 1]),
                ("count", ["fuzz", sku, "A", 3, None, 1]),
                ("adjust", ["fuzz", sku, "A", -1, None, "broken"]),
                ("reserve_tentatively", [f"attempt {rng.random()}", 0, 1_900_000_000_000, [line]]),
                ("reserve_together", [f"attempt {rng.random()}", 7, [[1, 2]], [line]]),
                ("read_stock", ["fuzz", sku]),
                ("read_reservation", [rng.randrange(100), 1]),
                ("note", [rng.getrandbits(62)]),
                ("release", [rng.randrange(100), 1]),
            ]
        )
        key = None if name.startswith("read") else f"fuzz {rng.random()}"
        made.append([number, partition, name, key, fields])
    return made


def _any_operation(rng: Random) -> bytes:
    names = [*OPERATIONS, "read_stock", "take", "flush", "describe", "ping"]
    return _framed(
        [
            [n, rng.choice((0, 1, -1, 2**63)), rng.choice(names), rng.choice((None, "k", "")), fields]
            for n, fields in enumerate(plain_value(rng) for _ in range(5))
        ]
    )


def _control(rng: Random) -> bytes:
    partitions = [[], [-1], [9_999], [2**63], [0, 0], [0, "1"], [0.5], None, {}, list(range(100))]
    return _framed(
        [[1, -1, "take", None, rng.choice(partitions)], [2, -1, "ping", "key", hostile_value(rng)]]
    )


def _headed(first: int, count: int, item: bytes) -> bytes:
    """Return a frame of one list that begins with its count, whatever that is."""
    return frame(bytes([first]) + count.to_bytes(4, "big") + item)


def _lists_in_fields(rng: Random) -> bytes:
    """Return a reserve of a million lines, each as small as a line can be, or a command of as many fields."""
    items = b"\xdd" + (1_000_000).to_bytes(4, "big") + rng.choice((b"\x00", b"\x93\xa0\xa0\x01")) * 1_000_000
    fields = msgspec.Raw(rng.choice((b"\x91", b"")) + items)
    return _framed([[1, 0, rng.choice(("reserve", "receive", "reserve_together")), "k", fields]])


def _length(rng: Random, most: int) -> bytes:
    return rng.choice((most + 1, 2**31, 2**32 - 1, rng.randrange(most, 2**32))).to_bytes(4, "big")


def _one_by_one(data: bytes) -> list[bytes]:
    return [data[place : place + 1] for place in range(len(data))]


_ASKED = _framed([[_SENTINEL, -1, "ping", None, None]])

_STRANGERS: dict[str, Callable[[Random], Attack]] = {
    "garbage instead of a hello": lambda rng: Attack(
        [rng.randbytes(rng.randrange(1, 5_000))], has_hello=False
    ),
    "another protocol": lambda rng: Attack(
        [rng.choice((b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"INFO {}\r\n", b"\0" * 64))],
        has_hello=False,
    ),
    "damaged hello": lambda rng: Attack([damaged(rng, _framed(_HELLO))], has_hello=False, may_enter=True),
    "twisted hello": lambda rng: Attack([_framed(twisted(rng, _HELLO))], has_hello=False, may_enter=True),
    "wrong token": lambda rng: Attack(
        [_framed(["binkeeper-lane", LANE_VERSION, rng.choice(("", "x", TOKEN + "x", "\0", "é"))])] * 2,
        has_hello=False,
    ),
    "length of billions, no hello": lambda rng: Attack(
        [_length(rng, HELLO_BYTES_MAX) + b"x" * 1_000], has_hello=False
    ),
    "large hello": lambda rng: Attack(
        [frame(b"\x93\xae" + b"x" * rng.randrange(HELLO_BYTES_MAX, 2 * MIB))], has_hello=False
    ),
    "garbage before the hello": lambda rng: Attack(
        [rng.randbytes(rng.randrange(1, 50)) + _framed(_HELLO)], has_hello=False, may_enter=True
    ),
    "half a hello": lambda rng: Attack([_framed(_HELLO)[: rng.randrange(1, 20)]], has_hello=False),
    "hello byte by byte": lambda rng: Attack(
        _one_by_one(_framed(_HELLO)), has_hello=False, may_enter=True, pause_s=rng.choice((0.0, 0.01, 0.3))
    ),
    "silence": lambda _: Attack([], has_hello=False),
}
_CALLERS: dict[str, Callable[[Random], Attack]] = {
    "twisted requests": lambda rng: Attack([_framed(twisted(rng, _requests(rng), rng.randrange(1, 4)))]),
    "twisted fields": lambda rng: Attack(
        [
            _framed(
                [
                    [*head, twisted(rng, fields, rng.randrange(3), plain_value)]
                    for *head, fields in _requests(rng)
                ]
            )
        ]
    ),
    "damaged requests": lambda rng: Attack([damaged(rng, _framed(_requests(rng)))]),
    "any operation with any fields": lambda rng: Attack([_any_operation(rng)]),
    "questions about the host": lambda rng: Attack([_control(rng)]),
    "any value": lambda rng: Attack([_framed(hostile_value(rng))]),
    "garbage": lambda rng: Attack([rng.randbytes(rng.randrange(1, 5_000))]),
    "length of billions": lambda rng: Attack([_length(rng, FRAME_BYTES_MAX) + b"x" * 1_000]),
    "billions of items": lambda rng: Attack(
        [_headed(rng.choice((0xDD, 0xDF, 0xDB, 0xC6)), rng.choice((2**32 - 1, 20_001)), b"\x95\x00" * 100)]
    ),
    "deep nesting": lambda rng: Attack(
        [frame(deep(rng)), _framed([[1, 0, "reserve", "k", msgspec.Raw(deep(rng))]])]
    ),
    "half a frame": lambda rng: Attack([_framed(_requests(rng))[: -rng.randrange(1, 20)]]),
    "frame byte by byte": lambda rng: Attack(
        _one_by_one(_framed(_requests(rng, 1))), pause_s=rng.choice((0.0, 0.001, 0.1))
    ),
    "second hello": lambda _: Attack([_framed(_HELLO)]),
    "gone in the middle": lambda rng: Attack(
        [_framed(_requests(rng)), _framed(_requests(rng))[: rng.randrange(60)]], is_reset=True
    ),
}
_COSTLY: dict[str, Callable[[Random], Attack]] = {
    "millions of items": lambda rng: Attack(
        [_headed(0xDD, 5_000_000, rng.choice((b"\x95\x00\x00\xa0\xc0\x00", b"\x00")) * 5_000_000)]
    ),
    "a million items in a field": lambda rng: Attack([_lists_in_fields(rng)]),
    "answers that are not read": lambda _: Attack(
        [_framed([[n, 0, "x" * 490, None, 0] for n in range(20_000)])] * 9, is_deaf=True
    ),
    "largest frame": lambda rng: Attack([frame(rng.choice((b"\x00", b"\xc1", b"\x90")) * FRAME_BYTES_MAX)]),
}


async def fuzz_lanes(tally: Tally, target: Target, *, idle: int = 1_500) -> None:
    """Attack a host by its lanes. Raises AssertionError, or ends with the target."""
    gateway = LaneGateway(OneHost(target.lanes, PARTITIONS), TOKEN, PARTITIONS, timeout_s=30.0)
    neighbour = Neighbour(gateway, f"neighbour {tally.seed}")
    try:
        for _ in range(20):
            await neighbour.ask_about_all()
        with MemoryWatch(target) as memory:
            async with asyncio.TaskGroup() as group:
                group.create_task(neighbour.keep_asking())
                await _all_cases(tally, target)
                tally.count("idle connections", f"cut, {await _idle(target, idle):,} at once")
                neighbour.is_over = True
            await _is_at_rest(gateway, target)
        tally.notes["right answers to a neighbour"] = neighbour.answers
        tally.notes["memory"] = memory.check(growth_bytes_max=200 * MIB, peak_bytes_max=600 * MIB)
    finally:
        await gateway.close()


async def _all_cases(tally: Tally, target: Target) -> None:
    attacks = {**_STRANGERS, **_CALLERS, **_COSTLY}
    turns = asyncio.Semaphore(_AT_ONCE)
    costly = asyncio.Semaphore(1)

    async def one(case: Case) -> None:
        async with costly if case.kind in _COSTLY else turns:
            with tally.trying(case):
                async with asyncio.timeout(
                    target.patience_s + (3 if case.kind in _COSTLY else 1) * _DEADLINE_S
                ):
                    tally.count(case.kind, await _ending_of(attacks[case.kind](case.rng), target))

    cases = tally.plan([*_STRANGERS, *_CALLERS], list(_COSTLY))
    async with asyncio.TaskGroup() as group:
        for case in cases:
            group.create_task(one(case))


async def _ending_of(attack: Attack, target: Target) -> str:
    """Carry out one attack; return how the host ended it."""
    host, _, port = target.lanes.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        if attack.has_hello:
            writer.write(_framed(_HELLO))
            word, *_ = await _next_frame(reader)
            assert word == "welcome", word
        sending = asyncio.create_task(_send(writer, attack))
        if attack.is_deaf or attack.is_reset:
            await sending
        if attack.is_reset:
            return "gone"
        ending = await _until_it_ends(reader, writer, attack, target.patience_s)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        return ending
    except (ConnectionError, asyncio.IncompleteReadError):
        return "cut"
    finally:
        writer.transport.abort()


async def _send(writer: asyncio.StreamWriter, attack: Attack) -> None:
    with contextlib.suppress(ConnectionError):
        for chunk in attack.chunks:
            writer.write(chunk)
            await writer.drain()
            if attack.pause_s:
                await asyncio.sleep(attack.pause_s)
        if attack.chunks:
            writer.write(_ASKED)
            await writer.drain()


async def _until_it_ends(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, attack: Attack, patience_s: float
) -> str:
    """Return how the lane ended. What was sent may have swallowed the sentinel: it is then sent again."""
    has_entered = attack.has_hello
    again = asyncio.get_running_loop().call_later(3 * patience_s + 1, writer.write, _ASKED)
    while True:
        try:
            found = await _next_frame(reader)
        except BaseException:
            again.cancel()
            raise
        if not has_entered:
            if found[0] == "refused":
                assert await reader.read() == b"", "who is refused is cut off"
                return "refused"
            assert found[0] == "welcome", found
            assert attack.may_enter, "somebody entered without the token"
            has_entered = True
        elif any(request_id == _SENTINEL for request_id, _, _ in found):
            again.cancel()
            return "answered"


async def _next_frame(reader: asyncio.StreamReader) -> Any:
    """Return the next frame. Raises ConnectionError when there is none."""
    length = int.from_bytes(await reader.readexactly(4), "big")
    return msgspec.msgpack.decode(await reader.readexactly(length))


async def _idle(target: Target, count: int) -> int:
    """Open connections that say nothing, all at once; return when all of them are cut."""
    host, _, port = target.lanes.rpartition(":")
    opened = [await asyncio.open_connection(host, int(port)) for _ in range(count)]
    async with asyncio.timeout(target.patience_s + _DEADLINE_S):
        for reader, writer in opened:
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.transport.abort()
    return len(opened)


async def _is_at_rest(gateway: LaneGateway, target: Target) -> None:
    """Wait until the host has nothing left of the attacks."""
    async with asyncio.timeout(_DEADLINE_S):
        while (await gateway.control(target.lanes, "describe", None))["in_flight"]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)

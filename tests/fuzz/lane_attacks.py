"""What may be sent to a host on a lane, by peers with and without the token."""

from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

import msgspec

from actors.frames import FRAME_BYTES_MAX, HELLO_BYTES_MAX, LANE_VERSION, frame
from engine.commands import OPERATIONS
from engine.partitioning import partition_of
from tests.component.actors.world import PARTITIONS, TOKEN
from tests.fuzz.hostile_bytes import damaged, deep, encode, hostile_value, plain_value, twisted
from tests.fuzz.target import MIB

SENTINEL = 987_654_321
"""The id of the request that follows each attack: its answer shows that the lane is still served."""

HELLO = ["binkeeper-lane", LANE_VERSION, TOKEN, ""]


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


def framed(value: object) -> bytes:
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
    return framed(
        [
            [n, rng.choice((0, 1, -1, 2**63)), rng.choice(names), rng.choice((None, "k", "")), fields]
            for n, fields in enumerate(plain_value(rng) for _ in range(5))
        ]
    )


def _control(rng: Random) -> bytes:
    partitions = [[], [-1], [9_999], [2**63], [0, 0], [0, "1"], [0.5], None, {}, list(range(100))]
    return framed([[1, -1, "take", None, rng.choice(partitions)], [2, -1, "ping", "key", hostile_value(rng)]])


def _headed(first: int, count: int, item: bytes) -> bytes:
    """Return a frame of one list that begins with its count, whatever that is."""
    return frame(bytes([first]) + count.to_bytes(4, "big") + item)


def _lists_in_fields(rng: Random) -> bytes:
    """Return a reserve of a million lines, each as small as a line can be, or a command of as many fields."""
    items = b"\xdd" + (1_000_000).to_bytes(4, "big") + rng.choice((b"\x00", b"\x93\xa0\xa0\x01")) * 1_000_000
    fields = msgspec.Raw(rng.choice((b"\x91", b"")) + items)
    return framed([[1, 0, rng.choice(("reserve", "receive", "reserve_together")), "k", fields]])


def _length(rng: Random, most: int) -> bytes:
    return rng.choice((most + 1, 2**31, 2**32 - 1, rng.randrange(most, 2**32))).to_bytes(4, "big")


def _one_by_one(data: bytes) -> list[bytes]:
    return [data[place : place + 1] for place in range(len(data))]


ASKED = framed([[SENTINEL, -1, "ping", None, None]])

STRANGERS: dict[str, Callable[[Random], Attack]] = {
    "garbage instead of a hello": lambda rng: Attack(
        [rng.randbytes(rng.randrange(1, 5_000))], has_hello=False
    ),
    "another protocol": lambda rng: Attack(
        [rng.choice((b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"INFO {}\r\n", b"\0" * 64))],
        has_hello=False,
    ),
    "damaged hello": lambda rng: Attack([damaged(rng, framed(HELLO))], has_hello=False, may_enter=True),
    "twisted hello": lambda rng: Attack([framed(twisted(rng, HELLO))], has_hello=False, may_enter=True),
    "wrong token": lambda rng: Attack(
        [framed(["binkeeper-lane", LANE_VERSION, rng.choice(("", "x", TOKEN + "x", "\0", "é")), ""])] * 2,
        has_hello=False,
    ),
    "length of billions, no hello": lambda rng: Attack(
        [_length(rng, HELLO_BYTES_MAX) + b"x" * 1_000], has_hello=False
    ),
    "large hello": lambda rng: Attack(
        [frame(b"\x93\xae" + b"x" * rng.randrange(HELLO_BYTES_MAX, 2 * MIB))], has_hello=False
    ),
    "garbage before the hello": lambda rng: Attack(
        [rng.randbytes(rng.randrange(1, 50)) + framed(HELLO)], has_hello=False, may_enter=True
    ),
    "half a hello": lambda rng: Attack([framed(HELLO)[: rng.randrange(1, 20)]], has_hello=False),
    "hello byte by byte": lambda rng: Attack(
        _one_by_one(framed(HELLO)), has_hello=False, may_enter=True, pause_s=rng.choice((0.0, 0.01, 0.3))
    ),
    "silence": lambda _: Attack([], has_hello=False),
}

CALLERS: dict[str, Callable[[Random], Attack]] = {
    "twisted requests": lambda rng: Attack([framed(twisted(rng, _requests(rng), rng.randrange(1, 4)))]),
    "twisted fields": lambda rng: Attack(
        [
            framed(
                [
                    [*head, twisted(rng, fields, rng.randrange(3), plain_value)]
                    for *head, fields in _requests(rng)
                ]
            )
        ]
    ),
    "damaged requests": lambda rng: Attack([damaged(rng, framed(_requests(rng)))]),
    "any operation with any fields": lambda rng: Attack([_any_operation(rng)]),
    "questions about the host": lambda rng: Attack([_control(rng)]),
    "any value": lambda rng: Attack([framed(hostile_value(rng))]),
    "garbage": lambda rng: Attack([rng.randbytes(rng.randrange(1, 5_000))]),
    "length of billions": lambda rng: Attack([_length(rng, FRAME_BYTES_MAX) + b"x" * 1_000]),
    "billions of items": lambda rng: Attack(
        [_headed(rng.choice((0xDD, 0xDF, 0xDB, 0xC6)), rng.choice((2**32 - 1, 20_001)), b"\x95\x00" * 100)]
    ),
    "deep nesting": lambda rng: Attack(
        [frame(deep(rng)), framed([[1, 0, "reserve", "k", msgspec.Raw(deep(rng))]])]
    ),
    "half a frame": lambda rng: Attack([framed(_requests(rng))[: -rng.randrange(1, 20)]]),
    "frame byte by byte": lambda rng: Attack(
        _one_by_one(framed(_requests(rng, 1))), pause_s=rng.choice((0.0, 0.001, 0.1))
    ),
    "second hello": lambda _: Attack([framed(HELLO)]),
    "gone in the middle": lambda rng: Attack(
        [framed(_requests(rng)), framed(_requests(rng))[: rng.randrange(60)]], is_reset=True
    ),
}

COSTLY: dict[str, Callable[[Random], Attack]] = {
    "millions of items": lambda rng: Attack(
        [_headed(0xDD, 5_000_000, rng.choice((b"\x95\x00\x00\xa0\xc0\x00", b"\x00")) * 5_000_000)]
    ),
    "a million items in a field": lambda rng: Attack([_lists_in_fields(rng)]),
    "answers that are not read": lambda _: Attack(
        [framed([[n, 0, "x" * 490, None, 0] for n in range(20_000)])] * 9, is_deaf=True
    ),
    "largest frame": lambda rng: Attack([frame(rng.choice((b"\x00", b"\xc1", b"\x90")) * FRAME_BYTES_MAX)]),
}

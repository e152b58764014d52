"""Hostile values and bytes, by lot: what MessagePack and JSON can carry at worst, and what is neither."""

import copy
import math
from collections.abc import Callable
from random import Random
from typing import Any

import msgspec

encode = msgspec.msgpack.encode

_TEXTS = (
    "",
    "\0",
    "x" * 300,
    "x" * 70_000,
    "\u202e",
    "\U0010ffff",
    "../..",
    "'; --",
    "NaN",
    " ",
    "\ud7ff",
    "%00",
)
_NUMBERS = (0, -1, 1, 2**31, 2**53, 2**63 - 1, -(2**63), 2**64 - 1, 10_001)
_FLOATS = (math.nan, math.inf, -math.inf, -0.0, 1.5, 1e308, 3.0)
_RAW = (
    b"\xc1",  # never used
    b"\xa3\xff\xfe\xfd",  # a text that is no UTF-8
    b"\xdd\xff\xff\xff\xff",  # an array of four billion
    b"\xdc\xff\xff",
    b"\xdf\xff\xff\xff\xff",  # a map of four billion
    b"\xdb\xff\xff\xff\xff",  # a text of four billion bytes
    b"\xc6\xff\xff\xff\xff",  # the same, binary
    b"\xc9\xff\xff\xff\xff\x05",  # an extension of four billion bytes
    b"\xc7\x00\x00",
    b"\xd4\x7f\x00",  # extensions of unknown types
    b"\xd6\xff\xff\xff\xff\xff",  # a time
    b"\xd7\xff\xff\xff\xff\xff\xff\xff\xff\xff",  # a time that is none
    b"\x82\xa1a\x01\xa1a\x02",  # the same key twice
    b"\x81\xc0\x01",  # a key that is nil
    b"\x81\x90\x01",  # a key that is an array
    b"\xd9",
)


def deep(rng: Random, opener: bytes = b"") -> bytes:
    """Return arrays or maps within each other, up to a million deep."""
    return (opener or rng.choice((b"\x91", b"\x81\xa1a", b"\x81\x91"))) * rng.choice(
        (100, 1_000, 10_000, 1_000_000)
    )


def hostile_value(rng: Random, depth: int = 0) -> Any:
    """Return a value that nobody asked for; some are bytes of MessagePack as they are."""
    match rng.randrange(10 if depth < 3 else 6):
        case 0:
            return rng.choice(_TEXTS)
        case 1:
            return rng.choice(_NUMBERS)
        case 2:
            return rng.choice(_FLOATS)
        case 3:
            return rng.choice((None, True, False, b"", b"\xff" * 10, msgspec.msgpack.Ext(5, b"x")))
        case 4 | 5:
            return msgspec.Raw(rng.choice(_RAW))
        case 6 | 7:
            return [hostile_value(rng, depth + 1) for _ in range(rng.randrange(5))]
        case 8:
            return {rng.choice(_TEXTS): hostile_value(rng, depth + 1) for _ in range(rng.randrange(4))}
        case _:
            return msgspec.Raw(deep(rng)) if rng.random() < 0.2 else [0] * rng.choice((100, 10_001))


def plain_value(rng: Random) -> Any:
    """Return a value that nobody asked for, well-formed."""
    match rng.randrange(6):
        case 0:
            return rng.choice(_TEXTS)
        case 1 | 2:
            return rng.choice(_NUMBERS)
        case 3:
            return rng.choice(_FLOATS)
        case 4:
            return rng.choice((None, True, b"\xff", [], {}, {"site": 1}, msgspec.msgpack.Ext(5, b"x")))
        case _:
            return [rng.choice(_NUMBERS) for _ in range(rng.choice((1, 3, 20)))]


def twisted(rng: Random, value: Any, times: int = 1, another: Callable[[Random], Any] = hostile_value) -> Any:
    """Return a copy of lists within lists with some places changed: another value, arity or order."""
    made = copy.deepcopy(value)
    for _ in range(times):
        lists = [made] if isinstance(made, list) else []
        for found in lists:
            lists += [item for item in found if isinstance(item, list)]
        chosen = rng.choice([one for one in lists if one] or [made])
        place = rng.randrange(len(chosen))
        match rng.randrange(6):
            case 0:
                del chosen[place]
            case 1:
                chosen.insert(place, another(rng))
            case 2:
                chosen.append(copy.deepcopy(chosen[place]))
            case _:
                chosen[place] = another(rng)
        if not made:
            break
    return made


def damaged(rng: Random, data: bytes) -> bytes:
    """Return bytes with some lost, changed, doubled, or replaced by a length of billions."""
    made = bytearray(data)
    for _ in range(rng.randrange(1, 5)):
        place = rng.randrange(len(made) + 1)
        match rng.randrange(5):
            case 0:
                del made[place:]
            case 1:
                made[place:place] = rng.randbytes(rng.choice((1, 4, 100)))
            case 2:
                made[place : place + 5] = rng.choice(_RAW)
            case 3:
                made[place:place] = made[: rng.randrange(200)]
            case _ if place < len(made):
                made[place] ^= 1 << rng.randrange(8)
            case _:
                pass
    return bytes(made)

"""The form of what travels on a lane: frames of MessagePack behind a length, each a batch.

    frame    = length (4 bytes, big endian) + MessagePack
    hello    = ["binkeeper-lane", version, token, caller]  from the caller, first
    welcome  = ["welcome", version, host]                  or ["refused", why], and the lane closes
    requests = [[id, partition, operation, key, fields], ...]
    replies  = [[id, status, answer], ...]                 `actors.requests.Status`

`fields` is the command or query as an array, in the order of its named tuple. Everything is validated as it
is decoded; what does not fit gets `Status.MALFORMED` and changes nothing. The caller waits for the welcome.
A lane takes the place of an earlier one of the same caller, if that has a name.

A frame says how many items it has before they come: what has too many is refused by that number, since a
list of millions of nothings takes 30 times as much memory as its frame.
"""

import hashlib
from typing import Any

import msgspec

from actors.queries import QUERIES, Query
from engine.commands import OPERATIONS, Command, ReserveTogether
from engine.limits import LINES_MAX
from engine.refusals import Refusal

LANE_VERSION = 5
FRAME_BYTES_MAX = 32 * 1024 * 1024
HELLO_BYTES_MAX = 4_096
REQUESTS_PER_FRAME_MAX = 20_000
REPLIES_PER_FRAME_MAX = 20_000
_LENGTH_BYTES = 4
_BULKY_BYTES = 64 * 1024
"""Fields that are larger are looked at for lists that are too long, before they are decoded."""

RawRequest = tuple[int, int, str, str | None, msgspec.Raw]
RawReply = tuple[int, int, msgspec.Raw]


class Hello(msgspec.Struct, array_like=True, frozen=True):
    """What a caller says first. Of another version it may be shorter or longer: its sender is told so."""

    magic: str
    version: int
    token: str
    caller: str = ""


_encoder = msgspec.msgpack.Encoder()
_list_decoder = msgspec.msgpack.Decoder(list[msgspec.Raw])
_requests_decoder = msgspec.msgpack.Decoder(list[RawRequest])
_replies_decoder = msgspec.msgpack.Decoder(list[RawReply])
_hello_decoder = msgspec.msgpack.Decoder(Hello)
_decoders: dict[str, msgspec.msgpack.Decoder[Any]] = {
    name: msgspec.msgpack.Decoder(type_) for name, type_ in {**OPERATIONS, **QUERIES}.items()
}
_view_decoder = msgspec.msgpack.Decoder()
_refusal_decoder = msgspec.msgpack.Decoder(tuple[Refusal, dict[str, Any]])
_HASHES = {name: hashlib.blake2b(digest_size=8, key=name.encode()) for name in _decoders}
"""Hashes that have taken in an operation's name: a copy and the rest take half the time of a new one."""

encode = _encoder.encode
"""Encode a value as MessagePack."""
decode_hello = _hello_decoder.decode
"""Decode a hello; raises msgspec.MsgspecError."""
decode_view = _view_decoder.decode
"""Decode an answer into plain values; raises one of UNREADABLE."""
decode_refusal = _refusal_decoder.decode
"""Decode a refusal into its code and fields; raises one of UNREADABLE."""


class FrameTooLarge(Exception):
    """The peer announced a frame, or so many items in one, beyond the limit; the lane is closed."""


UNREADABLE = (FrameTooLarge, msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding raises when a peer sends what is none of these frames."""


def decode_requests(payload: bytes) -> list[RawRequest]:
    """Decode a frame of requests. Raises one of UNREADABLE."""
    if _items_in(payload) > REQUESTS_PER_FRAME_MAX:
        raise FrameTooLarge
    return _requests_decoder.decode(payload)


def decode_replies(payload: bytes) -> list[RawReply]:
    """Decode a frame of replies. Raises one of UNREADABLE."""
    if _items_in(payload) > REPLIES_PER_FRAME_MAX:
        raise FrameTooLarge
    return _replies_decoder.decode(payload)


def _items_in(data: bytes | memoryview) -> int:
    """Return how many items an array in MessagePack says that it has; 0 for what is no array."""
    first = data[0] if data else 0
    if first in (0xDC, 0xDD):
        return int.from_bytes(data[1 : 3 if first == 0xDC else 5], "big")
    return first & 0x0F if first & 0xF0 == 0x90 else 0


def _has_too_many_items(fields: msgspec.Raw) -> bool:
    """Whether a command's fields, or the items of one of them, are more than any command has."""
    if _items_in(memoryview(fields)) > LINES_MAX:
        return True
    return any(_items_in(memoryview(field)) > LINES_MAX for field in _list_decoder.decode(fields))


def decode_command(name: str, fields: msgspec.Raw) -> Command | Query:
    """Return a command or query. Raises one of UNREADABLE or KeyError for what does not fit."""
    if memoryview(fields).nbytes > _BULKY_BYTES and _has_too_many_items(fields):
        raise FrameTooLarge(f"a list of more than {LINES_MAX} items")
    command: Command | Query = _decoders[name].decode(fields)
    return command


def fingerprint_of(command: Command | Query, name: str, partition: int, fields: msgspec.Raw) -> int:
    """Return a 63-bit hash of a command's body, to tell a repeat from a key that is used again.

    The partition is part of it: two partitions may have reservations of the same number and instant.
    """
    if type(command) is ReserveTogether:
        return command.fingerprint
    hash_ = _HASHES[name].copy()
    hash_.update(fields)
    return int.from_bytes(hash_.digest(), "big") >> 1 ^ partition


def frame(payload: bytes) -> bytes:
    """Return a payload with its length in front."""
    return len(payload).to_bytes(_LENGTH_BYTES, "big") + payload


def frames_of(items: list[Any]) -> list[bytes]:
    """Return frames that carry requests or replies in order: one, unless it would be beyond the limits."""
    if len(items) <= REPLIES_PER_FRAME_MAX:
        payload = encode(items)
        if len(payload) <= FRAME_BYTES_MAX or len(items) == 1:
            return [frame(payload)]
    middle = len(items) // 2
    return frames_of(items[:middle]) + frames_of(items[middle:])


class FrameReader:
    """Cuts a stream of bytes into payloads."""

    __slots__ = ("_buffer", "bytes_max")

    def __init__(self, bytes_max: int = FRAME_BYTES_MAX) -> None:
        self._buffer = bytearray()
        self.bytes_max = bytes_max

    @property
    def is_within_a_frame(self) -> bool:
        """Whether a frame has begun that is not complete."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes as they came; return the payloads that are complete. Raises FrameTooLarge."""
        buffer = self._buffer
        buffer += data
        payloads = []
        start = 0
        while len(buffer) - start >= _LENGTH_BYTES:
            length = int.from_bytes(buffer[start : start + _LENGTH_BYTES], "big")
            if length > self.bytes_max:
                raise FrameTooLarge
            end = start + _LENGTH_BYTES + length
            if len(buffer) < end:
                break
            payloads.append(bytes(buffer[start + _LENGTH_BYTES : end]))
            start = end
        if start:
            del buffer[:start]
        return payloads

"""The form of what travels on a lane: frames of MessagePack behind a length, each a batch.

    frame    = length (4 bytes, big endian) + MessagePack
    hello    = ["binkeeper-lane", version, token]          from the caller, first
    welcome  = ["welcome", version, host]                  or ["refused", why], and the lane closes
    requests = [[id, partition, operation, key, fields], ...]
    replies  = [[id, status, answer], ...]                 `actors.requests.Status`

`fields` is the command or query as an array, in the order of its named tuple. Everything is validated as it
is decoded; what does not fit gets `Status.MALFORMED` and changes nothing.
"""

import hashlib
from typing import Any

import msgspec

from actors.queries import QUERIES, Query
from engine.commands import OPERATIONS, Command, ReserveTogether

LANE_VERSION = 3
FRAME_BYTES_MAX = 32 * 1024 * 1024
REQUESTS_PER_FRAME_MAX = 20_000
_LENGTH_BYTES = 4

RawRequest = tuple[int, int, str, str | None, msgspec.Raw]
RawReply = tuple[int, int, msgspec.Raw]

_encoder = msgspec.msgpack.Encoder()
_requests_decoder = msgspec.msgpack.Decoder(list[RawRequest])
_replies_decoder = msgspec.msgpack.Decoder(list[RawReply])
_hello_decoder = msgspec.msgpack.Decoder(tuple[str, int, str])
_decoders: dict[str, msgspec.msgpack.Decoder[Any]] = {
    name: msgspec.msgpack.Decoder(type_) for name, type_ in {**OPERATIONS, **QUERIES}.items()
}
_view_decoder = msgspec.msgpack.Decoder()
_HASHES = {name: hashlib.blake2b(digest_size=8, key=name.encode()) for name in _decoders}
"""Hashes that have taken in an operation's name: a copy and the rest take half the time of a new one."""

encode = _encoder.encode
"""Encode a value as MessagePack."""
decode_requests = _requests_decoder.decode
"""Decode a frame of requests; raises msgspec.MsgspecError."""
decode_replies = _replies_decoder.decode
"""Decode a frame of replies; raises msgspec.MsgspecError."""
decode_hello = _hello_decoder.decode
"""Decode a hello; raises msgspec.MsgspecError."""
decode_view = _view_decoder.decode
"""Decode an answer into plain values."""


class FrameTooLarge(Exception):
    """The peer announced a frame beyond the limit; the lane is closed."""


def decode_command(name: str, fields: msgspec.Raw) -> Command | Query:
    """Return a command or query. Raises msgspec.MsgspecError or KeyError for what does not fit."""
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
    """Return frames that carry requests or replies in order: one, unless it would be beyond the limit."""
    payload = encode(items)
    if len(payload) <= FRAME_BYTES_MAX or len(items) == 1:
        return [frame(payload)]
    middle = len(items) // 2
    return frames_of(items[:middle]) + frames_of(items[middle:])


class FrameReader:
    """Cuts a stream of bytes into payloads."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes as they came; return the payloads that are complete. Raises FrameTooLarge."""
        buffer = self._buffer
        buffer += data
        payloads = []
        start = 0
        while len(buffer) - start >= _LENGTH_BYTES:
            length = int.from_bytes(buffer[start : start + _LENGTH_BYTES], "big")
            if length > FRAME_BYTES_MAX:
                raise FrameTooLarge
            end = start + _LENGTH_BYTES + length
            if len(buffer) < end:
                break
            payloads.append(bytes(buffer[start + _LENGTH_BYTES : end]))
            start = end
        if start:
            del buffer[:start]
        return payloads

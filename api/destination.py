"""Where a request goes, as far as it can be told without taking the request apart: partitions that it names.

Nothing is validated. Whatever cannot be told is told as nowhere, and goes the usual way.
"""

from collections.abc import Set as AbstractSet
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import Struct

from engine.partitioning import partition_of, reservation_address

_BODY_BYTES_MAX = 16 * 1024
"""What is larger is not looked into: it would cost what a refusal is to spare."""
_READ_AT_OWNERS = frozenset((b"stock", b"explain"))
_NOWHERE: AbstractSet[int] = frozenset()


class _Line(Struct, frozen=True):
    site: str
    sku: str


class _Body(Struct, frozen=True):
    site: str | None = None
    sku: str | None = None
    lines: tuple[_Line, ...] | None = None


_JSON = msgspec.json.Decoder(_Body)
_MSGPACK = msgspec.msgpack.Decoder(_Body)


def partitions_named(path: bytes, body: bytes, partitions: int, *, is_msgpack: bool) -> AbstractSet[int]:
    """Return the partitions of the stock, or of the reservation's home, that a request names."""
    segments = path.split(b"/")[2:]
    if segments[0] == b"reservations" and len(segments) > 1:
        address = reservation_address(segments[1].decode("latin-1"))
        return _NOWHERE if address is None else {address.partition}
    try:
        if body:
            return _in_body(body, partitions, is_msgpack=is_msgpack)
        if segments[0] in _READ_AT_OWNERS and len(segments) > 2:
            site, sku = (unquote_to_bytes(segment).decode() for segment in segments[1:3])
            return {partition_of(site, sku, partitions)}
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        pass
    return _NOWHERE


def _in_body(body: bytes, partitions: int, *, is_msgpack: bool) -> AbstractSet[int]:
    """Return the partitions of the SKUs in a body.

    Raises msgspec.DecodeError, UnicodeError or RecursionError.
    """
    if len(body) > _BODY_BYTES_MAX:
        return _NOWHERE
    named = (_MSGPACK if is_msgpack else _JSON).decode(body)
    if named.lines is not None:
        return {partition_of(line.site, line.sku, partitions) for line in named.lines}
    if named.site is None or named.sku is None:
        return _NOWHERE
    return {partition_of(named.site, named.sku, partitions)}

"""Which partition a SKU lies in, and the id that says which partition a reservation lies in."""

import hashlib
import uuid
from functools import lru_cache
from typing import NamedTuple

from engine.limits import PARTITIONS_MAX


@lru_cache(maxsize=10_000)
def partition_of(site: str, sku: str, partitions: int) -> int:
    """Return the partition of all bins of a SKU at a site: stable for ever, from 0 to `partitions - 1`."""
    digest = hashlib.blake2b(f"{site}\x00{sku}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % partitions


def partition_of_key(key: str, partitions: int) -> int:
    """Return the partition that notes a request of many operations: stable for ever, as `partition_of`."""
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % partitions


class ReservationAddress(NamedTuple):
    """Where a reservation lies: what its public id says."""

    partition: int
    number: int
    """Sequence number of the reservation's first entry."""
    opened_at_ms: int


_NUMBER_BITS = 58
_NUMBER_END = 1 << _NUMBER_BITS


def reservation_id(partition: int, number: int, opened_at_ms: int) -> str:
    """Return the public id: a UUIDv7 (RFC 9562) whose random bits hold the partition and the number.

    It sorts by time, is unique because (partition, number) is, and is routed without a look-up.
    """
    assert 0 <= partition < PARTITIONS_MAX
    assert 0 < number < _NUMBER_END
    return f"{_instant(opened_at_ms)}{_place(partition, number >> 48)}{number & 0xFFFFFFFFFFFF:012x}"


@lru_cache(maxsize=64)
def _instant(opened_at_ms: int) -> str:
    """Return the 48 bits of the time. Many reservations are made in a millisecond."""
    return f"{opened_at_ms >> 16 & 0xFFFFFFFF:08x}-{opened_at_ms & 0xFFFF:04x}"


@lru_cache(maxsize=4_096)
def _place(partition: int, high: int) -> str:
    """Return version, partition, variant and the upper 10 bits of the number."""
    return f"-7{partition & 0xFFF:03x}-{0x8000 | (partition >> 12) << 10 | high:04x}-"


def reservation_address(public_id: str) -> ReservationAddress | None:
    """Return what an id says, or None when it cannot be one of ours."""
    try:
        value = uuid.UUID(public_id)
    except ValueError:
        return None
    if value.version != 7 or value.variant != uuid.RFC_4122:
        return None
    high, low = value.int >> 64, value.int & (1 << 64) - 1
    low &= (1 << 62) - 1
    number = low & (1 << _NUMBER_BITS) - 1
    partition = (low >> _NUMBER_BITS) << 12 | high & 0xFFF
    return ReservationAddress(partition, number, high >> 16) if number else None

"""Where a SKU lies, and ids that say where a reservation lies."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.limits import PARTITIONS_MAX
from engine.partitioning import (
    ReservationAddress,
    partition_of,
    partition_of_key,
    reservation_address,
    reservation_id,
)
from tests.unit.engine.desk import NOON_MS


@pytest.mark.parametrize("site, sku, partitions, expected", [
    ("LDN", "85123A", 256, 214),
    ("LDN", "tea", 256, 141),
    ("LDN", "tea", 16, 13),
    ("Zürich", "Käse/β *>", 256, 118),
    ("", "", 256, 72),
    ("a" * 64, "b" * 64, 65_536, 38487),
])  # fmt: skip
def test_a_sku_lies_in_the_same_partition_for_ever(
    site: str, sku: str, partitions: int, expected: int
) -> None:
    assert partition_of(site, sku, partitions) == expected


@pytest.mark.parametrize("key, partitions, expected", [
    ("k1", 256, 32),
    ("order-1001", 256, 167),
    ("k1", 16, 0),
])  # fmt: skip
def test_a_key_is_noted_in_the_same_partition_for_ever(key: str, partitions: int, expected: int) -> None:
    assert partition_of_key(key, partitions) == expected


def test_site_and_sku_are_told_apart() -> None:
    assert partition_of("a", "bc", 65_536) != partition_of("ab", "c", 65_536)


def test_skus_are_spread_over_all_partitions() -> None:
    counts = [0] * 256
    for number in range(25_600):
        counts[partition_of("LDN", f"sku-{number}", 256)] += 1
    assert 50 < min(counts) <= max(counts) < 150


@given(
    partition=st.integers(0, PARTITIONS_MAX - 1),
    number=st.integers(1, 2**58 - 1),
    at_ms=st.integers(0, 2**48 - 1),
)
def test_an_id_says_where_its_reservation_lies(partition: int, number: int, at_ms: int) -> None:
    public_id = reservation_id(partition, number, at_ms)
    assert reservation_address(public_id) == ReservationAddress(partition, number, at_ms)
    parsed = uuid.UUID(public_id)
    assert str(parsed) == public_id
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)


def test_the_layout_of_an_id_is_permanent() -> None:
    assert reservation_id(0xABCD, 0x123456789, 0x0191_2345_6789) == "01912345-6789-7bcd-a800-000123456789"


def test_ids_sort_by_time() -> None:
    ids = [
        reservation_id(partition, 99 - step, NOON_MS + step)
        for step, partition in enumerate((65_535, 7, 256))
    ]
    assert ids == sorted(ids)


@pytest.mark.parametrize("text", [
    "", "x", "01912345-6789-7bcd-a800", str(uuid.UUID(int=0)), "f47ac10b-58cc-4372-a567-0e02b2c3d479",
    "01912345-6789-7bcd-2800-000123456789", "01912345-6789-7bcd-8000-000000000000",
])  # fmt: skip
def test_what_cannot_be_one_of_our_ids_has_no_address(text: str) -> None:
    assert reservation_address(text) is None


def test_an_id_has_room_for_every_partition_and_no_more() -> None:
    with pytest.raises(AssertionError):
        reservation_id(PARTITIONS_MAX, 1, NOON_MS)
    with pytest.raises(AssertionError):
        reservation_id(0, 0, NOON_MS)

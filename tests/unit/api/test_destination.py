"""Where a request goes, told without taking it apart."""

import json
from typing import Any

import msgspec
import pytest

from api.destination import partitions_named
from engine.partitioning import partition_of, reservation_id

_PARTITIONS = 64


def _at(*skus: str) -> set[int]:
    return {partition_of("berlin", sku, _PARTITIONS) for sku in skus}


def _line(sku: str) -> dict[str, Any]:
    return {"site": "berlin", "sku": sku, "quantity": 1}


@pytest.mark.parametrize("is_msgpack", [False, True])
@pytest.mark.parametrize(
    "body, expected",
    [
        (_line("apple"), _at("apple")),
        ({"lines": [_line("apple"), _line("pear")], "ttl_s": 5}, _at("apple", "pear")),
        ({"lines": []}, set()),
        ({"site": "berlin"}, set()),
        ({"site": 5, "sku": "apple"}, set()),
        ({"operations": [_line("apple")]}, set()),
        ([1], set()),
    ],
)
def test_stock_that_a_body_names_says_where_it_goes(
    *, body: object, expected: set[int], is_msgpack: bool
) -> None:
    data = msgspec.msgpack.encode(body) if is_msgpack else json.dumps(body).encode()
    assert partitions_named(b"/v1/reservations", data, _PARTITIONS, is_msgpack=is_msgpack) == expected


@pytest.mark.parametrize(
    "path, expected",
    [
        (b"/v1/reservations/" + reservation_id(7, 3, 1_700_000_000_000).encode(), {7}),
        (b"/v1/reservations/" + reservation_id(7, 3, 1_700_000_000_000).encode() + b"/pick", {7}),
        (b"/v1/reservations/nonsense/pick", set()),
        (b"/v1/reservations/\xff", set()),
        (b"/v1/stock/berlin/apple", _at("apple")),
        (b"/v1/stock/berlin/a%2Fb/shelf", _at("a/b")),
        (b"/v1/stock/berlin/%ff", set()),
        (b"/v1/explain/berlin/apple", _at("apple")),
        (b"/v1/stock", set()),
        (b"/v1/history/berlin/apple", set()),
        (b"/v1/", set()),
    ],
)
def test_a_path_that_names_stock_or_a_reservation_says_where_it_goes(path: bytes, expected: set[int]) -> None:
    assert partitions_named(path, b"", _PARTITIONS, is_msgpack=False) == expected


@pytest.mark.parametrize("body", [b"{", b"\xff", b'{"lines":' + b"[" * 9_000, b" " * 20_000 + b"{}"])
def test_what_cannot_be_read_goes_nowhere(body: bytes) -> None:
    for is_msgpack in (False, True):
        assert partitions_named(b"/v1/reservations", body, _PARTITIONS, is_msgpack=is_msgpack) == set()

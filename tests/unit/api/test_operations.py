"""What the edge accepts, the hosts' own door accepts too."""

from typing import Any

import msgspec
import pytest

from actors.bounds import beyond_bounds
from api import bodies as b
from api.operations import COMMANDS
from api.routes import ROUTES
from engine.dates import date_of_expiry
from engine.limits import CODE_LENGTH_MAX, QUANTITY_MAX, TEXT_LENGTH_MAX

BODIES = {route.name: route.body for route in ROUTES if route.name in COMMANDS}
LEAST: dict[str, Any] = {
    "quantity": 1, "counted": 0, "delta": -QUANTITY_MAX, "seen_seq": 0, "expires_on": "1970-01-01", "to": "B",
}  # fmt: skip
MOST: dict[str, Any] = {
    "quantity": QUANTITY_MAX, "counted": QUANTITY_MAX, "delta": QUANTITY_MAX, "seen_seq": QUANTITY_MAX,
    "expires_on": "9999-12-31", "to": "y" * CODE_LENGTH_MAX,
}  # fmt: skip


def test_every_operation_on_stock_is_looked_at() -> None:
    assert set(BODIES) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_whatever_the_edge_accepts_is_within_the_bounds_of_the_lanes(name: str) -> None:
    body = BODIES[name]
    assert body is not None
    fields = [field.encode_name for field in msgspec.structs.fields(body)]
    texts = {"reason", "reference"}
    for values, code, text in (
        (LEAST, "x", "t"),
        (MOST, "x" * CODE_LENGTH_MAX, "t" * TEXT_LENGTH_MAX),
    ):
        sent = {field: values.get(field, text if field in texts else code) for field in fields}
        command = COMMANDS[name](msgspec.json.decode(msgspec.json.encode(sent), type=body))
        assert beyond_bounds(command, "key") is None, command


@pytest.mark.parametrize("day", ["1970-01-01", "9999-12-31"])
def test_the_first_and_the_last_date_come_back_as_they_were_sent(day: str) -> None:
    body = b.ReceiveBody(site="LON", sku="TEA", location="A", quantity=1, expires_on=None)
    sent = {**msgspec.to_builtins(body), "expires_on": day}
    command: Any = COMMANDS["receive"](msgspec.convert(sent, b.ReceiveBody))
    assert date_of_expiry(command.expires_at_ms) == day

"""The host's own door: what is out of bounds is told so, and no host stops over it."""

from typing import Any

import pytest

from actors.bin_handle import BinHandle
from actors.bounds import TEXT_MAX, beyond_bounds
from actors.queries import QUERIES, ReadStock
from engine.commands import (
    OPERATIONS,
    AdjustStock,
    Command,
    CountStock,
    ExtendReservation,
    NoteRequest,
    PickReservation,
    ReceiveStock,
    ReserveLine,
    ReserveStock,
    ReserveTentatively,
    ReserveTogether,
)
from engine.limits import LINES_MAX, QUANTITY_MAX
from tests.component.actors.world import number_of, view_of, world

LONG = "x" * (TEXT_MAX + 1)
LINE = ReserveLine("LON", "TEA", 1)
RECEIVE = ReceiveStock("LON", "TEA", "A", 1)
TOGETHER = ReserveTogether("attempt", 1, (), (LINE,))


@pytest.mark.parametrize(
    "command",
    [
        RECEIVE._replace(quantity=0),
        RECEIVE._replace(quantity=-1),
        RECEIVE._replace(quantity=QUANTITY_MAX + 1),
        RECEIVE._replace(sku=""),
        RECEIVE._replace(site=LONG),
        RECEIVE._replace(location="A\0"),
        RECEIVE._replace(lot=LONG),
        RECEIVE._replace(reference="\0"),
        RECEIVE._replace(expires_at_ms=2**60),
        RECEIVE._replace(expires_at_ms=-1),
        ReserveStock((LINE._replace(quantity=0),)),
        ReserveStock((LINE._replace(sku="\0"),)),
        ReserveStock((LINE._replace(index=-1),)),
        ReserveStock((LINE._replace(location=""),)),
        ReserveStock((LINE,), ttl_s=0),
        ReserveStock((LINE,), ttl_s=2**62),
        ReserveStock((LINE,), reference=LONG),
        ReserveStock((LINE,) * (LINES_MAX + 1)),
        ReserveStock((LINE, LINE._replace(quantity=-5))),
        ReserveStock(()),
        ReserveStock((LINE._replace(strategy="best"),)),
        ReserveTentatively("attempt", 0, 1, ()),
        ReserveTentatively("attempt", 0, 1, (LINE._replace(quantity=-5),)),
        ReserveTentatively("attempt", 0, 1, (LINE,), ttl_ms=2**62),
        TOGETHER._replace(missing=(LINE._replace(sku="\0"),)),
        TOGETHER._replace(missing=(LINE._replace(quantity=-5),)),
        TOGETHER._replace(missing=(LINE,) * (LINES_MAX + 1)),
        NoteRequest(-1),
        AdjustStock("LON", "TEA", "A", -QUANTITY_MAX - 1),
        CountStock("LON", "TEA", "A", -1),
        ExtendReservation(1, 1, -1),
        PickReservation(1, 1, 0),
        PickReservation(-1, 1),
    ],
)
async def test_a_command_out_of_bounds_is_refused_at_the_door(command: Command) -> None:
    assert beyond_bounds(command, "key")
    async with world() as w:
        with pytest.raises(ValueError, match=r"."):
            await w.gateway.submit(number_of("TEA"), command, "key")
        assert (await w.receive("TEA", 1))["on_hand"] == 1


@pytest.mark.parametrize("key", ["", LONG, "k\0"])
async def test_a_key_out_of_bounds_is_refused_at_the_door(key: str) -> None:
    async with world() as w:
        with pytest.raises(ValueError, match="key"):
            await w.gateway.submit(number_of("TEA"), RECEIVE, key)


async def test_a_question_out_of_bounds_is_refused_at_the_door() -> None:
    async with world() as w:
        with pytest.raises(ValueError, match="sku"):
            await w.gateway.query(number_of("TEA"), ReadStock("LON", "\0"))


def test_every_operation_and_question_has_bounds() -> None:
    made: dict[Any, Any] = {int: 1, str: "x", bool: False}
    for type_ in (*OPERATIONS.values(), *QUERIES.values()):
        hints = type_.__annotations__
        values = [made.get(hint, (LINE,) if "ReserveLine" in str(hint) else None) for hint in hints.values()]
        assert beyond_bounds(type_(*values), "key") is None, type_


def test_what_is_within_bounds_passes() -> None:
    for command in (
        RECEIVE._replace(quantity=QUANTITY_MAX, lot="", expires_at_ms=0),
        RECEIVE._replace(expires_at_ms=253_402_300_800_000),
        ReserveStock((LINE._replace(location="A", lot="L"), LINE), 60, "order"),
        AdjustStock("LON", "TEA", "A", -QUANTITY_MAX, None, "found"),
        PickReservation(1, 1, None, None, None, None, "not there"),
    ):
        assert beyond_bounds(command, "k" * TEXT_MAX) is None


async def test_a_handle_tells_its_user_and_goes_on() -> None:
    async with world() as w:
        bin_ = BinHandle(w.gateway, "LON", "TEA", "A")
        with pytest.raises(ValueError, match="quantity is -5"):
            await bin_.receive(-5)
        view_of(await bin_.receive(5))
        held = view_of(await bin_.reserve(2, ttl_s=60))
        assert view_of(await bin_.pick(held["id"], 1))["state"] == "part_picked"
        assert view_of(await bin_.release(held["id"]))["state"] == "picked"
        view_of(await bin_.hold(1, "damage"))
        view_of(await bin_.unhold(1, "damage"))
        view_of(await bin_.move("B", 1))
        view_of(await bin_.take(1))
        view_of(await bin_.adjust(3, "found"))
        view_of(await bin_.count(4))
        state = view_of(await bin_.state())
        assert (state["on_hand"], state["reserved"]) == (4, 0)
        assert view_of(await bin_.explain())["on_hand"] == 5

"""Lanes within bounds: strangers, frames that do not end, lists of millions, hosts that answer nonsense."""

import asyncio
import tracemalloc

import msgspec
import pytest

from actors.frames import (
    HELLO_BYTES_MAX,
    REPLIES_PER_FRAME_MAX,
    FrameTooLarge,
    decode_command,
    decode_replies,
    decode_requests,
    frame,
    frames_of,
)
from actors.outcomes import Unavailable
from actors.requests import Status
from engine.commands import PickReservation
from tests.component.actors.raw_lane import encode, raw_lane
from tests.component.actors.world import PARTITIONS, number_of, until, view_of, world

MILLIONS = b"\xdd" + (3_000_000).to_bytes(4, "big")


async def test_a_stranger_may_send_no_more_than_a_hello() -> None:
    async with world() as w, raw_lane(w.hosts[0].address, hello=False) as lane:
        await lane.send_bytes((HELLO_BYTES_MAX + 1).to_bytes(4, "big"))
        assert await lane.is_cut()


async def test_of_too_many_strangers_the_oldest_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.lane_server._STRANGERS_MAX", 2)
    async with (
        world() as w,
        raw_lane(w.hosts[0].address) as known,
        raw_lane(w.hosts[0].address, hello=False) as first,
    ):
        lanes = w.hosts[0].lanes
        await until(lambda: len(lanes.strangers) == 1)
        async with raw_lane(w.hosts[0].address, hello=False), raw_lane(w.hosts[0].address, hello=False):
            assert await first.is_cut()
            await known.send([[1, -1, "ping", None, None]])
            assert (await known.replies(1))[1][0] == Status.ANSWERED
        await until(lambda: not lanes.strangers)


async def test_a_frame_that_does_not_end_cuts_the_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.lane_server._FRAME_S_MAX", 0.05)
    async with world() as w, raw_lane(w.hosts[0].address) as lane, raw_lane(w.hosts[0].address) as quiet:
        data = frame(encode([[1, number_of("TEA"), "receive", "k", ["LON", "TEA", "A", 3]]]))
        await lane.send_bytes(data + data[:-1])
        assert (await lane.replies(1))[1][0] == Status.ANSWERED
        assert await lane.is_cut()
        await quiet.send([[1, -1, "ping", None, None]])
        assert (await quiet.replies(1))[1][0] == Status.ANSWERED, "one that sends nothing is left alone"


@pytest.mark.parametrize("decode", [decode_requests, decode_replies])
def test_a_frame_of_millions_of_items_is_refused_by_its_number(decode: object) -> None:
    assert callable(decode)
    payload = MILLIONS + b"\x95\x00\x00\xa0\xc0\x00" * 3_000_000
    tracemalloc.start()
    try:
        with pytest.raises(FrameTooLarge):
            decode(payload)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("fields", [MILLIONS, b"\x91" + MILLIONS, b"\x94\xa1a\x00\x00" + MILLIONS])
async def test_a_command_of_millions_of_lines_is_refused_by_their_number(fields: bytes) -> None:
    raw = msgspec.Raw(fields + b"\x93\xa0\xa0\x01" * 3_000_000)
    for name in ("reserve", "reserve_tentatively", "reserve_together", "receive"):
        with pytest.raises(FrameTooLarge):
            decode_command(name, raw)
    async with world() as w, raw_lane(w.hosts[0].address) as lane:
        await lane.send([[1, 0, "reserve", "k", raw]])
        assert (await lane.replies(1))[1][0] == Status.MALFORMED


async def test_what_is_told_of_a_malformed_request_does_not_quote_all_of_it() -> None:
    async with world() as w, raw_lane(w.hosts[0].address) as lane:
        await lane.send([[1, 0, "x" * 1_000_000, "k", []]])
        status, why = (await lane.replies(1))[1]
        assert status == Status.MALFORMED
        assert len(why) <= 500


def test_many_replies_travel_in_several_frames() -> None:
    frames = frames_of([[n, 0, None] for n in range(2 * REPLIES_PER_FRAME_MAX + 1)])
    assert sum(len(decode_replies(one[4:])) for one in frames) == 2 * REPLIES_PER_FRAME_MAX + 1


@pytest.mark.parametrize("partitions", [[-1], [PARTITIONS], [2**62], [0, 99], ["0"], 5])
async def test_partitions_that_are_not_there_cannot_be_taken(partitions: object) -> None:
    async with world() as w:
        with pytest.raises(Unavailable):
            await w.gateway.control(w.hosts[0].address, "take", partitions)
        assert (await w.receive("TEA", 1))["on_hand"] == 1


@pytest.mark.parametrize(
    "status, answer",
    [
        (Status.REFUSED, ["no_such_refusal", {}]),
        (Status.REFUSED, []),
        (Status.ANSWERED, msgspec.Raw(b"\xa3\xff\xff\xff")),
        (99, None),
        (-1, None),
    ],
)
async def test_an_answer_that_is_none_is_asked_for_again(status: int, answer: object) -> None:
    """The lane is cut, and what waited for an answer is sent again under its key."""
    async with world() as w:
        await w.receive("TEA", 5)
        with w.ledgers[0].gate.held():
            asked = asyncio.ensure_future(w.reserve("TEA", 1))
            await until(lambda: w.hosts[0].host.in_flight >= 1)
            (pending,) = w.gateway._pending.values()
            assert pending.lane is not None
            pending.lane.data_received(frame(encode([[pending.id, status, answer]])))
            assert not asked.done()
        assert view_of(await asked)["state"] == "held"
        assert await w.stock("TEA") == (5, 1)


async def test_a_pick_that_finds_nothing_passes_the_hosts_door() -> None:
    async with world() as w:
        await w.receive("TEA", 5)
        held = view_of(await w.reserve("TEA", 2))
        outcome = await w.reservations.pick(
            held["id"], quantity=0, sku=None, location=None, lot=None, short_reason="broken", key="p"
        )
        assert view_of(outcome)["lines"][0]["short"] == 2
        with pytest.raises(ValueError, match="quantity is 0"):
            await w.gateway.submit(number_of("TEA"), PickReservation(1, 1, 0), "q")

"""Lanes: who may speak, what garbage does, and callers that come and go."""

import asyncio
import contextlib

import pytest

from actors.frames import FRAME_BYTES_MAX, LANE_VERSION, REQUESTS_PER_FRAME_MAX, frame, frames_of
from actors.lane_client import Lane
from actors.outcomes import Unavailable
from actors.requests import Status
from tests.component.actors.raw_lane import encode, raw_lane
from tests.component.actors.world import PARTITIONS, TOKEN, number_of, until, view_of, world


def receive_fields(quantity: object = 1, sku: object = "TEA") -> list[object]:
    return ["LON", sku, "A", quantity]


@pytest.mark.parametrize(
    "hello",
    [
        ["binkeeper-lane", LANE_VERSION, "wrong", ""],
        ["binkeeper-lane", LANE_VERSION, "", ""],
        ["binkeeper-lane", LANE_VERSION + 1, TOKEN, ""],
        ["other", LANE_VERSION, TOKEN],
    ],
)
async def test_who_does_not_say_the_right_hello_is_told_why_and_cut(hello: list[object]) -> None:
    async with world() as w, raw_lane(w.hosts[0].address, hello=False) as lane:
        await lane.send(hello)
        word, version, why = await lane.receive()
        assert (word, version) == ("refused", LANE_VERSION)
        assert why
        assert await lane.is_cut()


@pytest.mark.parametrize(
    "garbage",
    [
        frame(b"\xc1\xc1\xc1"),
        frame(encode({"hello": 1})),
        frame(encode(["binkeeper-lane", LANE_VERSION])),
        frame(encode(["binkeeper-lane", LANE_VERSION, 7, ""])),
        frame(encode(["binkeeper-lane", LANE_VERSION, TOKEN, 7])),
        frame(b""),
        b"GET / HTTP/1.1\r\n\r\n",
        (FRAME_BYTES_MAX + 1).to_bytes(4, "big"),
        b"\xff\xff\xff\xff",
    ],
)
async def test_garbage_in_place_of_a_hello_is_cut(garbage: bytes) -> None:
    async with world() as w:
        async with raw_lane(w.hosts[0].address, hello=False) as lane:
            await lane.send_bytes(garbage)
            assert await lane.is_cut()
        await w.receive("TEA", 1)


@pytest.mark.parametrize(
    "garbage",
    [
        frame(b"\xc1"),
        frame(encode("requests")),
        frame(b"\x91" * 100_000),
        frame(encode([["not", "a", "request"]])),
        frame(encode([[1, 0, "receive", "key"]])),
        frame(encode([[0, 0, "x", None, []]] * (REQUESTS_PER_FRAME_MAX + 1))),
        (2**32 - 1).to_bytes(4, "big") + b"x" * 100,
    ],
)
async def test_garbage_after_the_hello_cuts_the_lane_and_changes_nothing(garbage: bytes) -> None:
    async with world() as w:
        async with raw_lane(w.hosts[0].address) as lane:
            await lane.send_bytes(garbage)
            assert await lane.is_cut()
        assert w.hosts[0].host.in_flight == 0
        assert (await w.receive("TEA", 1))["on_hand"] == 1


async def test_a_frame_may_come_byte_by_byte() -> None:
    async with world() as w, raw_lane(w.hosts[0].address) as lane:
        data = frame(encode([[1, number_of("TEA"), "receive", "k", receive_fields(3)]]))
        for index in range(len(data)):
            await lane.send_bytes(data[index : index + 1])
            await asyncio.sleep(0)
        assert (await lane.replies(1))[1][0] == Status.ANSWERED


async def test_half_a_frame_does_nothing() -> None:
    async with world() as w:
        async with raw_lane(w.hosts[0].address) as lane:
            data = frame(encode([[1, number_of("TEA"), "receive", "k", receive_fields(3)]]))
            await lane.send_bytes(data[:-1])
        await until(lambda: not any(lane is not None for lane in w.hosts[0].lanes.lanes))
        assert (await w.receive("TEA", 1))["on_hand"] == 1


async def test_a_callers_next_lane_takes_the_place_of_the_one_before_with_all_that_waits_there() -> None:
    """A frame that comes late is not decided after its repeat."""
    number, name = number_of("TEA"), "a caller"
    frames = [
        frame(encode([[1, number, "receive", f"k{n}-{start}", receive_fields(1)] for n in range(1_000)]))
        for start in range(3)
    ]
    async with world() as w, raw_lane(w.hosts[0].address, caller=name) as first:
        other = await w.receive("TEA", 1)  # Another caller's lane stays.
        async with raw_lane(w.hosts[0].address, caller=name) as second:
            assert await first.is_cut()
            await second.send([[1, number, "receive", "k", receive_fields(3)]])
            assert (await second.replies(1))[1][0] == Status.ANSWERED
            (lane,) = w.hosts[0].lanes.callers.keys() & {name}
            served = w.hosts[0].lanes.callers[lane]
            for data in frames:
                served.data_received(data)
            assert len(served._intake) > 2_000
            async with raw_lane(w.hosts[0].address, caller=name):
                with contextlib.suppress(ConnectionError):
                    while await second.receive() is not None:
                        pass  # Answers to what was decided before.
                served.data_received(frames[0])
                assert len(served._intake) == 0
                view = await w.receive("TEA", 1)
                assert view["on_hand"] < other["on_hand"] + 3 + 3_000
        await until(lambda: name not in w.hosts[0].lanes.callers)


async def test_one_malformed_request_among_good_ones_is_told_and_the_others_are_served() -> None:
    async with world() as w, raw_lane(w.hosts[0].address) as lane:
        number = number_of("TEA")
        bad: list[list[object]] = [
            [1, number, "receive", "k1", receive_fields("many")],
            [2, number, "receive", "k2", receive_fields(1.5)],
            [3, number, "receive", "k3", ["LON"]],
            [4, number, "no_such_operation", "k4", []],
            [5, number, "receive", "k5", {"site": "LON"}],
            [6, number, "receive", "k6", receive_fields(True)],
            [7, number, "receive", "k7", receive_fields(1, None)],
        ]
        good = [[number_, number, "receive", f"good {number_}", receive_fields(2)] for number_ in (10, 11)]
        await lane.send([good[0], *bad, good[1]])
        replies = await lane.replies(len(bad) + len(good))
        assert {request_id for request_id, (status, _) in replies.items() if status == Status.MALFORMED} == {
            1, 2, 3, 4, 5, 6, 7,
        }  # fmt: skip
        assert replies[10][0] == replies[11][0] == Status.ANSWERED
        assert await w.stock("TEA") == (4, 0)


async def test_a_partition_that_does_not_exist_is_not_here() -> None:
    async with world() as w, raw_lane(w.hosts[0].address) as lane:
        await lane.send([[1, 9_999, "release", "k", [1, 1]], [2, -1, "release", "l", [1, 1]]])
        assert {status for status, _ in (await lane.replies(2)).values()} == {Status.MOVED}


async def test_a_sku_is_served_in_its_own_partition_only() -> None:
    async with world() as w, raw_lane(w.hosts[0].address) as lane:
        here = number_of("TEA")
        there = next(number for number in range(PARTITIONS) if number != here)
        other = next(sku for sku in ("MUG", "JAM", "POT") if number_of(sku) != here)
        lines = [["LON", "TEA", 1], ["LON", other, 1]]
        await lane.send(
            [
                [1, there, "receive", "k1", receive_fields()],
                [2, 9_999, "receive", "k2", receive_fields()],
                [3, there, "read_stock", None, ["LON", "TEA"]],
                [4, there, "reserve", "k4", [lines[:1]]],
                [5, here, "reserve", "k5", [lines]],
                [6, here, "receive", "k6", receive_fields()],
            ]
        )
        replies = await lane.replies(6)
        assert [replies[n][0] for n in range(1, 7)] == [Status.MALFORMED] * 5 + [Status.ANSWERED]


async def test_a_lane_without_a_hello_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.lane_server._HELLO_S_MAX", 0.02)
    async with (
        world() as w,
        raw_lane(w.hosts[0].address, hello=False) as silent,
        raw_lane(w.hosts[0].address) as lane,
    ):
        assert await silent.is_cut()
        await lane.send([[1, number_of("TEA"), "receive", "k", receive_fields()]])
        assert (await lane.replies(1))[1][0] == Status.ANSWERED


async def test_a_control_request_that_trips_over_the_state_breaks_the_host() -> None:
    async with world() as w:

        async def trip(_: object) -> None:
            raise AssertionError("the ledger has a gap")

        w.hosts[0].lanes.controls["flush"] = trip
        with pytest.raises(Unavailable):
            await w.gateway.control(w.hosts[0].address, "flush", None, timeout_s=0.05)
        assert [str(fault) for fault in w.faults] == ["the ledger has a gap"]
        w.faults.clear()


async def test_a_caller_that_disappears_with_requests_in_flight_has_its_effect_once() -> None:
    async with world() as w:
        number = number_of("TEA")
        with w.ledgers[0].gate.held():
            async with raw_lane(w.hosts[0].address) as lane:
                await lane.send([[n, number, "receive", f"k{n}", receive_fields()] for n in range(10)])
                await until(lambda: w.hosts[0].host.in_flight >= 10)
            await until(lambda: not w.hosts[0].lanes.lanes)
        await until(lambda: w.hosts[0].host.in_flight == 0)
        async with raw_lane(w.hosts[0].address) as lane:
            await lane.send([[n, number, "receive", f"k{n}", receive_fields()] for n in range(12)])
            replies = await lane.replies(12)
        assert [replies[n][0] for n in range(12)] == [Status.REPLAYED] * 10 + [Status.ANSWERED] * 2
        assert await w.stock("TEA") == (12, 0)


async def test_a_lane_that_breaks_is_mended_and_its_requests_have_one_effect() -> None:
    async with world() as w:
        await w.receive("TEA", 100)
        with w.ledgers[0].gate.held():
            asked = [asyncio.ensure_future(w.reserve("TEA", 1)) for _ in range(40)]
            await until(lambda: w.hosts[0].host.in_flight >= 40)
            for lane in list(w.hosts[0].lanes.lanes):
                lane.close()
            await until(lambda: w.hosts[0].host.in_flight >= 80)
        for outcome in await asyncio.gather(*asked):
            view_of(outcome)
        assert await w.stock("TEA") == (100, 40)


async def test_a_caller_that_never_reads_is_cut_and_nobody_else_notices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actors.lane_server._WRITE_BUFFER_MAX", 100_000)
    async with world() as w:
        for location in range(200):
            await w.receive("TEA", 1, f"LOC-{location}")
        async with raw_lane(w.hosts[0].address) as lane:
            number = number_of("TEA")
            with contextlib.suppress(ConnectionError):
                for _ in range(20):
                    await lane.send([[n, number, "read_stock", None, ["LON", "TEA"]] for n in range(20)])
                    assert await w.stock("TEA") == (200, 0)
            await until(lambda: len(w.hosts[0].lanes.lanes) == 1)


async def test_no_lane_to_where_nobody_listens() -> None:
    async with world() as w:
        for address in ("127.0.0.1:1", w.hosts[0].address):
            with pytest.raises(Unavailable):
                await Lane.connect(address, "wrong", lambda *_: None, lambda _: None)


def test_what_is_too_much_for_a_frame_travels_in_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.frames.FRAME_BYTES_MAX", 100)
    items = [[n, "x" * 30] for n in range(10)]
    frames = frames_of(items)
    assert len(frames) > 1
    assert max(map(len, frames)) <= 104
    assert [int.from_bytes(one[:4], "big") for one in frames] == [len(one) - 4 for one in frames]

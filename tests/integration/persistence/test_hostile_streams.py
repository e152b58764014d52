"""The broadcast beside other programs on the same NATS: what they write there, and how they answer."""

import asyncio
from collections.abc import AsyncIterator

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import StreamConfig
from structlog.testing import capture_logs

from persistence.nats.streams import NatsStreams
from persistence.nats.subjects import ledger_subject
from persistence.ports import Message, Unavailable


@pytest.fixture
async def streams(nats_url: str) -> AsyncIterator[NatsStreams]:
    found = NatsStreams(nats_url)
    yield found
    await found.close()


@pytest.fixture
async def other(nats_url: str) -> AsyncIterator[Client]:
    client = await nats.connect(nats_url)
    yield client
    await client.close()


def message(partition: int, last_seq: int, payload: bytes = b"entries") -> Message:
    return Message(ledger_subject(partition), payload, f"{partition}:{last_seq}")


async def put(other: Client, subject: str, headers: dict[str, str] | None) -> None:
    await other.jetstream().publish(subject, b"garbage", headers=headers)


async def payloads(other: Client) -> list[bytes]:
    stream = other.jetstream()
    last = (await stream.stream_info("LEDGER")).state.last_seq
    return [(await stream.get_msg("LEDGER", place)).data or b"" for place in range(1, last + 1)]


@pytest.mark.parametrize(
    "headers",
    [
        None,
        {"Nats-Msg-Id": "3:"},
        {"Nats-Msg-Id": "3:abc"},
        {"Nats-Msg-Id": "3:-3"},
        {"Nats-Msg-Id": "3:\u0665"},
        {"Nats-Msg-Id": "3:" + "9" * 5_000},
        {"Nats-Msg-Id": "4:9"},
        {"Nats-Msg-Id": "3:0"},
        {"Status": "404"},
        {"Status": "503"},
    ],
)
async def test_the_tail_is_the_last_message_that_is_ours(
    streams: NatsStreams, other: Client, headers: dict[str, str] | None
) -> None:
    await streams.publish([message(3, 7), message(4, 2)])
    for number in range(3):
        await put(other, "ledger.3", None if headers is None else {**headers, "n": str(number)})
        await put(other, f"ledger.5.{number}", headers)
    assert await streams.ledger_tails([3, 4, 5]) == {3: 7, 4: 2, 5: 0}


async def test_a_flood_on_our_subjects_does_not_keep_the_tails_from_being_read(
    streams: NatsStreams, other: Client
) -> None:
    await streams.publish([message(3, 7), message(4, 2)])
    for number in range(3_000):
        await other.publish(f"ledger.x{number}", b"x", headers={"Nats-Msg-Id": f"4:{number}"})
        if number < 1_000:
            await other.publish("ledger.3", b"x")
    await other.flush()
    tails = await streams.ledger_tails([3, 4])
    assert tails[4] == 2
    assert tails[3] in (0, 7), "with too much behind it, it is not looked for: it is sent again"


async def test_an_id_that_somebody_else_used_does_not_swallow_our_message(
    streams: NatsStreams, other: Client
) -> None:
    await streams.publish([message(3, 1)])
    await put(other, "ledger.3", {"Nats-Msg-Id": "3:2"})
    await streams.publish([message(3, 2, b"ours")])
    assert b"ours" in await payloads(other)
    assert await streams.ledger_tails([3]) == {3: 2}


async def test_an_id_whose_message_was_thrown_away_does_not_swallow_it(
    streams: NatsStreams, other: Client
) -> None:
    await streams.publish([message(3, 1)])
    await other.jetstream().purge_stream("LEDGER")
    await streams.publish([message(3, 1, b"ours")])
    assert (await other.jetstream().stream_info("LEDGER")).state.messages == 1


async def test_a_message_of_ours_that_comes_again_is_not_stored_again(
    streams: NatsStreams, other: Client
) -> None:
    for _ in range(2):
        await streams.publish([message(3, 1), message(3, 2)])
    assert len(await payloads(other)) == 2


@pytest.mark.parametrize(
    "answer", [b"", b"+OK", b"\xff", b"[]", b'{"stream":"LEDGER","seq":"x"}', b'{"error":5}', b'"error"']
)
async def test_whoever_answers_our_messages_acknowledges_nothing(
    streams: NatsStreams, other: Client, answer: bytes
) -> None:
    await streams.publish([message(3, 1)])
    await other.jetstream().delete_stream("LEDGER")

    async def respond(got: Msg) -> None:
        await other.publish(got.reply, answer)

    await other.subscribe("ledger.>", cb=respond)
    await other.flush()
    with pytest.raises(Unavailable):
        await streams.publish([message(3, 2)])
    assert await streams.ledger_tails([3]) == {3: 0}


async def test_a_stream_of_others_on_our_subjects_does_not_acknowledge_for_ours(
    streams: NatsStreams, other: Client
) -> None:
    await streams.publish([message(3, 1)])
    await other.jetstream().delete_stream("LEDGER")
    await other.jetstream().add_stream(StreamConfig(name="OTHER", subjects=["ledger.>"]))
    with capture_logs() as logs:
        for _ in range(3):
            with pytest.raises(Unavailable):
                await streams.publish([message(3, 2)])
    assert [line["event"] for line in logs] == ["stream_refused"]
    await other.jetstream().delete_stream("OTHER")
    assert await streams.ledger_tails([3]) == {3: 0}
    await streams.publish([message(3, 2)])


@pytest.mark.parametrize("changes", [{"max_msg_size": 1}, {"subjects": ["elsewhere"]}, {"no_ack": True}])
async def test_a_stream_that_others_changed_is_set_right(
    streams: NatsStreams, other: Client, changes: dict[str, object]
) -> None:
    await streams.publish([message(3, 1)])
    stream = other.jetstream()
    await stream.update_stream((await stream.stream_info("LEDGER")).config.evolve(**changes))
    with pytest.raises(Unavailable):
        await streams.publish([message(3, 2)])
    await streams.publish([message(3, 2)])
    assert await streams.ledger_tails([3]) == {3: 2}


@pytest.mark.parametrize("answer", [b"", b"\xff", b"[]", b"5", b'{"config":5,"state":[]}', b"[" * 100_000])
async def test_nonsense_in_place_of_jetstreams_answers_is_a_fault_that_is_known(
    streams: NatsStreams, other: Client, answer: bytes
) -> None:
    await streams.publish([message(3, 1)])

    async def respond(got: Msg) -> None:
        await other.publish(got.reply, answer)

    for subject in ("$JS.API.STREAM.*.LEDGER", "$JS.API.STREAM.MSG.GET.LEDGER"):
        await other.subscribe(subject, cb=respond)
    await other.flush()
    for _ in range(3):
        try:  # Both answer: the first one counts.
            await streams.ledger_tails([3])
        except Unavailable:
            await asyncio.sleep(0)

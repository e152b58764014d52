"""The broadcast when NATS goes, comes back, and has forgotten everything."""

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncIterator, Iterator

import nats
import pytest
from nats.js.errors import NotFoundError
from structlog.testing import capture_logs

from binkeeper.embedded.nats import EmbeddedNats
from persistence.nats.streams import NatsStreams
from persistence.nats.subjects import ledger_subject, stock_subject
from persistence.ports import Message, Unavailable
from tests.waiting import until


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedNats]:
    """A server of this module's own, since it loses its store."""
    with EmbeddedNats.temporary() as found:
        yield found


@pytest.fixture
async def streams(server: EmbeddedNats) -> AsyncIterator[NatsStreams]:
    found = NatsStreams(server.url)
    yield found
    await found.close()


def message(partition: int, last_seq: int, size: int = 100) -> Message:
    return Message(ledger_subject(partition), b"x" * size, f"{partition}:{last_seq}")


async def _published(streams: NatsStreams, messages: list[Message]) -> None:
    """Publish as the courier does: again until it works."""

    async def is_published() -> bool:
        try:
            await streams.publish(messages)
        except Unavailable:
            streams.start_over()
            return False
        return True

    await until(is_published)


async def test_a_server_that_is_not_there_is_unavailable_within_two_seconds() -> None:
    streams = NatsStreams("nats://127.0.0.1:1")
    started = time.monotonic()
    with pytest.raises(Unavailable):
        await streams.publish([message(1, 1)])
    assert time.monotonic() - started < 2


async def test_the_last_state_of_a_bin_is_kept(server: EmbeddedNats, streams: NatsStreams) -> None:
    subject = stock_subject("LDN", "a.b c", "A>1")
    await streams.publish([Message(subject, b"%d" % count) for count in range(10)])
    client = await nats.connect(server.url)
    last = await client.jetstream().get_last_msg("STOCK", subject)
    state = (await client.jetstream().stream_info("STOCK", subjects_filter=subject)).state
    await client.close()
    assert last.data == b"9"
    assert state.subjects == {subject: 1}


async def test_tails_are_quick_however_large_the_messages(streams: NatsStreams) -> None:
    await streams.publish([message(partition, partition + 10, 20_000) for partition in range(256)])
    started = time.monotonic()
    tails = await streams.ledger_tails(range(256))
    assert time.monotonic() - started < 1
    assert tails[255] == 265


async def test_a_message_that_is_too_large_is_logged_and_left_out(streams: NatsStreams) -> None:
    with capture_logs() as logs:
        await streams.publish([message(1, 1), message(1, 2, 9 * 1024 * 1024), message(1, 3)])
    assert [(line["event"], line["log_level"], line["subject"]) for line in logs] == [
        ("message_left_out", "error", ledger_subject(1))
    ]
    assert await streams.ledger_tails([1]) == {1: 3}


async def test_a_stream_that_the_server_refuses_is_a_warning_with_its_words_once(
    server: EmbeddedNats,
) -> None:
    client = await nats.connect(server.url)
    for name in ("LEDGER", "STOCK"):
        with contextlib.suppress(NotFoundError):
            await client.jetstream().delete_stream(name)
    await client.close()
    streams = NatsStreams(server.url, ledger_bytes_max=2**50)
    with capture_logs() as logs:
        for _ in range(2):
            with pytest.raises(Unavailable, match="insufficient storage"):
                await streams.publish([message(1, 1)])
    await streams.close()
    assert [(line["event"], line["log_level"], line["stream"]) for line in logs] == [
        ("stream_refused", "warning", "LEDGER")
    ]
    assert "insufficient storage" in logs[0]["reason"]


async def test_the_client_comes_back_by_itself(server: EmbeddedNats, streams: NatsStreams) -> None:
    await streams.publish([message(7, 1)])
    await asyncio.to_thread(server.stop)
    try:
        started = time.monotonic()
        for _ in range(3):
            with pytest.raises(Unavailable):
                await streams.publish([message(7, 2)])
        with pytest.raises(Unavailable):
            await streams.ledger_tails([7])
        assert time.monotonic() - started < 5
    finally:
        server.launch()
        server.wait_until_ready()
    await _published(streams, [message(7, 3)])
    assert await streams.ledger_tails([7]) == {7: 3}


async def test_who_has_not_started_over_since_the_server_was_away_learns_nothing_of_it(
    server: EmbeddedNats, streams: NatsStreams
) -> None:
    await streams.publish([message(7, 1)])
    await asyncio.to_thread(server.stop)
    server.launch()
    server.wait_until_ready()
    for _ in range(2):
        with pytest.raises(Unavailable):
            await streams.ledger_tails([8])
    streams.start_over()
    await _published(streams, [message(7, 2)])
    assert await streams.ledger_tails([7]) == {7: 2}


async def test_streams_that_were_wiped_are_made_again(server: EmbeddedNats, streams: NatsStreams) -> None:
    await streams.publish([message(7, 1), Message(stock_subject("a", "b", "c"), b"1")])
    await asyncio.to_thread(server.stop)
    shutil.rmtree(server.data / "jetstream")
    server.launch()
    server.wait_until_ready()
    await _published(streams, [Message(stock_subject("a", "b", "c"), b"2")])
    assert await streams.ledger_tails([7]) == {7: 0}
    await streams.publish([message(7, 1)])
    assert await streams.ledger_tails([7]) == {7: 1}


async def test_streams_that_were_deleted_are_made_again(server: EmbeddedNats, streams: NatsStreams) -> None:
    await streams.publish([message(7, 1)])
    client = await nats.connect(server.url)
    await client.jetstream().delete_stream("LEDGER")
    await client.close()
    with pytest.raises(Unavailable):
        await streams.publish([message(7, 2)])
    assert await streams.ledger_tails([7]) == {7: 0}
    await streams.publish([message(7, 3)])

"""The embedded NATS: JetStream behind a password, and the same address after every restart."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import nats
import nats.errors
import nats.js.errors
import pytest

from binkeeper.embedded import nats as module
from binkeeper.embedded.leftovers import processes_in
from binkeeper.embedded.nats import EmbeddedNats
from binkeeper.errors import StartError


@pytest.fixture
def server(home: Path) -> Iterator[EmbeddedNats]:
    server = EmbeddedNats(home)
    server.start()
    yield server
    server.stop()


async def test_what_a_stream_holds_survives_a_restart_at_the_same_address(
    server: EmbeddedNats, home: Path
) -> None:
    client = await nats.connect(server.url)
    await client.jetstream().add_stream(name="KEPT", subjects=["kept"])
    await client.jetstream().publish("kept", b"still here")
    await client.close()
    server.stop()

    again = EmbeddedNats(home)
    try:
        assert again.start() == server.url
        client = await nats.connect(again.url)
        message = await client.jetstream().get_msg("KEPT", seq=1)
        await client.close()
    finally:
        again.stop()
    assert message.data == b"still here"


async def test_it_takes_messages_of_eight_megabytes(server: EmbeddedNats) -> None:
    client = await nats.connect(server.url)
    assert client.max_payload == 8 * 1024 * 1024
    await client.close()


async def test_streams_may_be_larger_than_what_is_free_on_the_disk_now(server: EmbeddedNats) -> None:
    client = await nats.connect(server.url)
    stream = client.jetstream()
    await stream.add_stream(name="LARGE", subjects=["large"], max_bytes=7 * 1024**3)
    with pytest.raises(
        nats.js.errors.APIError, match="insufficient storage"
    ):  # The limit is ours, not the disk's.
        await stream.add_stream(name="MORE", subjects=["more"], max_bytes=2 * 1024**3)
    await client.close()


async def test_nobody_gets_in_without_the_password(server: EmbeddedNats, home: Path) -> None:
    async def quiet(_: Exception) -> None:
        """The client would print the refusal."""

    address = "nats://binkeeper:guess@" + server.url.split("@")[1]
    with pytest.raises(nats.errors.Error, match=r"(?i)authorization|no servers"):
        await nats.connect(address, allow_reconnect=False, max_reconnect_attempts=0, error_cb=quiet)
    for file in ("password", "nats.conf"):
        assert (home / "nats" / file).stat().st_mode & 0o777 == 0o600


def test_a_killed_server_comes_back_at_the_same_address(server: EmbeddedNats) -> None:
    address = server.url
    assert server.child is not None
    os.kill(server.child.pid, signal.SIGKILL)
    assert server.child.wait(10)
    assert server.start() == address


def test_a_server_left_running_is_ended(server: EmbeddedNats, home: Path) -> None:
    left = server.child
    assert left is not None
    taker = EmbeddedNats(home)
    try:
        taker.start()
        assert left.exit_code is not None
    finally:
        taker.stop()
    assert processes_in(server.data) == []


def test_a_missing_wheel_is_one_line_that_says_what_to_do(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_DISTRIBUTION", "no-such-distribution")
    with pytest.raises(StartError, match="BINKEEPER_NATS_URL") as caught:
        EmbeddedNats(home).start()
    assert "\n" not in str(caught.value)


def test_a_server_that_ends_while_starting_says_why(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CONFIGURATION", module._CONFIGURATION + "no_such_option: 1\n")
    with pytest.raises(StartError, match="no_such_option") as caught:
        EmbeddedNats(home).start()
    assert "\n" not in str(caught.value)


def test_a_server_that_found_no_room_is_to_be_started_anew_once_there_is_some(
    server: EmbeddedNats, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = "[ERR] JetStream failed to store a msg on stream '$G > LEDGER': write 1.blk: {why}\n"
    with server._log_file.open("a") as log:
        log.write(refused.format(why="another reason"))
        log.flush()
        assert server.ailment() is None
        log.write(refused.format(why="no space left on device"))
    monkeypatch.setattr(module, "_ROOM_BYTES_MIN", 2**62)
    assert server.ailment() is None
    monkeypatch.setattr(module, "_ROOM_BYTES_MIN", 1)
    assert "no room" in str(server.ailment())
    server.stop()
    server.start()
    assert server.ailment() is None

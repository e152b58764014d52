"""A line of a log that cannot be written harms nobody."""

import io
from collections.abc import Iterator

import pytest
import structlog

from binkeeper.logs import log_without_failing


class FullDisk(io.StringIO):
    def write(self, _: str) -> int:
        raise OSError(28, "No space left on device")

    def flush(self) -> None:
        raise OSError(28, "No space left on device")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def test_a_full_disk_loses_the_line_and_stops_nothing() -> None:
    log_without_failing("info", FullDisk())
    structlog.get_logger().warning("commit_waits", fault="no room")


def test_a_closed_stream_loses_the_line_and_stops_nothing() -> None:
    stream = io.StringIO()
    log_without_failing("info", stream)
    stream.close()
    structlog.get_logger().critical("host_broken")


def test_lines_of_the_level_and_above_are_written() -> None:
    stream = io.StringIO()
    log_without_failing("warning", stream)
    structlog.get_logger().info("place_served")
    structlog.get_logger().warning("commit_waits")
    assert "commit_waits" in stream.getvalue()
    assert "place_served" not in stream.getvalue()

"""Logs that may fail without harm: a line that the disk has no room for is lost, and the program goes on."""

import contextlib
import logging
import sys
from typing import TextIO

import structlog


class UnfailingStream:
    """Text is written if it can be. A commit that waits for room must not die of saying so."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or lose, a text."""
        with contextlib.suppress(OSError, ValueError):  # A full disk, a stream that was closed.
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Hand over what was written, if it can be."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


def log_without_failing(level: str, stream: TextIO | None = None) -> None:
    """Log lines of this level and above to a stream, by default standard output; what fails is lost."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(UnfailingStream(stream or sys.stdout)),  # type: ignore[arg-type]
    )

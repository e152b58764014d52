"""What a run leaves behind: nothing in the log, and nothing in memory once it is over."""

import contextlib
import gc
import logging
import sys
from collections.abc import Iterator

import structlog

from simulation.loop import SimulatedLoop


@contextlib.contextmanager
def tidying(loop: SimulatedLoop, *, is_last: bool) -> Iterator[None]:
    """Log nothing, and let what was under way at the end go without a word."""
    before, hook = structlog.get_config(), sys.unraisablehook
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL), processors=[_drop]
    )
    is_collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        loop.close()
        if not is_last:
            sys.unraisablehook = lambda _: None
            gc.collect()
            sys.unraisablehook = hook
            if is_collecting:
                gc.enable()
        structlog.configure(**before)


def _drop(*_: object) -> str:
    raise structlog.DropEvent

"""Waiting for what nobody signals: a condition, with a deadline. The only place where tests poll."""

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

_PAUSE_S_MAX = 0.01


class InVain(AssertionError):
    """A condition did not hold within its deadline."""


async def until(condition: Callable[[], Any], what: str = "it holds", deadline_s: float = 30.0) -> Any:
    """Return the first true value of a condition, which may be a coroutine function's.

    Raises InVain, with what was waited for, when there is none within `deadline_s` seconds.
    """
    try:
        async with asyncio.timeout(deadline_s) as timeout:
            pause_s = 0.0
            while not timeout.expired():  # A condition may have swallowed that it is cancelled.
                value = condition()
                if inspect.isawaitable(value):
                    value = await value
                if value:
                    return value
                await asyncio.sleep(pause_s)
                pause_s = min(1.5 * pause_s + 0.0005, _PAUSE_S_MAX)
    except TimeoutError:
        if not timeout.expired():
            raise  # The condition's own.
    raise InVain(f"waited {deadline_s:g} s in vain until {what}")


def wait_until(condition: Callable[[], Any], what: str = "it holds", deadline_s: float = 60.0) -> Any:
    """Return the first true value of a condition, for tests without an event loop.

    Raises InVain, with what was waited for, when there is none within `deadline_s` seconds.
    """
    deadline = time.monotonic() + deadline_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise InVain(f"waited {deadline_s:g} s in vain until {what}")
        time.sleep(_PAUSE_S_MAX)
    return value

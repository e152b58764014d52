"""Asking storage until it answers."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from persistence.ports import Unavailable

RETRY_S_FIRST = 0.02
RETRY_S_MAX = 0.5

_Found = TypeVar("_Found")


async def until_available(
    ask: Callable[[], Awaitable[_Found]],
    sleep: Callable[[float], Awaitable[None]],
    *faults: type[Exception],
) -> _Found:
    """Return what `ask` returns, after as many tries as it takes, with pauses that grow to half a second.

    `faults` are tried again beside Unavailable: for what may be asked twice.
    """
    passing: tuple[type[Exception], ...] = (Unavailable, *faults)
    retry_s = RETRY_S_FIRST
    while True:
        try:
            return await ask()
        except passing:
            await sleep(retry_s)
            retry_s = min(retry_s * 2, RETRY_S_MAX)

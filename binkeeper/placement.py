"""What an administrator asks of the placement: `binkeeper rebalance` and `binkeeper isolate`.

What is asked is written into the database, where the supervisor finds it, now or when it is back. So it needs
no further door into the supervisor, and nobody can ask who cannot reach the database.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from rich.console import Console

from binkeeper.errors import StartError
from binkeeper.home import Home
from binkeeper.settings import Settings

PATIENCE_S = 120.0
ISOLATED_MAX = 64
"""Each isolated SKU costs the memory of a host."""
_POLL_S = 0.1

Ask = Callable[[Any], Awaitable[int]]
"""What is asked of `persistence.placement.Wishes`; returns the wish's number."""


def rebalance(settings: Settings, hosts: int | None, *, patience_s: float = PATIENCE_S) -> dict[str, Any]:
    """Have the partitions spread evenly; return what was done. Raises StartError."""
    return _granted(settings, lambda wishes: wishes.spread(hosts), patience_s)


def isolate(
    settings: Settings, site: str, sku: str, *, undo: bool = False, patience_s: float = PATIENCE_S
) -> dict[str, Any]:
    """Give a SKU's partition a host of its own, or have it join the others; return what was done.

    Raises StartError.
    """

    async def ask(wishes: Any) -> int:  # noqa: ANN401 - imported late
        if undo:
            return int(await wishes.join((site, sku)))
        isolated = (await wishes.wished()).isolated
        if len(isolated) >= ISOLATED_MAX and (site, sku) not in isolated:
            raise StartError(f"{ISOLATED_MAX} SKUs are isolated already: undo one first")
        return int(await wishes.isolate((site, sku)))

    return _granted(settings, ask, patience_s)


def show(report: dict[str, Any], console: Console) -> None:
    """Print for a person what was done."""
    console.print(
        f"moved {report['moved']} partition(s); {report['hosts']} host(s);"
        f" requests of a partition waited for at most {report['pause_ms_max']:.0f} ms",
        highlight=False,
    )
    if report["refused"]:
        left = ", ".join(str(number) for number in report["refused"])
        console.print(f"left where they were, because their ledger is refused: {left}", highlight=False)


def _granted(settings: Settings, ask: Ask, patience_s: float) -> dict[str, Any]:
    url = Home(settings.home).read_run().get("postgres_url")
    if not isinstance(url, str):
        if settings.postgres_url is None:
            raise StartError(f"nothing runs in {settings.home}: start it by `binkeeper up`")
        url = settings.postgres_url.get_secret_value()
    return asyncio.run(_wait(url, ask, patience_s))


async def _wait(url: str, ask: Ask, patience_s: float) -> dict[str, Any]:
    """Ask, and wait until it is done. Raises StartError."""
    from persistence.ports import Unavailable  # noqa: PLC0415 - imported by the command that needs it
    from persistence.postgres import PostgresWishes, Sessions  # noqa: PLC0415

    sessions = Sessions(url, "placement", size=1)
    wishes = PostgresWishes(sessions)
    number = None
    try:
        async with asyncio.timeout(patience_s):
            number = await ask(wishes)
            while (granted := await wishes.granted()).number < number:  # noqa: ASYNC110 - a database tells
                await asyncio.sleep(_POLL_S)
    except Unavailable as fault:
        raise StartError(str(fault)) from fault
    except TimeoutError as fault:
        text = f"not done after {patience_s:g} s"
        if number is not None:
            text += "; it stays wished, and the supervisor goes on with it: see supervisor.log"
        raise StartError(text) from fault
    finally:
        await sessions.close()
    return {
        "wish": number,
        "moved": granted.moved,
        "hosts": granted.hosts,
        "pause_ms_max": granted.pause_ms_max,
        "refused": list(granted.refused),
    }

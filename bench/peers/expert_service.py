"""The expert's service: FastAPI and asyncpg before the stored procedure, in one process.

`python -m bench.peers.expert_service POSTGRES_URL PORT` serves until it is told to stop.
"""

import sys
from typing import Any

import asyncpg
import uvloop
from fastapi import FastAPI
from fastapi.responses import JSONResponse

from bench.peers.shop_routes import CONNECTIONS, PATH, Key, Line, Wanted, answer, application, serve, site_of

_RESERVE = "SELECT reserve($1, $2, $3, $4)"
_RESERVE_ORDER = "SELECT reserve_order($1, $2, $3, $4)"


def expert_app(pool: Any) -> FastAPI:  # noqa: ANN401 - asyncpg ships no types
    """Return the service on a pool, whose connections prepare each statement once."""
    app = application()

    @app.post(PATH)
    async def reserve(wanted: Wanted, key: Key) -> JSONResponse:
        if isinstance(wanted, Line):
            done = await pool.fetchval(_RESERVE, key, wanted.site, wanted.bin, wanted.quantity)
        else:
            bins = [line.bin for line in wanted.lines]
            quantities = [line.quantity for line in wanted.lines]
            done = await pool.fetchval(_RESERVE_ORDER, key, site_of(wanted.lines), bins, quantities)
        return answer(key, is_reserved=done)

    return app


async def _leave_as_is(connection: Any) -> None:  # noqa: ANN401 - asyncpg ships no types
    """Save the statement that a pool sends after each use: no request leaves anything behind in a session."""


async def _main(postgres_url: str, port: int) -> None:
    async with asyncpg.create_pool(
        postgres_url, min_size=CONNECTIONS, max_size=CONNECTIONS, reset=_leave_as_is
    ) as pool:
        await serve(expert_app(pool), port)


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1], int(sys.argv[2])))

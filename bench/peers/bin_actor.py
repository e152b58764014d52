"""One bin as one Ray actor: its stock in memory, each reservation a row in Postgres before the answer."""

import asyncio
import os
from typing import Any

import asyncpg
import psutil

SCHEMA = """
CREATE TABLE stock (
    site text COLLATE "C" NOT NULL,
    bin integer NOT NULL,
    on_hand bigint NOT NULL,
    PRIMARY KEY (site, bin)
);
CREATE TABLE reservation (
    key uuid PRIMARY KEY,
    site text COLLATE "C" NOT NULL,
    bin integer NOT NULL,
    quantity bigint NOT NULL
);
"""
_RECOVER = """
SELECT on_hand, coalesce((SELECT sum(quantity) FROM reservation WHERE site = $1 AND bin = $2), 0)::bigint
FROM stock WHERE site = $1 AND bin = $2
"""
_INSERT = """
INSERT INTO reservation (key, site, bin, quantity) VALUES ($1, $2, $3, $4)
ON CONFLICT (key) DO NOTHING RETURNING true
"""


class BinActor:
    """An asyncio actor with a connection of its own, on which one reservation is committed at a time."""

    def __init__(self, postgres_url: str, site: str, index: int) -> None:
        self._postgres_url = postgres_url
        self._site = site
        self._index = index
        self._deciding = asyncio.Lock()
        self._connection: Any = None
        self._insert: Any = None
        self._on_hand = 0
        self._reserved = 0
        self._is_certain = False
        """Whether memory is what Postgres has; not before it was read, nor after a commit that failed."""

    async def start(self) -> dict[str, int]:
        """Read the stock; return the process and the memory that it shares with nobody."""
        self._connection = await asyncpg.connect(self._postgres_url)
        self._insert = await self._connection.prepare(_INSERT)
        async with self._deciding:
            await self._recover()
        return {"pid": os.getpid(), "private_bytes": psutil.Process().memory_full_info().uss}

    async def reserve(self, key: str, quantity: int) -> bool:
        """Reserve; False when there is too little. A key that comes again has no effect."""
        async with self._deciding:
            if not self._is_certain:
                await self._recover()
            if self._reserved + quantity > self._on_hand:
                known = "SELECT EXISTS (SELECT FROM reservation WHERE key = $1)"
                return bool(await self._connection.fetchval(known, key))
            self._is_certain = False
            is_new = await self._insert.fetchval(key, self._site, self._index, quantity)
            self._is_certain = True
            if is_new:
                self._reserved += quantity
            return True

    async def reserved(self) -> int:
        """Return the units that are reserved."""
        async with self._deciding:
            return self._reserved

    async def _recover(self) -> None:
        self._on_hand, self._reserved = await self._connection.fetchrow(_RECOVER, self._site, self._index)
        self._is_certain = True

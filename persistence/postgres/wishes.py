"""What is wished of the placement, on Postgres: two rows of `setting`."""

from collections.abc import Callable

from engine.commands import StockKey
from persistence.placement import Granted, Wish
from persistence.postgres.sessions import Sessions
from persistence.wishing import (
    NOTHING_WISHED,
    granted_of,
    isolating,
    joining,
    spreading,
    text_of,
    wish_of,
)

_WISHED = "placement_wished"
_GRANTED = "placement_granted"
_READ = "SELECT value FROM setting WHERE name = $1"
_FIRST = "INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING"
_WRITE = "UPDATE setting SET value = $2 WHERE name = $1"


class PostgresWishes:
    """Wishes, and what has become of them."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def isolate(self, stock: StockKey) -> int:
        """See `Wishes.isolate`."""
        return await self._wish(lambda wish: isolating(wish, stock))

    async def join(self, stock: StockKey) -> int:
        """See `Wishes.join`."""
        return await self._wish(lambda wish: joining(wish, stock))

    async def spread(self, hosts: int | None) -> int:
        """See `Wishes.spread`."""
        return await self._wish(lambda wish: spreading(wish, hosts))

    async def _wish(self, change: Callable[[Wish], Wish]) -> int:
        """Change the row; another that wishes at the same moment waits, and changes what this one wrote."""
        async with self._sessions.session() as connection, connection.transaction():
            await connection.execute(_FIRST, _WISHED, text_of(NOTHING_WISHED))
            wish = change(wish_of(await connection.fetchval(f"{_READ} FOR UPDATE", _WISHED)))
            await connection.execute(_WRITE, _WISHED, text_of(wish))
        return wish.number

    async def wished(self) -> Wish:
        """See `Wishes.wished`."""
        return wish_of(await self._read(_WISHED))

    async def granted(self) -> Granted:
        """See `Wishes.granted`."""
        return granted_of(await self._read(_GRANTED))

    async def _read(self, name: str) -> str | None:
        async with self._sessions.session() as connection:
            found: str | None = await connection.fetchval(_READ, name)
        return found

    async def grant(self, granted: Granted) -> None:
        """See `Wishes.grant`."""
        async with self._sessions.session() as connection:
            await connection.execute(
                "INSERT INTO setting (name, value) VALUES ($1, $2)"
                " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                _GRANTED,
                text_of(granted),
            )

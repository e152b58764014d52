"""Taking partitions over: the claim, and ending the session of a former owner that stands in its way."""

import asyncio
import time
from collections.abc import Sequence

import asyncpg

from persistence.checksums import COLUMNS, with_checksums
from persistence.claims import claim_entry
from persistence.ports import Head, Unavailable
from persistence.postgres.faults import repeatable
from persistence.postgres.recovery import read_heads
from persistence.postgres.sessions import Connection, Sessions, application_name

_PATIENCE_S = 2.0
_POLL_S = 0.1
_CLAIM_S_MAX = 15.0
_STATEMENT_MS_MAX = 10_000
_OPTIMISTIC_TRIES = 2

_END_BLOCKERS = """\
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE pid = ANY(pg_blocking_pids($1)) AND application_name = ANY($2::text[])
"""


class Takeover:
    """One claim of partitions for one host."""

    def __init__(self, sessions: Sessions, host: str, address: str, partitions: Sequence[int]) -> None:
        self._sessions = sessions
        self._host = host
        self._address = address
        self._partitions = sorted(set(partitions))
        self._former: set[str] = set()
        """Names of the sessions of former owners."""

    async def claim(self, now_ms: int) -> list[Head]:
        """Claim, however often former owners write in between. Raises Unavailable."""
        deadline = time.monotonic() + _CLAIM_S_MAX
        tries = 0
        while True:
            tries += 1
            async with self._sessions.session() as connection:
                pid = await connection.fetchval("SELECT pg_backend_pid()")
                watch = asyncio.create_task(self._end_blockers(pid))
                try:
                    return await self._try(connection, now_ms, alone=tries > _OPTIMISTIC_TRIES)
                except (asyncpg.UniqueViolationError, asyncpg.TransactionRollbackError) as error:
                    if time.monotonic() > deadline:
                        raise Unavailable("Postgres: former owners keep writing") from error
                finally:
                    watch.cancel()
                    await asyncio.gather(watch, return_exceptions=True)

    async def _try(self, connection: Connection, now_ms: int, *, alone: bool) -> list[Head]:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL statement_timeout = {_STATEMENT_MS_MAX}")
            former = await connection.fetch(
                "SELECT host FROM partition WHERE number = ANY($1::int[])", self._partitions
            )
            self._former = {application_name(row[0]) for row in former}
            await connection.execute(
                "SELECT FROM partition WHERE number = ANY($1::int[]) ORDER BY number FOR NO KEY UPDATE",
                self._partitions,
            )
            if alone:
                # An owner that is alive and busy always writes between our look and our claim: let it wait.
                await connection.execute("LOCK TABLE ledger IN SHARE ROW EXCLUSIVE MODE")
            found = await read_heads(connection, self._partitions)
            assert len(found) == len(self._partitions), "a partition does not exist"
            heads = [head._replace(epoch=head.epoch + 1) for head in found]
            claims = {
                head.partition: claim_entry(
                    head.partition,
                    head.seq + 1,
                    max(now_ms, head.at_ms),
                    host=self._host,
                    address=self._address,
                    epoch=head.epoch,
                )
                for head in heads
                if not head.ends_early
            }
            await connection.copy_records_to_table(
                "ledger", records=with_checksums(claims.values()), columns=COLUMNS
            )
            await connection.execute(
                "UPDATE partition SET epoch = epoch + 1, host = $2, address = $3, claimed_at_ms = $4"
                " WHERE number = ANY($1::int[])",
                self._partitions,
                self._host,
                self._address,
                now_ms,
            )
        return [
            head._replace(seq=claim.seq, at_ms=claim.at_ms) if (claim := claims.get(head.partition)) else head
            for head in heads
        ]

    async def _end_blockers(self, pid: int) -> None:
        """End the sessions of former owners for which the claim has waited too long."""
        await asyncio.sleep(_PATIENCE_S)
        async with self._sessions.session() as connection:
            while True:
                with repeatable():
                    await connection.execute(_END_BLOCKERS, pid, sorted(self._former))
                await asyncio.sleep(_POLL_S)

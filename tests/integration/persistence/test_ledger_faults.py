"""The ledger when Postgres, or the way to it, fails: what is said must be true."""

import asyncio
import time
from typing import Any

import asyncpg
import pytest

from binkeeper.embedded.postgres import EmbeddedPostgres
from engine.entries import Entry
from persistence.ports import OutcomeUnknown, PartitionsLost, Unavailable, UnsafeDatabase
from persistence.postgres import PostgresLedger, Sessions
from persistence.postgres import ledger as ledger_module
from persistence.postgres.entries import IN_ORDER, SETTLED
from tests.contract.keeper import NOON_MS, received
from tests.integration.persistence.conftest import Open
from tests.integration.persistence.proxy import Proxy
from tests.rows import copy
from tests.waiting import until

Admin = asyncpg.Connection


async def _sessions_of(admin: Admin, host: str) -> list[int]:
    rows = await admin.fetch(
        "SELECT pid FROM pg_stat_activity WHERE application_name = $1", f"binkeeper:{host}"
    )
    return [row[0] for row in rows]


async def _blocked(admin: Admin, host: str = "h1") -> int:
    """Wait until the host's session waits for a lock; return its pid."""
    query = "SELECT pid FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'"
    return int(await until(lambda: admin.fetchval(query, f"binkeeper:{host}"), "it waits for a lock"))


async def _cut_off(proxy: Proxy, ledger: PostgresLedger, batch: list[Entry]) -> None:
    """Append a batch that does not reach the server before its caller is cut off."""
    proxy.requests_pass.clear()
    appending = asyncio.create_task(ledger.append(batch))
    await proxy.held.wait()
    proxy.cut_clients()
    with pytest.raises(OutcomeUnknown):
        await appending


async def test_the_ledgers_session_says_whose_it_is(open_ledger: Open, admin: Admin) -> None:
    await open_ledger("h1")
    assert len(await _sessions_of(admin, "h1")) == 1


async def test_a_session_that_was_ended_while_idle_is_opened_again(open_ledger: Open, admin: Admin) -> None:
    ledger = await open_ledger()
    await ledger.append([received(1, 1)])
    (pid,) = await _sessions_of(admin, "h1")
    await admin.execute("SELECT pg_terminate_backend($1, 5000)", pid)
    batch = [received(1, 2)]
    try:
        await ledger.append(batch)
    except OutcomeUnknown:
        assert not await ledger.is_committed(batch)
        await ledger.append(batch)
    assert await ledger.head(1) == (2, NOON_MS + 2)


async def test_a_session_that_is_ended_during_an_append_leaves_the_outcome_unknown(
    open_ledger: Open, admin: Admin
) -> None:
    ledger = await open_ledger()
    batch = [received(1, 1), received(2, 1)]
    other = admin.transaction()
    await other.start()
    await copy(admin, [received(2, 1, "other")])
    appending = asyncio.create_task(ledger.append(batch))
    watcher = await open_ledger("h9")
    async with watcher._sessions.session() as connection:
        pid = await _blocked(connection)
        await connection.execute("SELECT pg_terminate_backend($1)", pid)
    with pytest.raises(OutcomeUnknown):
        await appending
    assert not await ledger.is_committed(batch)
    await other.rollback()
    await ledger.append(batch)
    assert await ledger.is_committed(batch)


async def test_a_commit_whose_answer_was_lost_is_found(
    postgres_url: str, open_ledger: Open, admin: Admin
) -> None:
    async with Proxy.to(postgres_url) as proxy:
        ledger = await open_ledger("h1", proxy.url)
        batch = [received(1, 1, "k1"), received(2, 1)]
        # Another's open transaction keeps the COPY from ending until its answers are kept back.
        other = admin.transaction()
        await other.start()
        await copy(admin, [received(2, 1, "other")])
        appending = asyncio.create_task(ledger.append(batch))
        watcher = await open_ledger("h9")
        async with watcher._sessions.session() as connection:
            await _blocked(connection)
        proxy.answers_pass.clear()
        await other.rollback()
        await proxy.held.wait()
        assert await watcher.is_committed(batch)
        proxy.cut_clients()
        proxy.answers_pass.set()
        with pytest.raises(OutcomeUnknown):
            await appending
        assert await ledger.is_committed(batch)


async def test_an_append_that_hangs_in_the_server_is_ended_before_its_outcome_is_told(
    postgres_url: str, open_ledger: Open, admin: Admin
) -> None:
    async with Proxy.to(postgres_url) as proxy:
        ledger = await open_ledger("h1", proxy.url)
        batch = [received(1, 1), received(2, 1)]
        (pid,) = await _sessions_of(admin, "h1")
        await _cut_off(proxy, ledger, batch)
        assert await _sessions_of(admin, "h1") == [pid]
        proxy.requests_pass.set()
        assert not await ledger.is_committed(batch)
        assert pid not in await _sessions_of(admin, "h1")
        await ledger.append(batch)


async def test_one_entry_that_arrives_after_its_caller_gave_up_is_committed_or_never_will_be(
    postgres_url: str, open_ledger: Open, admin: Admin
) -> None:
    async with Proxy.to(postgres_url) as proxy:
        ledger = await open_ledger("h1", proxy.url)
        batch = [received(1, 1)]
        (pid,) = await _sessions_of(admin, "h1")
        await _cut_off(proxy, ledger, batch)
        proxy.requests_pass.set()
        is_committed = await ledger.is_committed(batch)
        assert pid not in await _sessions_of(admin, "h1")
        assert await ledger.head(1) == ((1, NOON_MS + 1) if is_committed else (0, 0))


async def test_a_server_that_refuses_to_write_did_nothing(
    postgres_url: str, open_ledger: Open, admin: Admin
) -> None:
    database = await admin.fetchval("SELECT current_database()")
    await admin.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    try:
        ledger = await open_ledger("h1", postgres_url)
        with pytest.raises(Unavailable, match="read-only"):
            await ledger.append([received(1, 1)])
        assert await ledger.head(1) == (0, 0)
    finally:
        await admin.execute("SET default_transaction_read_only = off")
        await admin.execute(f"ALTER DATABASE {database} RESET default_transaction_read_only")


async def test_a_database_that_acknowledges_early_is_refused(postgres_url: str, admin: Admin) -> None:
    database = await admin.fetchval("SELECT current_database()")
    await admin.execute(f"ALTER DATABASE {database} SET synchronous_commit = off")
    sessions = Sessions(postgres_url, "h1")
    try:
        with pytest.raises(UnsafeDatabase, match="synchronous_commit = off"):
            await PostgresLedger.open(sessions)
    finally:
        await admin.execute(f"ALTER DATABASE {database} RESET synchronous_commit")
        await sessions.close()


async def test_a_database_without_tables_is_refused(empty_postgres_url: str) -> None:
    sessions = Sessions(empty_postgres_url, "h1")
    with pytest.raises(UnsafeDatabase, match="migrations"):
        await PostgresLedger.open(sessions)


async def test_a_deadlock_with_a_claim_is_no_fault(open_ledger: Open, admin: Admin) -> None:
    ledger = await open_ledger()
    claim = admin.transaction()
    await claim.start()
    await admin.execute("SET LOCAL deadlock_timeout = '10s'")
    await copy(admin, [received(1, 1, "other 1")])
    appending = asyncio.create_task(ledger.append([received(2, 1), received(1, 1)]))
    watcher = await open_ledger("h9")
    async with watcher._sessions.session() as connection:
        await _blocked(connection)
    await copy(admin, [received(2, 1, "other 2")])
    await claim.commit()
    with pytest.raises(PartitionsLost) as lost:
        await appending
    assert lost.value.partitions == {1, 2}


async def test_a_server_that_is_gone_is_unavailable_and_found_again(
    postgres_server: EmbeddedPostgres, open_ledger: Open
) -> None:
    ledger = await open_ledger()
    await ledger.append([received(1, 1)])
    await asyncio.to_thread(postgres_server.stop)
    try:
        started = time.monotonic()
        for _ in range(3):
            with pytest.raises((Unavailable, OutcomeUnknown)):
                await ledger.append([received(1, 2)])
            with pytest.raises(Unavailable):
                await ledger.head(1)
        with pytest.raises(Unavailable):
            await ledger.is_committed([received(1, 2)])
        assert time.monotonic() - started < 5
    finally:
        postgres_server.launch()
        postgres_server.wait_until_ready()
    assert not await ledger.is_committed([received(1, 2)])
    await ledger.append([received(1, 2)])
    assert await ledger.head(1) == (2, NOON_MS + 2)


async def test_a_server_that_falls_silent_is_given_up_whatever_was_asked(
    postgres_url: str, open_ledger: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("persistence.postgres.ledger._APPEND_S_MAX", 0.3)
    async with Proxy.to(postgres_url) as proxy:
        ledger = await open_ledger("h1", proxy.url)
        await ledger.append([received(1, 1)])
        proxy.answers_pass.clear()
        async with asyncio.timeout(10):
            with pytest.raises(Unavailable):
                await ledger.is_committed([received(1, 1)])
        proxy.answers_pass.set()
        assert await ledger.is_committed([received(1, 1)])


async def test_the_collision_of_an_append_is_not_waited_for_without_end(
    postgres_url: str, open_ledger: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("persistence.postgres.ledger._APPEND_S_MAX", 0.3)
    async with Proxy.to(postgres_url) as proxy:
        ledger = await open_ledger("h1", proxy.url)
        await ledger.append([received(1, 1)])
        collision = ledger_module._collision

        async def silent(*of: Any) -> Any:
            proxy.answers_pass.clear()
            return await collision(*of)

        monkeypatch.setattr(ledger_module, "_collision", silent)
        async with asyncio.timeout(10):
            with pytest.raises(Unavailable):
                await ledger.append([received(1, 1)])
        monkeypatch.setattr(ledger_module, "_collision", collision)
        proxy.answers_pass.set()
        with pytest.raises(PartitionsLost):
            await ledger.append([received(1, 1)])


async def test_a_confirmation_is_found_without_a_look_at_all_that_came_after_it(
    open_ledger: Open, admin: Admin
) -> None:
    ledger = await open_ledger()
    note = dict.fromkeys(("site", "sku", "location", "lot"))
    share = received(1, 2, kind="stock_reserved", reservation=2, line=0, reserved=1)
    confirmed = received(1, 3, kind="reservation_confirmed", reservation=2, quantity=0, **note)
    await ledger.append([received(1, 1), share, confirmed, *(received(1, seq) for seq in range(4, 3_000))])
    assert await ledger.confirmations(1, [2]) == [confirmed]
    await admin.execute("ANALYZE ledger")
    async with admin.transaction():
        await admin.execute(IN_ORDER)
        plan = await admin.fetch(f"EXPLAIN (ANALYZE) {SETTLED}", 1, [2])
    removed = [int(line[0].split(":")[1]) for line in plan if "Rows Removed by Filter" in line[0]]
    assert sum(removed) < 100, plan

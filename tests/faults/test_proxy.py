"""Where the proxy cuts the way to Postgres, a commit has happened, or has not."""

from collections.abc import Iterator

import pytest

from persistence.ports import OutcomeUnknown
from persistence.postgres import PostgresLedger, Sessions
from tests.contract.keeper import received
from tests.faults.proxy import PostgresProxy


@pytest.fixture
def proxy(postgres_url: str) -> Iterator[PostgresProxy]:
    proxy = PostgresProxy(postgres_url, seed=1)
    proxy.probability = 1.0
    yield proxy
    proxy.close()


@pytest.mark.parametrize("entries", [1, 2], ids=["an INSERT", "a COPY"])
@pytest.mark.parametrize("rule", ["before", "after"])
async def test_an_append_that_is_cut_off_has_happened_only_after_its_commit(
    proxy: PostgresProxy, rule: str, entries: int
) -> None:
    sessions = Sessions(proxy.url, "h1")
    ledger = await PostgresLedger.open(sessions)
    batch = [received(1, seq) for seq in range(1, entries + 1)]
    proxy.rule = rule
    with pytest.raises(OutcomeUnknown):
        await ledger.append(batch)
    proxy.rule = ""
    assert proxy.cuts == 1
    assert await ledger.is_committed(batch) is (rule == "after")
    await ledger.close()
    await sessions.close()


async def test_everything_else_passes(proxy: PostgresProxy) -> None:
    sessions = Sessions(proxy.url, "h1")
    ledger = await PostgresLedger.open(sessions)
    await ledger.append([received(1, 1)])
    proxy.rule = "before"
    assert len(await ledger.read(1, 0, 10)) == 1
    assert proxy.cuts == 0
    await ledger.close()
    await sessions.close()

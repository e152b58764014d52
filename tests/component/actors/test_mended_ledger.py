"""A ledger that was refused and that a person has mended is served again, by whoever has it next."""

import pytest

from actors.outcomes import LedgerRefused
from actors.queries import ReadStock
from actors.requests import Request, Status
from tests.component.actors.broken import edited, filled, taken_over
from tests.component.actors.caller import Caller
from tests.component.actors.harm import tables_of
from tests.component.actors.world import PARTITIONS, number_of, until, view_of, world


async def test_once_a_person_has_mended_it_the_next_owner_serves_it_and_callers_find_it() -> None:
    async with world() as w:
        await filled(w)
        before = list(tables_of(w, "TEA").ledger)
        second, _ = await taken_over(w, edited("stock_received", reason="theft"), written=False)
        await until(lambda: number_of("TEA") in second.host.refused)
        with pytest.raises(LedgerRefused):
            await w.stock("TEA")
        tables_of(w, "TEA").ledger[: len(before)] = before
        third = await w.host("third")
        assert await w.stock("TEA") == (21, 5)
        assert third.host.refused == {}
        view_of(await w.reserve("TEA", 1))
        again = await w.host("fourth")
        assert await w.stock("TEA") == (21, 6)
        assert again.host.refused == {}


async def test_a_host_that_refused_it_says_so_no_more_when_another_has_taken_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actors.ownership._LOOK_EVERY_S", 0.02)
    async with world() as w:
        await filled(w)
        number = number_of("TEA")
        before = list(tables_of(w, "TEA").ledger)
        second, _ = await taken_over(w, edited("stock_received", reason="theft"), written=False)
        await until(lambda: number in second.host.refused)
        tables_of(w, "TEA").ledger[: len(before)] = before
        await w.host("third", [number])
        await until(lambda: not second.host.refused)
        caller = Caller()
        second.host.receive([Request(caller, 1, number, "read_stock", ReadStock("LON", "TEA"))])
        assert caller.statuses() == [Status.MOVED]
        assert await second._ping(None) == [other for other in range(PARTITIONS) if other != number]
        assert await w.stock("TEA") == (21, 5)


async def test_the_same_host_serves_it_when_it_is_given_it_again() -> None:
    async with world() as w:
        await filled(w)
        before = list(tables_of(w, "TEA").ledger)
        second, _ = await taken_over(w, edited("stock_received", reason="theft"), written=False)
        number = number_of("TEA")
        await until(lambda: number in second.host.refused)
        tables_of(w, "TEA").ledger[: len(before)] = before
        await second.take([number])
        assert await w.stock("TEA") == (21, 5)
        assert second.host.refused == {}

"""Entries that are missing where only the broadcast or an old answer reads: their partition is refused."""

import asyncio

import msgspec
import pytest
import structlog

from actors.outcomes import LedgerRefused
from actors.queries import RecallReservation
from actors.rebuilding import Misfit
from engine.entries import Entry
from engine.partitioning import reservation_address
from persistence.nats.subjects import ledger_subject
from tests.component.actors.harm import fill, rewrite, tables_of
from tests.component.actors.steered import Gate
from tests.component.actors.world import PARTITIONS, World, number_of, until, view_of, world


@pytest.mark.parametrize("lost", [[1], [3], [1, 2, 3], [-1]])
@pytest.mark.parametrize("is_wiped", [True, False])
async def test_a_gap_that_only_the_broadcast_meets_stops_its_partition_and_no_other(
    lost: list[int], is_wiped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The snapshot is ahead of the gap: nobody else would read there."""
    monkeypatch.setattr("actors.courier._UNSYNCED_MS", 3_600_000)
    async with world() as w:
        await fill(w)
        await until(lambda: w.hosts[0].courier.lag == 0)
        await w.hosts[0].snapshotter.flush()
        await w.kill(w.hosts[0])
        number, end = number_of("TEA"), len(tables_of(w, "TEA").ledger)
        lost = [end if seq < 0 else seq for seq in lost]
        if is_wiped:  # The streams are filled again from the first entry on.
            w.streams.ledger.clear()
            w.streams.stock.clear()
            for tables in w.database.partitions:
                tables.cursor = 0
        for name in ("second", "third"):
            second = w.build(name)
            w.ledgers[-1].gone = {(number, seq) for seq in lost}
            await second.start("127.0.0.1")
            with structlog.testing.capture_logs() as logs:
                await second.take(list(range(PARTITIONS)))
                if not is_wiped:  # The streams were away, and it looks back for bins that they may have lost.
                    await until(lambda: second.courier.lag == 0)  # noqa: B023 - awaited at once
                    second.courier._start_over()
                    second.courier._wake.set()
                await until(lambda: number in second.host.refused)  # noqa: B023 - awaited at once
            assert [log["seq"] for log in logs if log["event"] == "ledger_refused"] == [lost[0]]
            with pytest.raises(LedgerRefused, match=f"entry {lost[0]}"):
                await w.stock("TEA")
            assert await w.stock("JAM") == (24, 2)
            jam = len(tables_of(w, "JAM").ledger)
            await until(lambda: tails_of(w)[number_of("JAM")] == jam)  # noqa: B023 - awaited at once
            assert not is_wiped or number not in tails_of(w)
            await until(lambda: second.courier.lag == 0)  # noqa: B023 - awaited at once
            await w.kill(second)


def tails_of(w: World) -> dict[int, int]:
    """Return the last entry of each partition that the `LEDGER` stream holds; each message is whole."""
    tails: dict[int, int] = {}
    for message in w.streams.ledger:
        payload = msgspec.msgpack.decode(message.payload)
        seqs = [entry["seq"] for entry in payload["entries"]]
        assert seqs == list(range(payload["first_seq"], payload["last_seq"] + 1))
        tails[payload["partition"]] = payload["last_seq"]
    return tails


async def test_what_was_decided_in_a_partition_that_is_refused_while_it_is_served_did_not_happen() -> None:
    async with world() as w:
        await w.receive("TEA", 5)
        number, host = number_of("TEA"), w.hosts[0].host
        kept = list(tables_of(w, "TEA").ledger)
        with w.ledgers[0].gate.held():
            jam = asyncio.ensure_future(w.receive("JAM", 1))
            await until(lambda: w.ledgers[0].gate.waiting == 1)
            asked = asyncio.ensure_future(w.reserve("TEA", 1))
            await until(lambda: any(entry.partition == number for entry in host.committer.open.entries))
            host.ownership.refuse(host.owned[number], Misfit(number, 2, "a test says so"))
            with pytest.raises(LedgerRefused, match="a test says so"):
                await asked
        assert (await jam)["on_hand"] == 1
        assert tables_of(w, "TEA").ledger == kept
        await until(lambda: host.in_flight == 0)


@pytest.mark.parametrize("is_repeat", [False, True])
async def test_an_entry_that_only_an_old_answer_needs_stops_its_partition_and_no_other(
    is_repeat: bool,
) -> None:
    """The snapshot is ahead of it; the answer is worked out again from the ledger."""
    async with world(key_window=8) as w:
        await w.receive("TEA", 20)
        made = view_of(await w.reserve("TEA", 3, "held"))
        for _ in range(20):
            await w.receive("JAM", 1)
        await w.hosts[0].snapshotter.flush()
        number, host = number_of("TEA"), w.hosts[0].host
        rewrite(tables_of(w, "TEA"), "stock_reserved", line=None)
        if is_repeat:
            asked = w.reserve("TEA", 3, "held")
        else:
            _, reservation, opened_at_ms = reservation_address(made["id"]) or (0, 0, 0)
            asked = w.gateway.query(number, RecallReservation(reservation, opened_at_ms))
        with pytest.raises(LedgerRefused, match="cannot be worked out again"):
            await asked
        assert number in host.refused
        assert await w.stock("JAM") == (20, 0)
        await until(lambda: host.in_flight == 0)


async def test_an_entry_that_is_committed_while_the_broadcast_reads_is_not_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world() as w:
        await w.receive("TEA", 5)
        running, number = w.hosts[0], number_of("TEA")
        await until(lambda: running.courier.lag == 0)
        await running.courier._save_cursors()
        gate, read = Gate(), w.ledgers[0].read

        async def slow(partition: int, after_seq: int, limit: int) -> list[Entry]:
            found = await read(partition, after_seq, limit)
            if (partition, after_seq) == (number, 1):
                await gate.passed()
            return found

        monkeypatch.setattr(w.ledgers[0], "read", slow)
        with gate.held():
            w.streams.tails[ledger_subject(number)] = 1  # As if it had lost what came last.
            running.courier._start_over()
            running.courier._wake.set()
            await until(lambda: gate.waiting == 1)
            await w.receive("TEA", 1)
        await until(lambda: tails_of(w).get(number) == 3 and running.courier.lag == 0)
        assert running.host.refused == {}

"""The broadcast: every entry once and in order, every bin's last state, whatever happens to the streams."""

import asyncio
from collections.abc import Sequence

import pytest

from actors.courier import _SHARE_MAX
from actors.frames import encode
from actors.messages import ledger_messages
from actors.overtaken import Overtaken
from engine.apply import apply
from engine.commands import ReceiveStock
from engine.decide import decide
from engine.entries import Entry
from engine.refusals import Refused
from engine.state import Partition
from persistence.nats.subjects import stock_subject
from persistence.ports import Message
from tests.component.actors.broadcasting import broadcast, decode, is_complete, shown, work
from tests.component.actors.steered import Gate
from tests.component.actors.world import PARTITIONS, World, number_of, until, world


class GatedStreams:
    """Streams whose publishing a test holds up; tells whose tails were asked for."""

    def __init__(self, w: World) -> None:
        self.gate = Gate()
        self.asked: list[list[int]] = []
        self._streams = w.streams

    async def publish(self, messages: Sequence[Message]) -> None:
        """See `Streams.publish`."""
        await self._streams.publish(messages)
        await self.gate.passed()

    async def ledger_tails(self, partitions: Sequence[int]) -> dict[int, int]:
        """See `Streams.ledger_tails`."""
        self.asked.append(list(partitions))
        return await self._streams.ledger_tails(partitions)

    def start_over(self) -> None:
        """See `Streams.start_over`."""
        self._streams.start_over()


async def test_a_partition_that_is_taken_over_while_its_entries_are_sent_starts_anew() -> None:
    async with world() as w:
        await until(lambda: w.hosts[0].courier.lag == 0)
        gated = GatedStreams(w)
        w.hosts[0].courier._streams = w.hosts[0].courier._marks._streams = gated
        with gated.gate.held():
            await w.receive("TEA", 5)
            await until(lambda: gated.gate.waiting == 1)
            await w.hosts[0].take(list(range(PARTITIONS)))
        await until(lambda: any(number_of("TEA") in asked for asked in gated.asked))
        await w.receive("TEA", 5)
        await until(lambda: w.hosts[0].courier.lag == 0)
        assert is_complete(w)


async def test_entries_are_broadcast_without_a_gap_and_bins_as_they_are() -> None:
    async with world() as w:
        await work(w)
        await until(lambda: w.hosts[0].courier.lag == 0)
        assert broadcast(w) == {
            number: list(range(1, len(tables.ledger) + 1))
            for number, tables in enumerate(w.database.partitions)
        }
        for n in range(7):
            message, bin_ = await shown(w, f"SKU-{n}", f"LOC {n % 3}")
            assert message == bin_


async def test_nothing_is_broadcast_before_it_is_durable() -> None:
    async with world() as w:
        await w.receive("TEA", 1)
        await until(lambda: w.hosts[0].courier.lag == 0)
        with w.ledgers[0].gate.held():
            asked = asyncio.ensure_future(w.receive("TEA", 1))
            await until(lambda: w.ledgers[0].gate.waiting == 1)
            w.hosts[0].courier.bins.changed.note(w.database.partitions[number_of("TEA")].ledger)
            w.hosts[0].courier._wake.set()
            await until(lambda: w.hosts[0].courier.bins.on_their_way == 1)
            assert decode(w.streams.stock[stock_subject("LON", "TEA", "A")].payload)["on_hand"] == 1
            assert len(broadcast(w)[number_of("TEA")]) == 2
        await asked
        await until(lambda: is_complete(w))


@pytest.mark.parametrize("stored", [0, 1, 3])
async def test_streams_that_were_away_get_everything_when_they_are_back(stored: int) -> None:
    async with world() as w:
        await work(w, 5)
        w.streams.is_away, w.streams.stored_before_failing = True, stored
        await work(w, 20)
        assert w.hosts[0].courier.lag
        w.streams.is_away = False
        await until(lambda: w.hosts[0].courier.lag == 0)
        assert is_complete(w)
        message, bin_ = await shown(w, "SKU-3", "LOC 0")
        assert message == bin_


@pytest.mark.parametrize("is_replaced", [True, False])
async def test_a_bin_that_was_broadcast_after_a_successor_is_said_again(*, is_replaced: bool) -> None:
    async with world() as w:
        await w.receive("TEA", 5)
        host = w.hosts[0].host
        overtaken = Overtaken(host, w.streams, w.gateway)
        bins = [(number_of("TEA"), "LON", "TEA", "A")]
        overtaken.doubt(bins, host.ownership.epochs_of([number_of("TEA")]))
        if is_replaced:
            await w.host("second")
        await w.receive("TEA", 1)
        await until(lambda: w.hosts[-1].courier.lag == 0)
        subject = stock_subject("LON", "TEA", "A")
        await w.streams.publish([Message(subject, encode({"seq": 0}))])
        await overtaken.settle()
        assert len(overtaken) == 0
        message, bin_ = await shown(w, "TEA", "A")
        assert (message == bin_) is is_replaced


async def test_a_new_owner_goes_on_where_the_former_one_stopped() -> None:
    async with world() as w:
        await work(w, 10)
        await until(lambda: w.hosts[0].courier.lag == 0)
        w.streams.is_away = True
        await work(w, 10)
        await w.kill(w.hosts[0])
        w.streams.is_away = False
        second = await w.host("second")
        await until(lambda: second.courier.lag == 0)
        assert is_complete(w)
        message, bin_ = await shown(w, "SKU-3", "LOC 0")
        assert message == bin_


async def test_a_buffer_that_is_full_is_read_from_the_ledger_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.courier._BUFFER_ENTRIES_MAX", 5)
    monkeypatch.setattr("actors.courier._ENTRIES_PER_MESSAGE", 3)
    monkeypatch.setattr("actors.courier._ENTRIES_PER_ROUND", 7)
    async with world() as w:
        for _ in range(5):
            await asyncio.gather(*(w.receive(f"SKU-{n}", 1) for n in range(30)))
        await until(lambda: w.hosts[0].courier.lag == 0)
        assert is_complete(w)


async def test_the_share_of_the_broadcast_grows_with_its_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.courier._BUFFER_ENTRIES_MAX", 10)
    async with world() as w:
        courier = w.hosts[0].courier
        await until(lambda: courier.lag == 0)
        shares = [courier._share()]
        gated = GatedStreams(w)
        courier._streams = gated
        with gated.gate.held():
            await w.receive("TEA", 1)
            await until(lambda: gated.gate.waiting == 1)
            for _ in range(10):
                await w.receive("TEA", 1)
                shares.append(courier._share())
        assert shares == sorted(shares)
        assert len(set(shares)) == 11
        assert shares[-1] == _SHARE_MAX
        await until(lambda: courier.lag == 0)
        assert courier._share() == shares[0]


async def test_takeovers_while_the_courier_works_leave_no_gap() -> None:
    async with world(key_window=4) as w:
        for n in range(4):
            asked = [w.receive(f"SKU-{m}", 1, "A") for m in range(40)]
            repeats = [w.ask(ReceiveStock("LON", f"OLD-{m}", "A", 1), f"old {m}") for m in range(10)]
            await asyncio.gather(*asked, *repeats, w.host(f"next {n}", None, key_window=4))
        await until(lambda: w.hosts[-1].courier.lag == 0)
        assert is_complete(w)
        assert w.faults == []
        assert len(w.hosts[-1].host.owned) == PARTITIONS


async def test_messages_stay_below_what_a_server_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.messages._MESSAGE_BYTES_MAX", 1_000)
    async with world() as w:
        w.streams.is_away = True
        await work(w)
        w.streams.is_away = False
        await until(lambda: w.hosts[0].courier.lag == 0)
        assert is_complete(w)
        assert max(len(message.payload) for message in w.streams.ledger) <= 1_000


def test_entries_that_are_too_many_bytes_go_in_order_by_several_messages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actors.messages._MESSAGE_BYTES_MAX", 1_000)
    partition = Partition(3)
    entries: list[Entry] = []
    for n in range(20):
        decided = decide(partition, ReceiveStock("LON", "TEA", f"{n}", 1), 1, f"k{n}", 1)
        assert not isinstance(decided, Refused)
        for entry in decided:
            apply(partition, entry)
        entries += decided
    messages = ledger_messages(3, entries)
    payloads = [decode(message.payload) for message in messages]
    assert len(messages) > 1
    assert all(len(message.payload) <= 1_000 for message in messages)
    assert [entry["seq"] for payload in payloads for entry in payload["entries"]] == list(range(1, 21))
    assert [message.message_id for message in messages] == [
        f"3:{payload['last_seq']}" for payload in payloads
    ]
    assert ledger_messages(3, entries[:1])[0].message_id == "3:1"


class CountedReads:
    """Reads of a ledger by the courier, which a test holds up."""

    def __init__(self, w: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gate = Gate()
        self.after: list[int] = []
        self._read = w.ledgers[0].read
        monkeypatch.setattr(w.ledgers[0], "read", self.read)

    async def read(self, partition: int, after_seq: int, limit: int) -> list[Entry]:
        """See `Ledger.read`."""
        self.after.append(after_seq)
        found = await self._read(partition, after_seq, limit)
        await self.gate.passed()
        return found


async def test_who_fell_behind_reads_what_it_missed_and_not_what_comes_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actors.courier._BUFFER_ENTRIES_MAX", 5)
    async with world() as w:
        await until(lambda: w.hosts[0].courier.lag == 0)
        gated = GatedStreams(w)
        w.hosts[0].courier._streams = gated
        reads = CountedReads(w, monkeypatch)
        with reads.gate.held():
            with gated.gate.held():
                await w.receive("TEA", 1)
                await until(lambda: gated.gate.waiting == 1)
                for _ in range(7):  # The buffer overflows while the first is sent.
                    await w.receive("TEA", 1)
            await until(lambda: reads.gate.waiting == 1)
            reads.after.clear()
            for _ in range(3):
                await w.receive("TEA", 1)
        await until(lambda: w.hosts[0].courier.lag == 0)
        assert reads.after == []
        assert is_complete(w)


async def test_who_found_no_room_in_a_round_is_first_in_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.courier._ENTRIES_PER_MESSAGE", 2)
    monkeypatch.setattr("actors.courier._ENTRIES_PER_ROUND", 4)
    skus = {number_of(sku): sku for sku in (f"SKU-{n}" for n in range(40))}
    async with world() as w:
        await until(lambda: w.hosts[0].courier.lag == 0)
        gated = GatedStreams(w)
        w.hosts[0].courier._streams = gated
        with gated.gate.held():
            await w.receive("TEA", 1)
            await until(lambda: gated.gate.waiting == 1)
            before = len(w.streams.ledger)
            for _ in range(6):
                for sku in skus.values():
                    await w.receive(sku, 1)
        await until(lambda: w.hosts[0].courier.lag == 0)
        sent = [int(message.subject.split(".")[1]) for message in w.streams.ledger[before:]]
        assert set(sent[: len(skus)]) >= set(skus) - {number_of("TEA")}


async def test_what_is_broadcast_while_nobody_waits_is_not_made_up_for_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world() as w:
        host, courier = w.hosts[0].host, w.hosts[0].courier
        w.streams.is_away = True
        await work(w, 20)
        with monkeypatch.context() as dear:
            dear.setattr("actors.courier._S_PER_ENTRY", 1.0)
            w.streams.is_away = False
            await until(lambda: courier.lag == 0)
        host.in_flight += 1  # Somebody waits from now on.
        try:
            for _ in range(3):
                await w.receive("TEA", 1)
                await until(lambda: courier.lag == 0)
        finally:
            host.in_flight -= 1

"""Keys that are older than the host's window: repeats get the first answer, whatever the stock is by now."""

import asyncio
from collections.abc import Sequence

import pytest

from actors.key_window import KeyWindow
from actors.outcomes import Answered
from actors.requests import Status
from engine.commands import MoveStock, PickStock, ReceiveStock
from engine.entries import Entry
from tests.component.actors.steered import Gate
from tests.component.actors.world import World, code_of, number_of, skus_in, until, view_of, world


async def forget_all(w: World) -> None:
    for _ in range(20):
        await w.receive("OTHER", 1)


@pytest.fixture
async def w() -> World:
    async with world(key_window=8) as made:
        yield made


async def test_a_reservation_of_what_is_sold_out_by_now(w: World) -> None:
    await w.receive("TEA", 5)
    first = view_of(await w.reserve("TEA", 5, key="old"))
    await forget_all(w)
    again = await w.reserve("TEA", 5, key="old")
    assert isinstance(again, Answered)
    assert again.replayed
    assert again.view == first


async def test_a_pick_of_what_is_picked_already(w: World) -> None:
    await w.receive("TEA", 5)
    await w.receive("MUG", 5)
    alone = view_of(await w.reserve("TEA", 5))["id"]

    async def pick(key: str) -> object:
        return await w.reservations.pick(
            alone, quantity=None, sku=None, location=None, lot=None, short_reason=None, key=key
        )

    first = await pick("old")
    await forget_all(w)
    again = await pick("old")
    assert isinstance(first, Answered)
    assert isinstance(again, Answered)
    assert again.replayed
    assert again.view == first.view
    assert code_of(await pick("new")) == "reservation_resolved"


async def test_what_is_decided_again_beside_a_repeat_finds_a_reservation_that_rests(
    w: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipt = ReceiveStock("LON", "TEA", "A", 5)
    await w.ask(receipt, "old receipt")
    reservation = view_of(await w.reserve("TEA", 5))["id"]
    await w.reservations.release(reservation, quantity=None, sku=None, key="old release")
    await forget_all(w)
    await w.gateway.flush()
    core = w.hosts[0].host
    assert not any(owned.state.reservations for owned in core.owned.values())
    look_up = core.ledger.with_keys

    async def slow_look_up(keys: Sequence[str]) -> list[Entry]:
        if "new release" in keys:
            await until(lambda: core.gauges.rewinds == 1)
        return await look_up(keys)

    monkeypatch.setattr(core.ledger, "with_keys", slow_look_up)
    release = w.reservations.release(reservation, quantity=None, sku=None, key="new release")
    released, received = await asyncio.gather(release, w.ask(receipt, "old receipt"))
    assert core.gauges.rewinds == 1
    assert code_of(released) == "reservation_resolved"
    assert isinstance(received, Answered)
    assert received.replayed


async def test_what_is_in_doubt_while_its_partition_is_handed_over_finds_a_reservation_that_rests(
    w: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await w.receive("TEA", 5)
    reservation = view_of(await w.reserve("TEA", 5))["id"]
    await w.reservations.release(reservation, quantity=None, sku=None, key="old release")
    await forget_all(w)
    await w.gateway.flush()
    core = w.hosts[0].host
    owned = core.owned[number_of("TEA")]
    look_up = core.ledger.with_keys
    asked: list[Sequence[str]] = []

    async def slow_look_up(keys: Sequence[str]) -> list[Entry]:
        if "new release" in keys and not asked:
            asked.append(keys)
            await w.hosts[0].snapshotter.flush()  # As before a hand-over, which then pauses the partition.
            assert not owned.state.reservations
            owned.is_ready = False
        return await look_up(keys)

    monkeypatch.setattr(core.ledger, "with_keys", slow_look_up)
    release = w.reservations.release(reservation, quantity=None, sku=None, key="new release")
    released = asyncio.ensure_future(release)
    await until(lambda: not owned.is_ready and bool(owned.queue))
    owned.is_ready = True  # The hand-over came to nothing.
    core.activator.wake(owned)
    assert code_of(await released) == "reservation_resolved"


async def test_units_that_are_taken_once_and_asked_for_twice_at_the_same_time(w: World) -> None:
    await w.receive("TEA", 1)
    await forget_all(w)
    take = PickStock("LON", "TEA", 1)
    await w.ask(take, "old")
    await forget_all(w)
    asked = [w.ask(take, "old"), w.ask(take, "old"), w.ask(take, "new"), w.ask(take, "new")]
    outcomes = [await one for one in asked]
    assert [isinstance(outcome, Answered) for outcome in outcomes] == [True, True, False, False]


async def test_an_owner_knows_every_key_only_of_partitions_that_nobody_used() -> None:
    async with world() as made:
        assert made.hosts[0].host.keys.is_whole
        await made.receive("TEA", 5)
        second = await made.host("second")
        assert not second.host.keys.is_whole


async def test_nor_after_claims_that_were_refused_and_left_no_entry() -> None:
    async with world() as made:
        number = number_of("TEA")
        tables = made.database.partitions[number]
        await made.receive("TEA", 5)
        await made.hosts[0].snapshotter.flush()
        await made.kill(made.hosts[0])
        gone = tables.ledger.pop()
        refused = await made.host("second", [number])
        for _ in range(3):
            await refused.take([number])
        tables.ledger.append(gone)
        third = await made.host("third", [number])
        assert len(tables.ledger) < tables.epoch
        assert not third.host.keys.is_whole


def test_a_window_is_bounded_in_bytes_but_for_what_is_in_flight() -> None:
    window = KeyWindow(100, bytes_max=50)
    for n in range(10):
        window.remember(f"k{n}", n, Status.ANSWERED, b"x" * 10)
    window.forget("k1", 1)
    window.remember("k1", 1, Status.REFUSED, b"y" * 10)
    window.trim(7)
    assert [n for n in range(10) if window.get(f"k{n}")] == [1, 4, 5, 6, 7, 8, 9]
    window.trim(0)
    assert [n for n in range(10) if window.get(f"k{n}")] == [1, 6, 7, 8, 9]
    assert not window.is_whole


async def test_a_refusal_stays_a_refusal_and_other_bodies_are_refused(w: World) -> None:
    await w.receive("TEA", 5)
    await w.reserve("TEA", 5, key="old")
    await forget_all(w)
    assert code_of(await w.reserve("TEA", 4, key="old")) == "idempotency_key_reused"
    assert code_of(await w.reserve("TEA", 1, key="other")) == "insufficient_stock"
    assert code_of(await w.reserve("TEA", 1, key="other")) == "insufficient_stock"


async def test_a_key_in_doubt_at_several_partitions_is_settled_for_all_of_them(
    w: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three bodies under one key, all refused while the ledger is asked for it: the first one has it."""
    skus = [skus_in(number, 1)[0] for number in (3, 4, 5)]
    for sku in skus:
        await w.receive(sku, 1)
    await forget_all(w)
    host, gate = w.hosts[0].host, Gate()
    look_up = host.ledger.with_keys
    questions: list[list[str]] = []

    async def held_look_up(keys: Sequence[str]) -> list[Entry]:
        questions.append(list(keys))
        await gate.passed()
        return await look_up(keys)

    monkeypatch.setattr(host.ledger, "with_keys", held_look_up)
    with gate.held():
        asked = [asyncio.ensure_future(w.ask(PickStock("LON", skus[0], 5), "same"))]
        await until(lambda: gate.waiting == 1)
        asked.append(asyncio.ensure_future(w.ask(PickStock("LON", skus[1], 5), "same")))
        await until(lambda: "same" in host.doubts._open)
        asked.append(asyncio.ensure_future(w.ask(PickStock("LON", skus[2], 5), "same")))
        asked.append(asyncio.ensure_future(w.ask(PickStock("LON", skus[0], 5), "same")))
        await until(lambda: len(host.doubts._open["same"].requests) == 3)
    refusals = [code_of(outcome) for outcome in await asyncio.gather(*asked)]
    assert refusals == ["insufficient_stock", *["idempotency_key_reused"] * 2, "insufficient_stock"]
    assert questions == [["same"], ["same"]]
    await until(lambda: host.in_flight == 0)


async def test_a_refusal_in_doubt_is_decided_again_when_its_partition_was_rewound(
    w: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rewind makes another owner of the partition; what the old one refused may be possible by now."""
    await w.ask(ReceiveStock("LON", "TEA", "A", 1), "old receipt")
    await forget_all(w)
    host, gate = w.hosts[0].host, Gate()
    look_up = host.ledger.with_keys

    async def held_look_up(keys: Sequence[str]) -> list[Entry]:
        if "pick" in keys:
            await gate.passed()
        return await look_up(keys)

    monkeypatch.setattr(host.ledger, "with_keys", held_look_up)
    with gate.held():
        picked = asyncio.ensure_future(w.ask(PickStock("LON", "TEA", 2), "pick"))
        await until(lambda: gate.waiting == 1)
        again = await w.ask(ReceiveStock("LON", "TEA", "A", 1), "old receipt")
        assert isinstance(again, Answered)
        assert host.gauges.rewinds == 1
        await w.receive("TEA", 1)
    view_of(await picked)
    assert await w.stock("TEA") == (0, 0)


async def test_a_repeat_in_a_long_history_gets_its_first_answer() -> None:
    async with world(key_window=4) as w:
        asked = [w.ask(ReceiveStock("LON", "TEA", "A", 1), f"receipt {n}") for n in range(1_200)]
        first = await asyncio.gather(*asked)
        for n in (0, 499, 700, 1_190):
            again = await w.ask(ReceiveStock("LON", "TEA", "A", 1), f"receipt {n}")
            assert again == Answered(view_of(first[n]), True)
        assert await w.stock("TEA") == (1_200, 0)


async def test_a_move_to_the_bin_where_it_was(w: World) -> None:
    await w.receive("TEA", 5)
    first = view_of(await w.ask(MoveStock("LON", "TEA", "A", "A", 2), "old"))
    await w.receive("TEA", 1)
    await forget_all(w)
    again = await w.ask(MoveStock("LON", "TEA", "A", "A", 2), "old")
    assert isinstance(again, Answered)
    assert again.replayed
    assert again.view == first
    assert code_of(await w.ask(MoveStock("LON", "TEA", "A", "A", 3), "old")) == "idempotency_key_reused"

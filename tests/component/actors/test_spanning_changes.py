"""Picks, releases and extensions of reservations that span partitions."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from actors.outcomes import Answered, Outcome, OutcomeUnknown, Unavailable
from actors.reservations import SpanningReservations
from engine.commands import Command, ReserveLine
from engine.refusals import Refused
from tests.component.actors.spanning import (
    SKUS,
    KilledError,
    MortalGateway,
    fill,
    lines_of,
    reserve,
    reserved,
    sweep,
)
from tests.component.actors.world import (
    World,
    code_of,
    number_of,
    view_of,
    world,
)


async def pick(w: World, public_id: str, key: str, **named: Any) -> Outcome:
    options = {"quantity": None, "sku": None, "location": None, "lot": None, "short_reason": None, **named}
    return await w.reservations.pick(public_id, key=key, **options)


async def release(w: World, public_id: str, key: str, **named: Any) -> Outcome:
    return await w.reservations.release(public_id, key=key, **{"quantity": None, "sku": None, **named})


async def test_a_pick_and_a_release_may_name_a_sku_and_a_quantity() -> None:
    async with world() as w:
        await fill(w)
        public_id = view_of(await reserve(w, lines_of(4), "all"))["id"]
        picked = view_of(await pick(w, public_id, "p", sku=SKUS[1], quantity=3))
        assert picked["state"] == "part_picked"
        assert [line["picked"] for line in picked["lines"]] == [0, 3, 0]
        released = view_of(await release(w, public_id, "r", sku=SKUS[2], quantity=1))
        assert [line["released"] for line in released["lines"]] == [0, 0, 1]
        assert code_of(await pick(w, public_id, "q", quantity=1)) == "sku_required"
        assert code_of(await pick(w, public_id, "s", sku="OTHER", quantity=1)) == "sku_not_reserved"
        assert code_of(await pick(w, public_id, "t", sku=SKUS[0], quantity=5)) == "exceeds_reserved"
        assert await reserved(w) == [4, 1, 3]
        whole = view_of(await pick(w, public_id, "whole"))
        assert whole["state"] == "picked"
        assert await reserved(w) == [0, 0, 0]


async def test_a_share_that_refuses_is_told_with_what_changed() -> None:
    async with world() as w:
        await fill(w)
        public_id = view_of(await reserve(w, lines_of(4), "all"))["id"]
        await w.receive(SKUS[1], 4, "B")
        outcome = await pick(w, public_id, "p", location="B")
        assert isinstance(outcome, Refused)
        assert outcome.code == "insufficient_stock"
        assert outcome.fields["changed"] == [SKUS[1]]
        assert await reserved(w) == [4, 0, 4]
        assert view_of(await pick(w, public_id, "q"))["state"] == "picked"


@pytest.mark.parametrize("failing", [[0], [1, 2], [0, 1, 2]])
async def test_a_change_that_a_share_did_not_hear_of_is_unknown_unless_none_did(
    failing: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world() as w:
        await fill(w)
        public_id = view_of(await reserve(w, lines_of(4), "all"))["id"]
        submit, away = w.gateway.submit, [number_of(SKUS[index]) for index in failing]

        def cut(partition: int, command: Command, key: str) -> asyncio.Future[Outcome]:
            if partition not in away or not getattr(command, "is_share", False):
                return submit(partition, command, key)
            lost: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
            lost.set_exception(Unavailable())
            return lost

        monkeypatch.setattr(w.gateway, "submit", cut)
        with pytest.raises(Unavailable if len(failing) == len(SKUS) else OutcomeUnknown):
            await pick(w, public_id, "p")
        monkeypatch.undo()
        assert view_of(await pick(w, public_id, "p"))["state"] == "picked"
        assert [await w.stock(sku) for sku in SKUS] == [(6, 0)] * 3


async def test_what_happened_and_cannot_be_shown_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as w:
        await fill(w)
        public_id = view_of(await reserve(w, lines_of(4), "all"))["id"]
        submit = w.gateway.submit

        def lost(*_: object) -> asyncio.Future[Outcome]:
            unanswered: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
            unanswered.set_exception(Unavailable())
            return unanswered

        def cut(partition: int, command: Command, key: str) -> asyncio.Future[Outcome]:
            is_elsewhere = getattr(command, "is_share", False) and partition != number_of(SKUS[1])
            return lost() if is_elsewhere else submit(partition, command, key)

        monkeypatch.setattr(w.gateway, "submit", cut)
        with pytest.raises(OutcomeUnknown):
            await pick(w, public_id, "p", sku=SKUS[1])
        monkeypatch.undo()
        again = await pick(w, public_id, "p", sku=SKUS[1])
        assert isinstance(again, Answered)
        assert again.replayed
        monkeypatch.setattr(w.gateway, "query", lost)
        with pytest.raises(OutcomeUnknown):
            await reserve(w, lines_of(4), "all")


async def test_a_repeat_of_a_pick_of_several_takes_nothing_more() -> None:
    async with world() as w:
        await fill(w)
        public_id = view_of(await reserve(w, lines_of(4), "all"))["id"]
        first = await pick(w, public_id, "p")
        again = await pick(w, public_id, "p")
        assert isinstance(again, Answered)
        assert again.replayed
        assert again.view == view_of(first)
        assert code_of(await pick(w, public_id, "p", sku=SKUS[0])) == "idempotency_key_reused"
        assert code_of(await pick(w, public_id, "another")) == "reservation_resolved"
        assert [await w.stock(sku) for sku in SKUS] == [(6, 0)] * 3


async def test_a_soft_one_is_extended_and_expires_everywhere() -> None:
    async with world() as w:
        await fill(w)
        public_id = view_of(await reserve(w, lines_of(4), "soft", ttl_s=10))["id"]
        w.now_ms += 9_000
        view_of(await w.reservations.extend(public_id, ttl_s=10, key="extend"))
        w.now_ms += 9_000
        assert await reserved(w) == [4, 4, 4]
        w.now_ms += 1_000
        assert await reserved(w) == [0, 0, 0]
        assert view_of(await w.reservations.find(public_id))["state"] == "expired"
        assert code_of(await pick(w, public_id, "late")) == "reservation_resolved"


async def test_one_that_wakes_is_the_same_as_it_was() -> None:
    async with world() as w:
        await fill(w)
        made = view_of(await reserve(w, lines_of(4), "all", ttl_s=60))
        await w.hosts[0].snapshotter.flush()
        await w.host("second")
        assert view_of(await w.reservations.find(made["id"])) == made
        view_of(await release(w, made["id"], "r"))
        assert await reserved(w) == [0, 0, 0]


async def test_steps_that_are_repeated_after_a_failover_are_answered_from_the_ledger() -> None:
    async with world() as w:
        await fill(w)
        sent: list[tuple[int, Command, str]] = []

        def remember(
            submit: Callable[[int, Command, str], asyncio.Future[Outcome]],
        ) -> Callable[[int, Command, str], asyncio.Future[Outcome]]:
            def remembered(partition: int, command: Command, key: str) -> asyncio.Future[Outcome]:
                sent.append((partition, command, key))
                return submit(partition, command, key)

            return remembered

        w.hosts[0].peers.submit = remember(w.hosts[0].peers.submit)  # type: ignore[method-assign]
        w.gateway.submit = remember(w.gateway.submit)  # type: ignore[method-assign]
        view_of(await reserve(w, lines_of(4), "all"))
        code_of(await reserve(w, [*lines_of(1), ReserveLine("LON", "NONE", 1, index=3)], "refused"))
        for dies_at in (3, 4):
            gateway = MortalGateway(w, dies_at=dies_at, sends_it=True)
            coordinator = SpanningReservations(gateway, tentative_ttl_s=2.0)
            with contextlib.suppress(KilledError):
                await coordinator.reserve(
                    lines_of(1), ttl_s=None, reference=None, partial=False, key=f"dies {dies_at}"
                )
        await sweep(w)
        steps = list(sent)
        assert {type(command).__name__ for _, command, _ in steps} == {
            "ReserveTentatively",
            "ReserveTogether",
            "ConfirmReservation",
            "AbandonReservation",
            "SettleAttempt",
        }
        before = await reserved(w)
        await w.host("last")
        replayed = 0
        for partition, command, key in steps:
            outcome = await w.gateway.submit(partition, command, key)
            replayed += isinstance(outcome, Answered) and outcome.replayed
        assert replayed >= 8
        assert await reserved(w) == before == [5, 5, 5]

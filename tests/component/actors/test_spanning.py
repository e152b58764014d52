"""Reservations that span partitions: all lines or none, whoever dies when."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from actors.outcomes import Answered, Outcome, OutcomeUnknown, Unavailable
from actors.queries import Query
from actors.reservations import SpanningReservations
from engine.commands import Command, ReserveLine, ReserveTogether
from engine.refusals import Refused
from tests.component.actors.world import (
    PARTITIONS,
    World,
    code_of,
    number_of,
    skus_in,
    until,
    view_of,
    world,
)

SKUS = [skus_in(number, 1)[0] for number in (2, 5, 9)]
"""One in each of three partitions; the first decides."""


class KilledError(BaseException):
    """The coordinator does not exist any more."""


class MortalGateway:
    """A gateway whose owner is killed at its n-th command: before it is sent, or when it is answered."""

    def __init__(self, w: World, *, dies_at: int, sends_it: bool) -> None:
        self.partitions = PARTITIONS
        self._gateway = w.gateway
        self._left = dies_at
        self._sends_it = sends_it
        self.is_dead = False
        self.sent: list[asyncio.Future[Outcome]] = []

    def submit(self, partition: int, command: Command, key: str) -> Awaitable[Outcome]:
        """See `Gateway.submit`."""
        self._left -= 1
        if self.is_dead or (self._left == 0 and not self._sends_it):
            self.is_dead = True
            raise KilledError
        sent = self._gateway.submit(partition, command, key)
        self.sent.append(sent)
        return self._die_after(sent) if self._left == 0 else sent

    async def _die_after(self, sent: Awaitable[Outcome]) -> Outcome:
        await sent
        self.is_dead = True
        raise KilledError

    def query(self, partition: int, query: Query) -> Awaitable[Outcome]:
        """See `Gateway.query`."""
        if self.is_dead:
            raise KilledError
        return self._gateway.query(partition, query)

    async def flush(self) -> None:
        """Nobody asks."""

    async def hosts(self) -> list[dict[str, Any]]:
        """Nobody asks."""
        return []


def lines_of(quantity: int = 1, skus: list[str] | None = None) -> list[ReserveLine]:
    return [ReserveLine("LON", sku, quantity, index=index) for index, sku in enumerate(skus or SKUS)]


async def reserve(w: World, lines: list[ReserveLine], key: str, **fields: Any) -> Outcome:
    options = {"ttl_s": None, "reference": None, "partial": False, **fields}
    return await w.reservations.reserve(lines, key=key, **options)


async def fill(w: World, quantity: int = 10) -> None:
    for sku in SKUS:
        await w.receive(sku, quantity)


async def reserved(w: World) -> list[int]:
    """Return the units reserved of each SKU, once nothing is undecided any more."""
    return [(await w.stock(sku))[1] for sku in SKUS]


async def sweep(w: World) -> None:
    """Let the deadline of whatever is undecided pass, and have it settled."""
    w.now_ms += 2_001
    host = w.hosts[-1]
    host.clockwork.settle_overdue()
    await until(lambda: not any(owned.state.tentative for owned in host.host.owned.values()))


async def test_the_steps_of_a_coordinator_are_known() -> None:
    async with world() as w:
        await fill(w)
        gateway = MortalGateway(w, dies_at=100, sends_it=True)
        coordinator = SpanningReservations(gateway, lambda: w.now_ms)
        outcome = await coordinator.reserve(lines_of(), ttl_s=None, reference=None, partial=False, key="all")
        view_of(outcome)
        # Ask for the key, hold, hold, decide, confirm, confirm: the tests below kill it at each.
        assert len(gateway.sent) == 6


@pytest.mark.parametrize("sends_it", [True, False])
@pytest.mark.parametrize("dies_at", [1, 2, 3, 4, 5, 6])
async def test_a_coordinator_killed_at_any_step_leaves_all_lines_or_none(
    dies_at: int, sends_it: bool
) -> None:
    async with world() as w:
        await fill(w)
        gateway = MortalGateway(w, dies_at=dies_at, sends_it=sends_it)
        coordinator = SpanningReservations(gateway, lambda: w.now_ms, tentative_ttl_s=2.0)
        with contextlib.suppress(KilledError):  # Confirmations are not waited for one by one.
            await coordinator.reserve(lines_of(4), ttl_s=None, reference=None, partial=False, key="all")
        assert gateway.is_dead
        await asyncio.gather(*gateway.sent)
        await sweep(w)
        is_decided = dies_at > 4 or (dies_at == 4 and sends_it)
        assert await reserved(w) == ([4, 4, 4] if is_decided else [0, 0, 0])
        # Whoever asks again with the same key gets a definite answer, and everything once.
        again = await reserve(w, lines_of(4), "all")
        assert isinstance(again, Answered)
        assert again.replayed == is_decided
        assert await reserved(w) == [4, 4, 4]


@pytest.mark.parametrize("dies_at", [3, 4, 5])
async def test_a_takeover_after_the_coordinator_died_leaves_all_lines_or_none(dies_at: int) -> None:
    async with world() as w:
        await fill(w)
        gateway = MortalGateway(w, dies_at=dies_at, sends_it=True)
        coordinator = SpanningReservations(gateway, lambda: w.now_ms, tentative_ttl_s=2.0)
        with contextlib.suppress(KilledError):  # Confirmations are not waited for one by one.
            await coordinator.reserve(lines_of(4), ttl_s=None, reference=None, partial=False, key="all")
        assert gateway.is_dead
        await asyncio.gather(*gateway.sent)
        await w.hosts[0].snapshotter.flush()
        await w.host("second")
        w.now_ms += 2_001
        await until(lambda: not w.hosts[1].host.in_flight)
        await sweep(w)
        assert await reserved(w) in ([4, 4, 4], [0, 0, 0])


async def test_a_decision_whose_answer_was_lost_is_confirmed_not_abandoned() -> None:
    async with world() as w:
        await fill(w)
        submit, gate = w.gateway.submit, w.ledgers[0].gate

        def submit_and_hold(partition: int, command: Command, key: str) -> asyncio.Future[Outcome]:
            if isinstance(command, ReserveTogether) and command.deadline_ms:
                gate.hold()
            return submit(partition, command, key)

        w.gateway.submit = submit_and_hold  # type: ignore[method-assign]
        asked = asyncio.ensure_future(reserve(w, lines_of(4), "all"))
        await until(lambda: gate.waiting == 1)
        for lane in list(w.hosts[0].lanes.lanes):
            lane.close()  # The answer has nowhere to go: the gateway sends the decision again.
        await until(lambda: w.hosts[0].host.in_flight >= 2)
        gate.release()
        assert view_of(await asked)["state"] == "held"
        await sweep(w)
        assert await reserved(w) == [4, 4, 4]


@pytest.mark.parametrize("overload", [True, False])
async def test_a_decision_that_may_have_happened_is_not_undone_by_a_host_that_is_busy(overload: bool) -> None:
    async with world() as w:
        await fill(w)
        submit, gate = w.gateway.submit, w.ledgers[0].gate

        def submit_and_hold(partition: int, command: Command, key: str) -> asyncio.Future[Outcome]:
            if isinstance(command, ReserveTogether) and command.deadline_ms:
                gate.hold()
            return submit(partition, command, key)

        w.gateway.submit = submit_and_hold  # type: ignore[method-assign]
        asked = asyncio.ensure_future(reserve(w, lines_of(4), "all"))
        await until(lambda: gate.waiting == 1)
        host = w.hosts[0].host
        if overload:
            object.__setattr__(host.options, "max_in_flight", 0)
        else:
            host.is_stopping = True
        for lane in list(w.hosts[0].lanes.lanes):
            lane.close()
        with pytest.raises(Exception, match="may have happened"):
            await asked
        gate.release()
        object.__setattr__(host.options, "max_in_flight", 1_000)
        host.is_stopping = False
        await sweep(w)
        assert await reserved(w) == [4, 4, 4]


async def test_two_that_want_the_same_last_units_do_not_both_fail_and_do_not_both_win() -> None:
    async with world() as w:
        for round_ in range(5):
            await fill(w, 1)
            outcomes = await asyncio.gather(
                *(reserve(w, lines_of(1), f"round {round_} caller {caller}") for caller in range(2))
            )
            assert sorted(isinstance(outcome, Answered) for outcome in outcomes) == [False, True]
            assert await reserved(w) == [round_ + 1] * 3


async def test_one_that_waited_for_an_attempt_that_gave_up_wins() -> None:
    async with world() as w:
        await fill(w, 1)
        await w.receive("EXTRA", 0 + 1)
        losing = reserve(w, [*lines_of(1), ReserveLine("LON", "NONE", 1, index=3)], "loser")
        lost, won = await asyncio.gather(losing, reserve(w, lines_of(1), "winner"))
        assert code_of(lost) == "insufficient_stock"
        assert view_of(won)["state"] == "held"
        assert await reserved(w) == [1, 1, 1]


async def test_a_refused_request_may_succeed_later_under_its_key() -> None:
    async with world() as w:
        await fill(w, 1)
        for sku in SKUS:
            assert code_of(await reserve(w, lines_of(2), "later")) == "insufficient_stock"
            await w.receive(sku, 1)
        assert view_of(await reserve(w, lines_of(2), "later"))["state"] == "held"
        assert await reserved(w) == [2, 2, 2]


async def test_a_repeat_gets_the_first_answer_and_another_body_is_refused() -> None:
    async with world() as w:
        await fill(w)
        first = await reserve(w, lines_of(2), "all", reference="order")
        assert await reserve(w, lines_of(2), "all", reference="order") == Answered(view_of(first), True)
        assert code_of(await reserve(w, lines_of(3), "all", reference="order")) == "idempotency_key_reused"
        await w.hosts[0].snapshotter.flush()
        await w.host("second")
        assert await reserve(w, lines_of(2), "all", reference="order") == Answered(view_of(first), True)
        assert await reserved(w) == [2, 2, 2]


async def test_the_same_request_sent_many_times_at_once_reserves_once() -> None:
    async with world() as w:
        await fill(w)
        outcomes = await asyncio.gather(*(reserve(w, lines_of(2), "all") for _ in range(10)))
        assert len({view_of(outcome)["id"] for outcome in outcomes}) == 1
        await sweep(w)
        assert await reserved(w) == [2, 2, 2]


@pytest.mark.parametrize("empty", range(3))
async def test_a_partial_one_takes_what_there_is(empty: int) -> None:
    async with world() as w:
        for position, sku in enumerate(SKUS):
            if position != empty:
                await w.receive(sku, position + 1)
        view = view_of(await reserve(w, lines_of(5), "part", partial=True))
        expected = [0 if position == empty else position + 1 for position in range(3)]
        await sweep(w)
        have = [(await w.stock(sku))[1] if position != empty else 0 for position, sku in enumerate(SKUS)]
        assert have == expected
        assert sum(line["quantity"] for line in view["lines"]) == sum(expected)
        assert code_of(await reserve(w, lines_of(5), "none", partial=True)) == "insufficient_stock"


Change = Callable[[World, str], Awaitable[Outcome]]


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
            coordinator = SpanningReservations(gateway, lambda: w.now_ms, tentative_ttl_s=2.0)
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

"""Changes of reservations that span partitions: their keys are kept, and a repeat gets the first answer."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.outcomes import Answered, Outcome
from actors.reservations import SpanningReservations
from engine.apply import apply
from engine.commands import PickReservation, ReceiveStock, ReserveLine
from engine.images import digest
from engine.partitioning import reservation_address
from engine.state import Partition
from tests.component.actors.spanning import KilledError, MortalGateway
from tests.component.actors.world import World, code_of, number_of, skus_in, until, view_of, world

HOME, *OTHERS = SKUS = [skus_in(number, 1)[0] for number in (2, 5, 9)]
Change = Callable[[World, str, str], Awaitable[Outcome]]


async def made(w: World, key: str = "made", *, units: int = 4, ttl_s: int | None = None) -> str:
    """Reserve units of each SKU; return the id."""
    for sku in SKUS:
        await w.receive(sku, 10)
    lines = [ReserveLine("LON", sku, units, index=index) for index, sku in enumerate(SKUS)]
    outcome = await w.reservations.reserve(lines, ttl_s=ttl_s, reference="r", partial=False, key=key)
    return str(view_of(outcome)["id"])


async def pick(w: World, public_id: str, key: str, **named: Any) -> Outcome:
    options = {"quantity": None, "sku": None, "location": None, "lot": None, "short_reason": None, **named}
    return await w.reservations.pick(public_id, key=key, **options)


async def release(w: World, public_id: str, key: str, **named: Any) -> Outcome:
    return await w.reservations.release(public_id, key=key, **{"quantity": None, "sku": None, **named})


async def extend(w: World, public_id: str, key: str) -> Outcome:
    return await w.reservations.extend(public_id, ttl_s=90, key=key)


CHANGES: dict[str, Change] = {
    "pick": pick,
    "pick one": lambda w, id_, key: pick(w, id_, key, sku=OTHERS[0]),
    "pick at home": lambda w, id_, key: pick(w, id_, key, sku=HOME, quantity=1),
    "release": release,
    "release some": lambda w, id_, key: release(w, id_, key, sku=OTHERS[1], quantity=2),
    "extend": extend,
}


async def forgotten(w: World) -> None:
    """Have a host take over that remembers no key."""
    await w.hosts[-1].snapshotter.flush()
    await w.host(f"host-{len(w.hosts)}", recovered_keys=0)


@pytest.mark.parametrize("is_lost", [False, True])
@pytest.mark.parametrize("name", CHANGES)
async def test_the_key_of_a_change_of_several_shares_is_for_nothing_else(name: str, is_lost: bool) -> None:
    async with world() as w:
        one, other = await made(w, ttl_s=60), await made(w, "other", ttl_s=60)
        view_of(await CHANGES[name](w, one, "k"))
        before = [await w.stock(sku) for sku in SKUS]
        if is_lost:
            await forgotten(w)
        receipt = ReceiveStock("LON", "FRESH", "A", 1)
        assert code_of(await w.ask(receipt, "k")) == "idempotency_key_reused"
        assert code_of(await w.reserve(OTHERS[0], 1, key="k")) == "idempotency_key_reused"
        for change in (pick, release, extend, CHANGES["pick one"]):
            assert code_of(await change(w, other, "k")) == "idempotency_key_reused"
            if change is not CHANGES[name]:
                assert code_of(await change(w, one, "k")) == "idempotency_key_reused"
        assert [await w.stock(sku) for sku in SKUS] == before


@pytest.mark.parametrize("is_lost", [False, True])
@pytest.mark.parametrize("name", CHANGES)
async def test_a_repeat_shows_every_share_as_it_was(name: str, is_lost: bool) -> None:
    async with world() as w:
        public_id = await made(w, ttl_s=60)
        view_of(await release(w, public_id, "before", sku=OTHERS[1], quantity=1))
        first = await CHANGES[name](w, public_id, "k")
        w.now_ms += 10
        for sku in SKUS:
            await pick(w, public_id, f"after {sku}", sku=sku)
        if is_lost:
            await forgotten(w)
        assert await CHANGES[name](w, public_id, "k") == Answered(view_of(first), True)


async def test_a_repeat_shows_shares_that_were_over_as_they_ended() -> None:
    async with world() as w:
        public_id = await made(w)
        view_of(await pick(w, public_id, "home", sku=HOME))
        view_of(await pick(w, public_id, "one", sku=OTHERS[0]))
        first = view_of(await release(w, public_id, "k"))
        assert [(line["picked"], line["released"]) for line in first["lines"]] == [(4, 0), (4, 0), (0, 4)]
        await forgotten(w)
        assert await release(w, public_id, "k") == Answered(first, True)


async def test_a_key_that_was_used_before_changes_no_share() -> None:
    async with world() as w:
        public_id = await made(w)
        await w.receive("FRESH", 1)
        view_of(await w.ask(ReceiveStock("LON", "FRESH", "A", 1), "k"))
        await forgotten(w)
        for change in (pick, release, CHANGES["pick one"]):
            assert code_of(await change(w, public_id, "k")) == "idempotency_key_reused"
        assert [await w.stock(sku) for sku in SKUS] == [(10, 4)] * 3


@pytest.mark.parametrize("sends_it", [True, False])
@pytest.mark.parametrize("dies_at", [1, 2, 3, 4])
async def test_a_coordinator_killed_at_any_step_of_a_change_is_followed_up(
    dies_at: int, sends_it: bool
) -> None:
    async with world() as w:
        public_id = await made(w)
        gateway = MortalGateway(w, dies_at=dies_at, sends_it=sends_it)
        mortal = SpanningReservations(gateway)
        with contextlib.suppress(KilledError):
            await mortal.pick(
                public_id, quantity=None, sku=None, location=None, lot=None, short_reason=None, key="k"
            )
        assert gateway.is_dead
        await asyncio.gather(*gateway.sent)
        await forgotten(w)
        if gateway.sent:
            assert code_of(await release(w, public_id, "k")) == "idempotency_key_reused"
        assert view_of(await pick(w, public_id, "k"))["state"] == "picked"
        assert [await w.stock(sku) for sku in SKUS] == [(6, 0)] * 3


async def test_the_id_of_a_share_is_no_reservations() -> None:
    async with world() as w:
        public_id = await made(w)
        address = reservation_address(public_id)
        assert address is not None
        home = w.hosts[0].host.owned[address.partition].state.reservations[address.number]
        partition, number, opened_at_ms = home.parts[0]
        outcome = await w.gateway.submit(partition, PickReservation(number, opened_at_ms), "k")
        assert code_of(outcome) == "reservation_spans"


class Do(NamedTuple):
    """Change the `index`-th reservation under a key; what was sent under it before is sent again."""

    name: str
    key: int
    index: int


STEPS = st.one_of(
    st.lists(st.builds(Do, st.sampled_from(list(CHANGES)), st.integers(0, 8), st.integers(0, 1)), min_size=1,
             max_size=4),
    st.just("take over"),
    st.just("forget"),
    st.just("wait"),
)  # fmt: skip


async def play(steps: list[Any]) -> None:
    w = World()
    sent: dict[int, Do] = {}
    answers: dict[int, dict[str, Any]] = {}
    try:
        await w.host("host-0", key_window=3, active_stocks_max=0)
        ids = [await made(w, f"made {index}", ttl_s=60) for index in range(2)]

        async def send(do: Do) -> None:
            do = sent.setdefault(do.key, do)
            outcome = await CHANGES[do.name](w, ids[do.index], f"key {do.key}")
            if not isinstance(outcome, Answered):
                assert do.key not in answers, f"{do} was answered before and is refused now: {outcome}"
            else:
                assert answers.setdefault(do.key, outcome.view) == outcome.view, f"{do} has two answers"

        for index, step in enumerate(steps):
            if isinstance(step, list):
                await asyncio.gather(*(send(do) for do in step))
            elif step == "wait":
                w.now_ms += 35_000
            else:
                if step == "take over":
                    await w.hosts[-1].snapshotter.flush()
                await w.host(f"host-{index + 1}", key_window=3, active_stocks_max=0, recovered_keys=0)
        assert w.faults == []
        await until(lambda: all(owned.is_ready for owned in w.hosts[-1].host.owned.values()))
        for sku in SKUS:
            await w.receive(sku, 1)
            replayed = Partition(number_of(sku))
            for entry in w.database.partitions[number_of(sku)].ledger:
                apply(replayed, entry)
            assert digest(w.hosts[-1].host.owned[number_of(sku)].state) == digest(replayed)
    finally:
        await w.close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, min_size=3, max_size=10))
def test_every_change_of_several_shares_has_one_answer(steps: list[Any]) -> None:
    asyncio.run(play(steps))

"""Random commands and repeats, over takeovers and rests: once per key, and the state is the ledger's."""

import asyncio
from typing import Any, NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.outcomes import Answered, Outcome
from engine.apply import apply
from engine.commands import (
    AdjustStock,
    CountStock,
    ExtendReservation,
    HoldStock,
    MoveStock,
    PickReservation,
    PickStock,
    ReceiveStock,
    ReleaseReservation,
    ReserveLine,
    ReserveStock,
    UnholdStock,
)
from engine.images import digest
from engine.partitioning import reservation_address
from engine.state import Partition
from tests.component.actors.world import World, number_of, skus_in

SKUS = [*skus_in(3, 2), *skus_in(7, 1)]
PLACES = st.tuples(st.just("LON"), st.sampled_from(SKUS), st.sampled_from(["A", "B"]))
FEW = st.integers(1, 6)
REASON = st.sampled_from(["damage", "quality"])


class Do(NamedTuple):
    """Send a command under a key; a reservation's is made from the `index`-th one there is."""

    command: Any
    key: int
    index: int


class Take(NamedTuple):
    """Another host takes everything over."""

    flushed: bool


class Later(NamedTuple):
    """Time passes."""

    ms: int


def _reserve(site: str, sku: str, quantity: int, ttl_s: int | None, *, partial: bool) -> ReserveStock:
    return ReserveStock((ReserveLine(site, sku, quantity),), ttl_s, None, partial)


COMMANDS = st.one_of(
    st.builds(lambda place, units: ReceiveStock(*place, units), PLACES, FEW),
    st.builds(
        lambda place, units, ttl_s, partial: _reserve(place[0], place[1], units, ttl_s, partial=partial),
        PLACES,
        FEW,
        st.sampled_from([None, 5, 60]),
        st.booleans(),
    ),
    st.builds(lambda place, units: PickStock(place[0], place[1], units), PLACES, FEW),
    st.builds(lambda place, units: MoveStock(*place, "A" if place[2] == "B" else "B", units), PLACES, FEW),
    st.builds(
        lambda place, delta: AdjustStock(*place, delta, None, "found"), PLACES, st.sampled_from([-2, 2])
    ),
    st.builds(lambda place, counted: CountStock(*place, counted), PLACES, st.integers(0, 9)),
    st.builds(lambda place, units, why: HoldStock(*place, units, None, why), PLACES, FEW, REASON),
    st.builds(lambda place, units, why: UnholdStock(*place, units, None, why), PLACES, FEW, REASON),
    st.builds(lambda units: PickReservation(0, 0, units), st.one_of(st.none(), FEW)),
    st.builds(lambda units: ReleaseReservation(0, 0, units), st.one_of(st.none(), FEW)),
    st.builds(lambda: ExtendReservation(0, 0, 60)),
)
ROUNDS = st.one_of(
    st.lists(st.builds(Do, COMMANDS, st.integers(0, 40), st.integers(0, 20)), min_size=1, max_size=12),
    st.builds(Take, st.booleans()),
    st.builds(Later, st.sampled_from([1, 6_000, 61_000])),
)


class Keeper:
    """Sends commands, and what was sent before under the same key again; remembers the first answers."""

    def __init__(self, w: World) -> None:
        self._world = w
        self._sent: dict[int, tuple[int, Any]] = {}
        self._answers: dict[int, dict[str, Any]] = {}
        self._reservations: list[tuple[int, int, int]] = []

    async def send(self, round_: list[Do]) -> None:
        """Send commands at once, and look at their answers."""
        asked = []
        for do in round_:
            addressed = self._sent.get(do.key) or self._addressed(do)
            if addressed is not None:
                self._sent[do.key] = addressed
                asked.append((do.key, self._world.gateway.submit(*addressed, f"key {do.key}")))
        for key, outcome in zip(
            [key for key, _ in asked], await asyncio.gather(*(one for _, one in asked)), strict=True
        ):
            self._look_at(key, outcome)

    def _addressed(self, do: Do) -> tuple[int, Any] | None:
        command = do.command
        if isinstance(command, ReserveStock):
            return number_of(command.lines[0].sku), command
        if not isinstance(command, PickReservation | ReleaseReservation | ExtendReservation):
            return number_of(command.sku), command
        if not self._reservations:
            return None
        partition, number, opened_at_ms = self._reservations[do.index % len(self._reservations)]
        return partition, command._replace(number=number, opened_at_ms=opened_at_ms)

    def _look_at(self, key: int, outcome: Outcome) -> None:
        if not isinstance(outcome, Answered):
            assert key not in self._answers, f"key {key} was answered before and is refused now: {outcome}"
            return
        first = self._answers.setdefault(key, outcome.view)
        assert outcome.view == first, f"key {key} has two answers"
        address = reservation_address(outcome.view["id"]) if "id" in outcome.view else None
        if address is not None and address not in self._reservations:
            self._reservations.append(address)


async def play(rounds: list[list[Do] | Take | Later]) -> None:
    w = World()
    try:
        await w.host("host-0", key_window=3, active_stocks_max=0)
        keeper = Keeper(w)
        for index, round_ in enumerate(rounds):
            if isinstance(round_, list):
                await keeper.send(round_)
            elif isinstance(round_, Later):
                w.now_ms += round_.ms
            else:
                if round_.flushed:
                    await w.hosts[-1].snapshotter.flush()
                await w.host(f"host-{index + 1}", key_window=3, active_stocks_max=0)
        for sku in SKUS:
            await w.receive(sku, 1)
        assert w.faults == []
        compare(w)
    finally:
        await w.close()


def compare(w: World) -> None:
    """Compare the owner's memory with a replay of the whole ledger."""
    for number in {number_of(sku) for sku in SKUS}:
        replayed = Partition(number)
        for entry in w.database.partitions[number].ledger:
            apply(replayed, entry)
        assert digest(w.hosts[-1].host.owned[number].state) == digest(replayed)
        keys = [entry.key for entry in w.database.partitions[number].ledger if entry.key is not None]
        assert len(keys) == len(set(keys))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ROUNDS, min_size=4, max_size=20))
def test_every_key_has_one_effect_and_one_answer_and_memory_is_the_ledger(
    rounds: list[list[Do] | Take | Later],
) -> None:
    asyncio.run(play(rounds))

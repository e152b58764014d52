"""The engine against a model of numbers, and against itself: what any commands in any order leave."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from engine.commands import ReserveLine, ReserveStock
from engine.images import digest
from engine.refusals import Refused
from engine.reserving import summed
from tests.unit.engine.conftest import PROFILE
from tests.unit.engine.desk import SITE, Desk, everything
from tests.unit.engine.shelves import STRATEGIES, code, locations, lots, restored, some_location, some_lot
from tests.unit.engine.warehouse import Warehouse

SETTINGS = settings(settings.get_profile(PROFILE))


def test_any_commands_leave_the_engine_and_the_model_in_agreement() -> None:
    run_state_machine_as_test(Warehouse, settings=SETTINGS)


def stocked(places: list[tuple[str, str, int]]) -> Desk:
    desk = Desk()
    for location, lot, quantity in places:
        desk.receive(quantity, location, lot=code(lot))
    return desk


stockings = st.lists(st.tuples(locations, lots, st.integers(1, 9)), min_size=1, max_size=6)
lines_of_one_sku = st.lists(
    st.builds(
        ReserveLine, st.just(SITE), st.just("tea"), st.integers(1, 6), some_location, some_lot,
        st.sampled_from(STRATEGIES),
    ),
    min_size=1,
    max_size=4,
)  # fmt: skip


@SETTINGS
@given(stockings, lines_of_one_sku)
def test_a_batch_of_lines_does_what_its_lines_do_one_after_another(
    places: list[tuple[str, str, int]], lines: list[ReserveLine]
) -> None:
    together, apart = stocked(places), stocked(places)
    outcome = together.decide(ReserveStock(tuple(lines)))
    outcomes = []
    for line in summed(lines):
        single = apart.decide(ReserveStock((line,)))
        outcomes.append(single)
        if isinstance(single, Refused):
            break
        apart.apply(single)
    if isinstance(outcome, Refused):
        assert isinstance(outcomes[-1], Refused)
        assert outcomes[-1].code == outcome.code
        return
    together.apply(outcome)
    assert not any(isinstance(single, Refused) for single in outcomes)
    assert digest(together.partition)["seq"] == digest(apart.partition)["seq"]
    for location, lot, _ in places:
        assert together.balance(location, lot) == apart.balance(location, lot)


@SETTINGS
@given(stockings, st.lists(st.integers(1, 6), min_size=2, max_size=4), st.sampled_from(STRATEGIES))
def test_equal_lines_do_what_their_sum_does(
    places: list[tuple[str, str, int]], quantities: list[int], strategy: str
) -> None:
    together, summed_up = stocked(places), stocked(places)
    lines = tuple(
        ReserveLine(SITE, "tea", quantity, strategy=strategy, index=index)
        for index, quantity in enumerate(quantities)
    )
    outcome = together.decide(ReserveStock(lines))
    assert outcome == summed_up.decide(ReserveStock((lines[0]._replace(quantity=sum(quantities)),)))


@SETTINGS
@given(
    stockings, st.lists(st.tuples(st.integers(1, 6), st.sampled_from(STRATEGIES)), max_size=6), st.randoms()
)
def test_a_restored_partition_goes_on_as_the_original_would(
    places: list[tuple[str, str, int]], later: list[tuple[int, str]], shuffle: random.Random
) -> None:
    desk = stocked(places)
    desk.reserve(1, ttl_s=60)
    for quantity, strategy in later:
        twin = Desk()
        twin.partition = restored(desk.partition, shuffle)
        command = ReserveStock((ReserveLine(SITE, "tea", quantity, strategy=strategy),), 60, None, True)
        outcome = desk.decide(command)
        assert twin.decide(command) == outcome
        if not isinstance(outcome, Refused):
            desk.apply(outcome)
            twin.apply(outcome)
            assert everything(twin.partition) == everything(restored(desk.partition, shuffle))

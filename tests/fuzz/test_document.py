"""The whole OpenAPI document, walked by schemathesis, against the API on the memory adapters."""

import pytest

from tests.component.api.world import TOKEN, World
from tests.fuzz.document import walk
from tests.fuzz.tally import SEED, Tally, cases_of
from tests.fuzz.target import own_target


def test_requests_that_are_made_up_are_answered_as_the_document_says() -> None:
    tally = Tally("document", SEED, cases_of(10))
    with own_target() as target:
        walk(tally, target.token, url=target.url, phases=("examples", "fuzzing"))
    print("\n".join(tally.lines()))
    assert tally.total > 150


@pytest.mark.slow
def test_each_rule_of_the_document_is_kept_at_its_edges() -> None:
    world = World()
    tally = Tally("document", SEED, 1)
    walk(tally, TOKEN, app=world.app, phases=("coverage",))
    print("\n".join(tally.lines()))
    assert tally.total > 3_000
    assert all(0 <= reserved + held <= on_hand for on_hand, reserved, held in world.balance())

"""Each object is looked at once; what is garbage only later goes in a quiet moment."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from binkeeper import garbage


class Knot:
    """Something that points at itself, as what is left of a connection may."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    threshold, callbacks = gc.get_threshold(), list(gc.callbacks)
    yield
    gc.callbacks[:] = callbacks
    gc.set_threshold(*threshold)
    gc.unfreeze()


def test_what_survives_a_collection_is_not_looked_at_again() -> None:
    garbage.tune_process()
    garbage.tune_process()
    kept = [Knot() for _ in range(1_000)]
    before = gc.get_freeze_count()
    gc.collect(0)
    assert gc.get_freeze_count() >= before + len(kept)
    assert gc.callbacks.count(garbage._freeze_survivors) == 1


def test_garbage_of_what_was_frozen_goes_in_a_quiet_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    garbage.tune_process()
    monkeypatch.setattr(garbage, "_OLD_MAX", 10**9)
    knot = Knot()
    seen = weakref.ref(knot)
    gc.collect(0)
    del knot
    gc.collect()
    assert seen() is not None
    garbage.tidy_memory()
    assert seen() is None


def test_a_large_heap_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    garbage.tune_process()
    knot = Knot()
    seen = weakref.ref(knot)
    gc.collect(0)
    del knot
    monkeypatch.setattr(garbage, "_OLD_MAX", 0)
    garbage.tidy_memory()
    assert seen() is not None

"""What every read model keeps to."""

from collections.abc import Callable

import pytest

from persistence.read_model import ReadModel
from tests.contract.conftest import Storage
from tests.contract.keeper import Keeper

PLACES = [("coffee", "A-1"), ("tea", "A-1"), ("tea", "B-2"), ("tea", "Ä 1"), ("Zimt", "A-1")]


@pytest.fixture
async def read_model(storage: Storage, keeper: Callable[..., Keeper]) -> ReadModel:
    one, two = keeper(1), keeper(2)
    for each in (one, two):
        await each.take_over()
    for sku, location in PLACES:
        await (one if sku == "tea" else two).receive(5, sku, location)
    await one.receive(2, "tea", "A-1", lot="L1")
    await one.reserve(("tea", 3))
    for each in (one, two):
        await each.save()
    return storage.read_model


async def _places(read_model: ReadModel, **wanted: object) -> list[tuple[str, str]]:
    asked = {"site": None, "sku": None, "location": None, "after": None, "limit": 100, **wanted}
    return [(bin_.sku, bin_.location) for bin_ in await read_model.bins(**asked)]  # type: ignore[arg-type]


async def test_bins_come_in_the_order_of_their_codes(read_model: ReadModel) -> None:
    assert await _places(read_model) == sorted(PLACES)


async def test_a_bin_comes_with_all_its_lots(read_model: ReadModel) -> None:
    (bin_,) = await read_model.bins(site="LDN", sku="tea", location="A-1", after=None, limit=10)
    assert (bin_.site, bin_.sku, bin_.location) == ("LDN", "tea", "A-1")
    assert [(lot.lot, lot.on_hand) for lot in bin_.rows.lots] == [("", 5), ("L1", 2)]
    assert sum(lot.reserved for lot in bin_.rows.lots) == 3


async def test_pages_follow_one_another_without_gap(read_model: ReadModel) -> None:
    seen: list[tuple[str, str]] = []
    while page := await _places(read_model, after=("LDN", *seen[-1]) if seen else None, limit=2):
        assert len(page) <= 2
        seen += page
    assert seen == sorted(PLACES)


@pytest.mark.parametrize(
    "wanted",
    [
        {"sku": "tea"},
        {"location": "A-1"},
        {"location": "Ä 1"},
        {"site": "LDN", "location": "B-2"},
        {"site": "PAR"},
    ],
)
async def test_bins_match_what_is_given(read_model: ReadModel, wanted: dict[str, str]) -> None:
    expected = [
        (sku, location)
        for sku, location in sorted(PLACES)
        if wanted.get("sku", sku) == sku
        and wanted.get("location", location) == location
        and wanted.get("site", "LDN") == "LDN"
    ]
    assert await _places(read_model, **wanted) == expected


async def test_totals_are_sums_over_all_bins(read_model: ReadModel) -> None:
    assert await read_model.totals() == {
        "on_hand": 27,
        "reserved": 3,
        "held": 0,
        "bins": 5,
        "stocks": 3,
        "open_reservations": 1,
    }


async def test_totals_of_nothing_are_zero(storage: Storage) -> None:
    assert set((await storage.read_model.totals()).values()) == {0}

"""Lists over HTTP: pages, and cursors that are not believed."""

import base64
import json
from urllib.parse import quote

import pytest

from tests.component.api.world import World


async def test_bins_are_listed_in_pages(world: World) -> None:
    for location in ("A-1", "A-2", "A-3"):
        await world.stocked(1, location=location)
    await world.stocked(1, site="athens")
    seen, target = [], "/v1/stock?limit=2"
    for _ in range(3):
        page = await world.get(target)
        assert page.status == 200
        seen += [(item["site"], item["location"]) for item in page.body["items"]]
        if page.body["next_cursor"] is None:
            assert "link" not in page.headers
            break
        link = page.headers["link"]
        assert link.endswith('; rel="next"')
        target = link[1 : link.index(">")]
    assert seen == [("athens", "A-1"), ("berlin", "A-1"), ("berlin", "A-2"), ("berlin", "A-3")]
    only = await world.get("/v1/stock?site=berlin&location=A-2")
    assert [item["location"] for item in only.body["items"]] == ["A-2"]
    assert (await world.get("/v1/stock?site=nowhere")).body == {"items": [], "next_cursor": None}


def _forged(place: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "place",
    [
        ["berlin", "apple", "A\0"], ["berlin", "\ud800", "A"], ["berlin", "\x1f", "A"], ["", "a", "b"],
        ["x" * 65, "a", "b"], {"berlin": 1, "apple": 2, "A": 3}, "abc", ["a", "b", "c", "d"], 3, None,
    ],
)  # fmt: skip
async def test_a_forged_cursor_is_refused(world: World, place: object) -> None:
    reply = await world.get(f"/v1/stock?cursor={_forged(place)}")
    assert (reply.status, reply.code) == (422, "invalid_cursor")


@pytest.mark.parametrize("cursor", ["x", "%00", "bm9uc2Vuc2U", "WzEsMiwzXQ", "W10", "", "e30", "a" * 5000])
async def test_a_cursor_that_is_not_ours_is_refused(world: World, cursor: str) -> None:
    reply = await world.get(f"/v1/stock?cursor={cursor}")
    assert (reply.status, reply.code) == (422, "invalid_cursor")


@pytest.mark.parametrize(
    "target",
    [
        "/v1/stock?limit=0", "/v1/stock?limit=1001", "/v1/stock?limit=x", "/v1/stock?limit=-1",
        "/v1/stock?page=2",
        "/v1/stock?limit=1&limit=2", "/v1/stock?site=", "/v1/stock?site=%FF", "/v1/stock/a/b?asof=1",
        "/v1/history/a/b?after=x", "/v1/history/a/b?after=-1", "/v1/history/a/b?limit=٣",
        "/v1/stock?limit=" + "9" * 5000,
        "/v1/stock/a/b?as_of=", "/v1/stock/a/b?as_of=yesterday", "/v1/stock/a/b?as_of=2026-11-20",
        "/v1/stock/a/b?as_of=2026-11-20T08:00:00", "/v1/stock/a/b?as_of=99999999999999999999",
        "/v1/stock/a/b?as_of=2026-W47-5T08:00:00Z", "/v1/stock/a/b?as_of=20261120T080000Z",
        "/v1/stock/a/b?as_of=2026-11-20T08:00Z", "/v1/stock/a/b?as_of=2026-11-20T08:00:00%2B0100",
        "/v1/stock/a/b?as_of=2026-02-30T08:00:00Z", "/v1/stock/a/b?as_of=2026-11-20T08Z",
        "/v1/stock/a/b?as_of=2026-11-20T08:00:00,5Z", "/v1/stock/a/b?as_of=2026-11-20+08:00:00Z",
        "/v1/stock/a/b?as_of=-1",
    ],
)  # fmt: skip
async def test_a_wrong_parameter_is_named(world: World, target: str) -> None:
    reply = await world.get(quote(target, safe="/?&=%"))
    assert (reply.status, reply.code) == (422, "invalid_parameter")
    assert reply.body["errors"][0]["parameter"]

"""A batch's key is the whole batch's: under it no other is carried out, whichever host is asked."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from actors.outcomes import Outcome, Unavailable
from api.app import ApiOptions, create_app
from engine.commands import Command, NoteRequest, ReceiveStock
from engine.entries import Entry
from engine.partitioning import partition_of_key
from persistence.memory import MemoryLedger, MemoryReadModel
from persistence.nats.subjects import ledger_subject
from tests.component.actors.world import PARTITIONS, World, until, world
from tests.component.api.world import TOKEN, Caller, Reply

KEY = {"Idempotency-Key": "k1"}
ONE: dict[str, Any] = {"op": "receive", "site": "LON", "sku": "tea", "location": "A", "quantity": 1}
TWO: dict[str, Any] = {"op": "receive", "site": "LON", "sku": "jam", "location": "A", "quantity": 2}
NONE: dict[str, Any] = {"op": "reserve", "site": "LON", "sku": "none", "quantity": 1}
WRONG: dict[str, Any] = {"op": "receive", "site": "LON", "sku": "tea", "quantity": 1}


class Api(Caller):
    """The API before real hosts, which `is_cut` keeps from hearing of some commands."""

    def __init__(self, w: World) -> None:
        self.w = w
        self.is_cut: Callable[[Command], bool] = lambda _: False
        submit = w.gateway.submit

        def submit_unless_cut(partition: int, command: Command, key: str) -> asyncio.Future[Outcome]:
            if self.is_cut(command):
                raise Unavailable
            return submit(partition, command, key)

        w.gateway.submit = submit_unless_cut  # type: ignore[method-assign]
        ledger, read_model = MemoryLedger(w.database), MemoryReadModel(w.database)
        self.app = create_app(w.gateway, w.reservations, ledger, read_model, ApiOptions(tokens=(TOKEN,)))

    async def batch(self, *operations: Any, **more: Any) -> Reply:
        return await self.post("/v1/batch", {"operations": operations}, **{"headers": KEY, **more})

    async def fail_over(self) -> None:
        """Have a host take over that remembers no key."""
        await self.w.host("second", recovered_keys=0)

    def entries(self) -> list[Entry]:
        """All but claims."""
        ledgers = [tables.ledger for tables in self.w.database.partitions]
        return [entry for ledger in ledgers for entry in ledger if entry.kind != "partition_claimed"]


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with world() as w:
        yield Api(w)


def statuses(reply: Reply) -> list[int]:
    return [result["status"] for result in reply.body["results"]]


async def _is_refused_whole(api: Api, *operations: Any) -> None:
    before = api.entries()
    reply = await api.batch(*operations)
    assert (reply.status, reply.code) == (422, "idempotency_key_reused")
    assert "idempotent-replayed" not in reply.headers
    assert api.entries() == before


@pytest.mark.parametrize("is_lost", [False, True])
@pytest.mark.parametrize(
    "other",
    [[], [ONE], [ONE, TWO, TWO], [TWO, ONE], [ONE, {**TWO, "quantity": 3}], [ONE, {**TWO, "key": "own"}]],
    ids=["empty", "shorter", "longer", "in another order", "changed", "with another key"],
)
async def test_another_batch_under_the_same_key_is_refused_whole(
    api: Api, other: list[Any], is_lost: bool
) -> None:
    assert statuses(await api.batch(ONE, TWO)) == [201, 201]
    if is_lost:
        await api.fail_over()
    await _is_refused_whole(api, *other)
    assert statuses(await api.batch(ONE, TWO)) == [201, 201]
    assert await api.w.stock("tea") == (1, 0)


@pytest.mark.parametrize("is_lost", [False, True])
@pytest.mark.parametrize("first", [[NONE, NONE], [WRONG], []], ids=["refused", "wrong", "empty"])
async def test_a_batch_of_which_nothing_was_done_has_its_key_all_the_same(
    api: Api, first: list[Any], is_lost: bool
) -> None:
    assert (await api.batch(*first)).status == 200
    if is_lost:
        await api.fail_over()
    await _is_refused_whole(api, ONE)


async def test_a_repeat_is_answered_as_the_first_time_by_a_host_that_remembers_nothing(api: Api) -> None:
    first = await api.batch(ONE, TWO)
    assert "idempotent-replayed" not in first.headers
    await api.fail_over()
    again = await api.batch(ONE, TWO)
    assert again.headers["idempotent-replayed"] == "true"
    assert [{**result, "replayed": True} for result in first.body["results"]] == again.body["results"]


async def test_a_repeat_of_an_empty_batch_says_so(api: Api) -> None:
    assert "idempotent-replayed" not in (await api.batch()).headers
    assert (await api.batch()).headers["idempotent-replayed"] == "true"


async def test_a_repeat_finishes_what_a_crash_left_undone(api: Api) -> None:
    api.is_cut = lambda command: isinstance(command, ReceiveStock) and command.sku == "jam"
    assert statuses(await api.batch(ONE, TWO)) == [201, 503]
    api.is_cut = lambda _: False
    await api.fail_over()
    again = await api.batch(ONE, TWO)
    assert statuses(again) == [201, 201]
    assert "idempotent-replayed" not in again.headers
    assert [await api.w.stock(sku) for sku in ("tea", "jam")] == [(1, 0), (2, 0)]


@pytest.mark.parametrize("is_lost", [False, True])
async def test_a_key_is_one_requests_be_it_a_batch_or_not(api: Api, is_lost: bool) -> None:
    alone = {name: value for name, value in ONE.items() if name != "op"}
    assert (await api.post("/v1/stock/receive", alone, headers=KEY)).status == 201
    assert (await api.batch(TWO, headers={"Idempotency-Key": "k2"})).status == 200
    if is_lost:
        await api.fail_over()
    await _is_refused_whole(api, ONE)
    reply = await api.post("/v1/stock/receive", alone, headers={"Idempotency-Key": "k2"})
    assert (reply.status, reply.code) == (422, "idempotency_key_reused")
    assert await api.w.stock("tea") == (1, 0)


async def test_a_batch_is_the_same_in_either_form_and_in_any_order_of_fields(api: Api) -> None:
    first = await api.batch({**ONE, "expires_on": "2031-01-01"}, TWO)
    turned = [dict(reversed([*{**ONE, "lot": None, "expires_on": "2031-01-01"}.items()])), TWO]
    packed = msgspec.msgpack.encode({"operations": turned})
    headers = {**KEY, "content-type": "application/msgpack", "accept": "application/json"}
    again = await api.post("/v1/batch", raw=packed, headers=headers)
    assert again.headers["idempotent-replayed"] == "true"
    assert [{**result, "replayed": True} for result in first.body["results"]] == again.body["results"]


async def test_an_operation_that_was_wrong_is_corrected_under_another_key(api: Api) -> None:
    assert statuses(await api.batch(ONE, WRONG)) == [201, 422]
    assert statuses(await api.batch(ONE, WRONG)) == [201, 422]
    await _is_refused_whole(api, ONE, {**WRONG, "location": "A"})
    await _is_refused_whole(api, ONE, {**WRONG, "quantity": 2})


async def test_a_batch_that_is_none_takes_no_key(api: Api) -> None:
    for body in ({"operations": 3}, {"operations": [ONE] * 10_001}):
        assert (await api.post("/v1/batch", body, headers=KEY)).status == 422
    assert api.entries() == []
    assert statuses(await api.batch(ONE)) == [201]


async def test_a_key_that_cannot_be_taken_leaves_all_undone(api: Api) -> None:
    api.is_cut = lambda command: isinstance(command, NoteRequest)
    reply = await api.batch(ONE)
    assert (reply.status, reply.code) == (503, "unavailable")
    assert api.entries() == []


async def test_the_entry_of_a_key_changes_no_stock_and_is_broadcast(api: Api) -> None:
    await api.batch(ONE)
    partition = partition_of_key("k1", PARTITIONS)
    (noted,) = [entry for entry in api.entries() if entry.kind == "request_noted"]
    assert (noted.partition, noted.key, noted.sku, noted.quantity) == (partition, "k1", None, 0)
    (received,) = [entry for entry in api.entries() if entry.kind == "stock_received"]
    assert received.key == "k1 0"
    history = await api.get("/v1/history/LON/tea")
    assert [item["kind"] for item in history.body["items"]] == ["stock_received"]
    seq = history.body["items"][0]["seq"]
    assert (await api.get(f"/v1/stock/LON/tea?as_of={seq}")).body["on_hand"] == 1
    await until(lambda: noted.seq <= api.w.streams.tails.get(ledger_subject(partition), 0))


async def test_a_batch_without_a_key_of_the_callers_makes_no_entry_of_its_own(api: Api) -> None:
    assert statuses(await api.batch(ONE, headers={})) == [201]
    assert [entry.kind for entry in api.entries()] == ["stock_received"]


async def test_many_that_send_the_same_batch_at_once_have_it_done_once(api: Api) -> None:
    replies = await asyncio.gather(*(api.batch(ONE, TWO) for _ in range(8)))
    assert {tuple(statuses(reply)) for reply in replies} == {(201, 201)}
    assert [await api.w.stock(sku) for sku in ("tea", "jam")] == [(1, 0), (2, 0)]


async def test_reservations_of_the_same_number_and_instant_are_not_one_body(api: Api) -> None:
    """The clock of these hosts stands still, and each of the two is the first of its partition."""
    for sku in ("tea", "jam"):
        await api.post("/v1/stock/receive", {"site": "LON", "sku": sku, "location": "A", "quantity": 5})
    held = [
        (await api.post("/v1/reservations", {"site": "LON", "sku": sku, "quantity": 2})).body["id"]
        for sku in ("tea", "jam")
    ]
    assert held[0][:13] == held[1][:13]
    assert held[0][-12:] == held[1][-12:]
    own = {"Idempotency-Key": "own"}
    first = await api.post(f"/v1/reservations/{held[0]}/pick", {}, headers=own)
    other = await api.post(f"/v1/reservations/{held[1]}/pick", {}, headers=own)
    assert (first.status, other.status) == (200, 422)
    assert other.body["code"] == "idempotency_key_reused"


async def test_of_two_operations_with_one_key_the_first_is_carried_out(api: Api) -> None:
    for sku in ("tea", "jam"):
        await api.post("/v1/stock/receive", {"site": "LON", "sku": sku, "location": "A", "quantity": 5})
    held = [
        (await api.post("/v1/reservations", {"site": "LON", "sku": sku, "quantity": 2})).body["id"]
        for sku in ("tea", "jam")
    ]
    picks = [{"op": "pick", "id": reservation, "key": "own"} for reservation in held]
    reply = await api.batch(*picks)
    assert [result["status"] for result in reply.body["results"]] == [200, 422]

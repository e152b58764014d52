"""Callers of a closed load, before a server that is a function."""

import asyncio

import pytest

from bench.callers import Caller, Callers
from bench.workloads import Workload

WORKLOAD = Workload("orders", 20, lines_min=2, lines_max=4)


async def test_each_caller_has_one_request_under_way_and_every_bin_of_an_order_is_counted() -> None:
    open_keys: set[str] = set()
    lines, most = 0, 0

    def submit(caller: Caller) -> None:
        nonlocal most
        open_keys.add(caller.key)
        most = max(most, len(open_keys))
        asyncio.get_running_loop().call_soon(answer, caller)

    def answer(caller: Caller) -> None:
        nonlocal lines
        open_keys.remove(caller.key)
        lines += len(caller.bins)
        callers.answered(caller, is_reserved=True)

    callers = Callers(WORKLOAD, 1, submit)
    told = await callers.run(in_flight=5, warm_s=0.01, seconds=0.05)
    assert most == 5
    assert not open_keys
    assert sum(told["acknowledged"].values()) == lines > 0
    assert 0 < told["operations"] < lines


async def test_a_refusal_is_counted_and_reserves_nothing() -> None:
    callers = Callers(
        WORKLOAD,
        1,
        lambda caller: asyncio.get_running_loop().call_soon(
            lambda: callers.answered(caller, is_reserved=False)
        ),
    )
    told = await callers.run(in_flight=2, warm_s=0.0, seconds=0.01)
    assert told["refused"] > 0
    assert not told["acknowledged"]


async def test_a_fault_ends_the_load() -> None:
    callers = Callers(WORKLOAD, 1, lambda _: callers.failed(ConnectionError("gone")))
    with pytest.raises(ConnectionError, match="gone"):
        await callers.run(in_flight=2, warm_s=10.0, seconds=10.0)

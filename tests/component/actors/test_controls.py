"""Asking hosts about themselves: they answer, or it is said in time that they do not."""

import asyncio

import pytest

from actors.outcomes import Unavailable
from tests.component.actors.world import PARTITIONS, world


async def test_a_question_to_a_host_that_does_not_welcome_ends_in_its_time() -> None:
    async with world() as w:
        silent = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
        address = f"127.0.0.1:{silent.sockets[0].getsockname()[1]}"
        async with asyncio.timeout(1):  # A lane may take 2 s to open.
            with pytest.raises(Unavailable):
                await w.gateway.control(address, "take", [], 0.1)
        assert not w.gateway._controls
        silent.close()


async def test_hosts_describe_themselves_and_one_that_is_gone_is_left_out() -> None:
    async with world() as w:
        await w.host("second", [0, 1])
        assert {host["host"] for host in await w.gateway.hosts()} == {"first", "second"}
        await w.kill(w.hosts[1])
        assert {host["host"] for host in await w.gateway.hosts()} == {"first"}


async def test_a_control_request_that_fails_says_so() -> None:
    async with world() as w:
        with pytest.raises(Unavailable):
            await w.gateway.control(w.hosts[0].address, "take", "everything")
        assert await w.gateway.control(w.hosts[0].address, "ping", None) == list(range(PARTITIONS))

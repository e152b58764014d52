"""Attacks a bin host by its lanes: with and without the token, in form and without any.

Every case ends within a deadline: the peer is answered, refused, or cut off. Meanwhile the host lives, its
memory stays bounded, and a neighbour is served with right answers.
"""

import asyncio
import contextlib
from typing import Any

import msgspec

from actors.gateway import LaneGateway
from tests.component.actors.world import PARTITIONS, TOKEN
from tests.fuzz.lane_attacks import ASKED, CALLERS, COSTLY, HELLO, SENTINEL, STRANGERS, Attack, framed
from tests.fuzz.neighbour import Neighbour, OneHost
from tests.fuzz.tally import Case, Tally
from tests.fuzz.target import MIB, MemoryWatch, Target
from tests.waiting import until

_AT_ONCE = 24
_DEADLINE_S = 30.0
"""How long a case may take beyond the target's patience: the machine may be busy."""


async def fuzz_lanes(tally: Tally, target: Target, *, idle: int = 1_500) -> None:
    """Attack a host by its lanes. Raises AssertionError, or ends with the target."""
    gateway = LaneGateway(OneHost(target.lanes, PARTITIONS), TOKEN, PARTITIONS, timeout_s=30.0)
    neighbour = Neighbour(gateway, f"neighbour {tally.seed}")
    try:
        for _ in range(20):
            await neighbour.ask_about_all()
        with MemoryWatch(target.memory_bytes) as memory:
            async with asyncio.TaskGroup() as group:
                group.create_task(neighbour.keep_asking())
                await _all_cases(tally, target)
                tally.count("idle connections", f"cut, {await _idle(target, idle):,} at once")
                neighbour.is_over = True
            await _is_at_rest(gateway, target)
        tally.notes["right answers to a neighbour"] = neighbour.answers
        tally.notes["memory"] = memory.check(growth_bytes_max=200 * MIB, peak_bytes_max=600 * MIB)
    finally:
        await gateway.close()


async def _all_cases(tally: Tally, target: Target) -> None:
    attacks = {**STRANGERS, **CALLERS, **COSTLY}
    turns = asyncio.Semaphore(_AT_ONCE)
    costly = asyncio.Semaphore(1)

    async def one(case: Case) -> None:
        async with costly if case.kind in COSTLY else turns:
            with tally.trying(case):
                async with asyncio.timeout(
                    target.patience_s + (3 if case.kind in COSTLY else 1) * _DEADLINE_S
                ):
                    tally.count(case.kind, await _ending_of(attacks[case.kind](case.rng), target))

    cases = tally.plan([*STRANGERS, *CALLERS], list(COSTLY))
    async with asyncio.TaskGroup() as group:
        for case in cases:
            group.create_task(one(case))


async def _ending_of(attack: Attack, target: Target) -> str:
    """Carry out one attack; return how the host ended it."""
    host, _, port = target.lanes.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        if attack.has_hello:
            writer.write(framed(HELLO))
            word, *_ = await _next_frame(reader)
            assert word == "welcome", word
        sending = asyncio.create_task(_send(writer, attack))
        if attack.is_deaf or attack.is_reset:
            await sending
        if attack.is_reset:
            return "gone"
        ending = await _until_it_ends(reader, writer, attack, target.patience_s)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        return ending
    except (ConnectionError, asyncio.IncompleteReadError):
        return "cut"
    finally:
        writer.transport.abort()


async def _send(writer: asyncio.StreamWriter, attack: Attack) -> None:
    with contextlib.suppress(ConnectionError):
        for chunk in attack.chunks:
            writer.write(chunk)
            await writer.drain()
            if attack.pause_s:
                await asyncio.sleep(attack.pause_s)
        if attack.chunks:
            writer.write(ASKED)
            await writer.drain()


async def _until_it_ends(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, attack: Attack, patience_s: float
) -> str:
    """Return how the lane ended. What was sent may have swallowed the sentinel: it is then sent again."""
    has_entered = attack.has_hello
    again = asyncio.get_running_loop().call_later(3 * patience_s + 1, writer.write, ASKED)
    while True:
        try:
            found = await _next_frame(reader)
        except BaseException:
            again.cancel()
            raise
        if not has_entered:
            if found[0] == "refused":
                assert await reader.read() == b"", "who is refused is cut off"
                return "refused"
            assert found[0] == "welcome", found
            assert attack.may_enter, "somebody entered without the token"
            has_entered = True
        elif any(request_id == SENTINEL for request_id, _, _ in found):
            again.cancel()
            return "answered"


async def _next_frame(reader: asyncio.StreamReader) -> Any:
    """Return the next frame. Raises ConnectionError when there is none."""
    length = int.from_bytes(await reader.readexactly(4), "big")
    return msgspec.msgpack.decode(await reader.readexactly(length))


async def _idle(target: Target, count: int) -> int:
    """Open connections that say nothing, all at once; return when all of them are cut."""
    host, _, port = target.lanes.rpartition(":")
    opened = [await asyncio.open_connection(host, int(port)) for _ in range(count)]
    async with asyncio.timeout(target.patience_s + _DEADLINE_S):
        for reader, writer in opened:
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.transport.abort()
    return len(opened)


async def _is_at_rest(gateway: LaneGateway, target: Target) -> None:
    """Wait until the host has nothing left of the attacks."""

    async def is_at_rest() -> bool:
        return not (await gateway.control(target.lanes, "describe", None))["in_flight"]

    await until(is_at_rest, deadline_s=_DEADLINE_S)

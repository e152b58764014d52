"""Attacks the HTTP server by raw sockets: `tests.fuzz.http_attacks`.

Every connection ends within a deadline: with a problem (4xx) or cut off. What is refused, or whose outcome is
not told, has changed nothing or, where it was whole, everything that it says: stock is read afterwards.
"""

import asyncio
import contextlib
import json
from urllib.parse import urlsplit

import httpx
import msgspec

from tests.fuzz.http_attacks import KINDS, NEVER, Attack
from tests.fuzz.tally import Case, Tally
from tests.fuzz.target import MIB, MemoryWatch, Target

_AT_ONCE = 24
_DEADLINE_S = 60.0
_SITE = "http neighbour"


async def fuzz_http(tally: Tally, target: Target) -> None:
    """Attack an HTTP server. Raises AssertionError, or ends with the target."""
    headers = {"Authorization": f"Bearer {target.token}"}
    async with httpx.AsyncClient(base_url=target.url, headers=headers, timeout=60, trust_env=False) as client:
        sku = f"seed {tally.seed}"
        received = await _received(client, sku, 3, 0)
        known = {name: await _on_hand(client, "fuzz", name) for name in NEVER}
        done: dict[str, int] = dict.fromkeys(NEVER, 0)
        unknown: dict[str, int] = dict.fromkeys(NEVER, 0)
        turns = asyncio.Semaphore(_AT_ONCE)

        async def one(case: Case) -> None:
            async with turns:
                with tally.trying(case):
                    attack = KINDS[case.kind](case.rng, target.token)
                    async with asyncio.timeout(target.patience_s * 3 + _DEADLINE_S):
                        status = await _ending_of(attack, target)
                    for name in attack.never:
                        done[name] += status == 201
                        unknown[name] += status is None
                    tally.count(case.kind, "cut" if status is None else f"{status // 100}xx")

        with MemoryWatch(target.memory_bytes) as memory:
            async with asyncio.TaskGroup() as group:
                for case in tally.plan(list(KINDS)):
                    group.create_task(one(case))
                for _ in range(max(5, tally.cases // 20)):
                    received = await _received(client, sku, 1, received)
        tally.notes["right answers to a neighbour"] = received
        for name, before in known.items():
            grown = await _on_hand(client, "fuzz", name) - before
            assert done[name] <= grown <= done[name] + unknown[name], (name, grown, done[name], unknown[name])
        tally.notes["memory"] = memory.check(growth_bytes_max=200 * MIB, peak_bytes_max=900 * MIB)


async def _received(client: httpx.AsyncClient, sku: str, quantity: int, before: int) -> int:
    """Receive stock as a right caller does, and see that it is all there; return how much."""
    body = {"site": _SITE, "sku": sku, "location": "A", "quantity": quantity}
    answer = await client.post("/v1/stock/receive", json=body)
    assert answer.status_code == 201, answer.text
    on_hand = await _on_hand(client, _SITE, sku)
    assert on_hand == before + quantity or not before, (on_hand, before, quantity)
    return on_hand


async def _on_hand(client: httpx.AsyncClient, site: str, sku: str) -> int:
    answer = await client.get(f"/v1/stock/{site}/{sku}")
    if answer.status_code == 404:
        return 0
    assert answer.status_code == 200, answer.text
    return int(answer.json()["on_hand"])


async def _ending_of(attack: Attack, target: Target) -> int | None:
    """Carry out one attack; return the status of the first answer, None when there was none."""
    address = urlsplit(target.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=64 * MIB)
    sending = asyncio.create_task(_send(writer, attack))
    answered = b""
    try:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                answered += data
                if not attack.is_cut_in_the_end and _is_whole(answered):
                    break
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        writer.transport.abort()
    return _judged(answered, attack)


async def _send(writer: asyncio.StreamWriter, attack: Attack) -> None:
    with contextlib.suppress(ConnectionError):
        for chunk in attack.chunks:
            writer.write(chunk)
            await writer.drain()
            if attack.pause_s:
                await asyncio.sleep(attack.pause_s)
        if attack.has_end:
            writer.write_eof()


def _is_whole(answered: bytes) -> bool:
    """Whether there is an answer, with all of its body."""
    head, end, rest = answered.partition(b"\r\n\r\n")
    if not end or head.startswith(b"HTTP/1.1 100 "):
        return bool(end and rest and _is_whole(rest))
    lengths = [line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(lengths) and len(rest) >= int(lengths[0])


def _judged(answered: bytes, attack: Attack) -> int | None:
    """Hold the first answer to what may be answered; return its status."""
    while answered.startswith(b"HTTP/1.1 100 "):
        answered = answered.partition(b"\r\n\r\n")[2]
    if not answered:
        return None
    head, _, rest = answered.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    if status < 400:
        assert attack.may_succeed or status == 201, (status, rest[:500])
        return status
    assert status < 500, (status, rest[:500])
    headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    body = rest[: int(headers[b"content-length"])]
    if body or b"HEAD" not in attack.chunks[0][:5]:
        assert headers[b"content-type"].startswith(b"application/problem+"), headers
        decode = msgspec.msgpack.decode if b"msgpack" in headers[b"content-type"] else json.loads
        assert decode(body)["status"] == status
    return status

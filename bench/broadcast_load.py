"""Reserves through lanes at a pace, heard again on NATS: how long from the commit to a subscriber.

An answer leaves when its commit is durable, so a caller's answer is the first moment at which anybody can
know of the commit. From then it counts until a subscriber in the same process has the entry's message.
"""

import asyncio
import contextlib
from array import array
from time import perf_counter
from typing import Any

import msgspec
import nats
from nats.aio.msg import Msg

from bench.driving import ACCEPTED, Drive
from bench.lanes_load import LanesLoad
from bench.latency import Latencies
from bench.workloads import Workload, key_from, keys_of

_HEARD_S_MAX = 30.0


class _Heard(msgspec.Struct):
    key: str | None = None


class _Message(msgspec.Struct):
    entries: list[_Heard]


_decode = msgspec.msgpack.Decoder(_Message).decode


class BroadcastLoad(LanesLoad):
    """Reserves whose entries are heard."""

    async def heard(
        self, workload: Workload, salt: int, *, nats_url: str, rate: float, warm_s: float, seconds: float
    ) -> dict[str, Any]:
        """Reserve at a pace while all of `ledger.>` is heard; return what became of it.

        Besides what `paced` returns: `broadcast`, a histogram of the times from answer to message, and
        `unheard`, accepted reserves whose entries no message brought within 30 s.
        """
        numbers = _numbers_by_key(salt, int((warm_s + seconds) * rate))
        heard_s = array("d", bytes(8 * len(numbers)))
        more = asyncio.Event()

        async def hear(message: Msg) -> None:
            now_s = perf_counter()
            for entry in _decode(message.data).entries:
                if entry.key is not None and (number := numbers.get(entry.key)) is not None:
                    heard_s[number] = now_s
            more.set()

        client = await nats.connect(nats_url)
        try:
            await client.subscribe("ledger.>", cb=hear)
            await client.flush()
            drive = Drive()
            async with self.sending(workload, salt, drive, 0) as sender:
                window = await drive.open(sender.send, rate=rate, warm_s=warm_s, seconds=seconds, seed=salt)
            accepted = [number for number, outcome in enumerate(drive.outcomes) if outcome == ACCEPTED]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_HEARD_S_MAX):
                    while not all(heard_s[number] for number in accepted):
                        more.clear()
                        await more.wait()
        finally:
            await client.close()
        counted = [n for n in accepted if heard_s[n] and window.holds(drive.began_s[n])]
        late = Latencies.of(max(0.0, heard_s[number] - drive.ended_s[number]) for number in counted)
        return {
            **window.plain(sender.draws),
            "broadcast": late.text(),
            "unheard": sum(not heard_s[number] for number in accepted),
        }


def _numbers_by_key(salt: int, count: int) -> dict[str, int]:
    keys = keys_of(salt)
    return {key_from(keys): number for number in range(count)}

"""The callers of `tests/faults` on a cluster: all that they are told is recorded, and examined at the end."""

import asyncio
import time

from tests.end_to_end.running import Running
from tests.end_to_end.workload import longest_silence_s
from tests.faults.audits import unverified
from tests.faults.callers import Callers
from tests.faults.channels import Channel, Reply
from tests.faults.history import Call
from tests.faults.stage import SKUS, concluded, opened, wall_to_monotonic_ns, work

PAUSE_S = 0.05
"""Between two calls of a caller: some 200 a second in all, whose order is found in a minute after minutes."""


class Load:
    """Seeded callers on one site, by HTTP and by lanes, and what they notice."""

    def __init__(self, binkeeper: Running, site: str, seed: int) -> None:
        self.binkeeper = binkeeper
        self.callers = Callers(site, seed, SKUS, pause_s=PAUSE_S)
        self.answered: list[tuple[float, float]] = []
        """When each request was first sent and when its outcome was known, seconds of the monotonic clock."""
        self.repeats = 0
        """Tries that had no answer, or were told that nothing happened."""
        self._offset_ns = wall_to_monotonic_ns()

    async def run(self, over: "asyncio.Future[None]") -> None:
        """Ask until it is over, then let everything that was begun come to its end."""
        async with opened(self.binkeeper, self.callers.site) as channels:
            heard: list[Channel] = [_Heard(channel, self) for channel in channels]
            await self.callers.open(heard[0])
            working = asyncio.create_task(work(self.callers, heard))
            try:
                await over
            finally:
                self.callers.is_over = True
                await working

    def longest_silence_s(self, after_s: float) -> float:
        """Return the longest time without any answer from an instant until now."""
        return longest_silence_s(self.answered, after_s)

    async def verify(self) -> dict[str, int]:
        """Look for what is lost, twice or out of order, and verify the ledger; return how much was asked."""
        offset_ns = min(self._offset_ns, wall_to_monotonic_ns())
        findings = await concluded(self.binkeeper, self.callers, offset_ns)
        assert findings.all() == []
        assert await asyncio.to_thread(unverified, self.binkeeper) == []
        return {"operations": len(self.callers.calls), "lost": 0, "twice": 0, "found": 0}


class _Heard:
    """A channel that tells when it was answered."""

    def __init__(self, channel: Channel, load: Load) -> None:
        self.via = channel.via
        self._channel = channel
        self._load = load
        self._began_s: dict[str, float] = {}

    async def send(self, call: Call) -> Reply:
        began_s = self._began_s.setdefault(call.key, time.monotonic())
        reply = await self._channel.send(call)
        if reply.outcome in ("done", "refused"):
            self._load.answered.append((began_s, time.monotonic()))
            del self._began_s[call.key]
        else:
            self._load.repeats += 1
        return reply

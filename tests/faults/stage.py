"""One scenario: callers at work, something that goes wrong under them, and what is found afterwards."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from actors.gateway import LaneGateway
from persistence.postgres import PostgresDirectory, Sessions
from tests.end_to_end.running import Running
from tests.faults.callers import Callers
from tests.faults.channels import Channel, HttpChannel, LaneChannel
from tests.faults.evidence import Findings, examine, nothing_is_tentative, settled
from tests.faults.history import WRITES
from tests.waiting import until

SKUS = tuple(f"S{number}" for number in range(8))
HTTP_CALLERS = 8
LANE_CALLERS = 3
READERS = 2
SERVED_S_MAX = 90.0
_TENTATIVE_S_MAX = 60.0


@dataclass(slots=True)
class Stage:
    """What a fault may use while the load is on."""

    binkeeper: Running
    callers: Callers
    via: str | None = None
    """The way whose return is measured; None is any."""
    fault_ns: int = 0
    back_ns: int = 0
    notes: list[str] = field(default_factory=list)

    def fault(self) -> None:
        """Say that it goes wrong now. What was killed and is replaced counts as back at once."""
        self.fault_ns = self.back_ns = time.monotonic_ns()

    def back(self) -> None:
        """Say that what was away is back."""
        self.back_ns = time.monotonic_ns()

    def answered(self) -> int:
        return sum(call.is_answered for call in self.callers.calls)

    async def until_answered(self, more: int) -> None:
        """Let so many more requests be answered."""
        wanted = self.answered() + more
        await until(lambda: self.answered() >= wanted, f"{more} more answers", SERVED_S_MAX)

    def is_silent(self) -> bool:
        """Whether no change was acknowledged for two seconds."""
        ends = (call.tries[-1].end for call in self.callers.calls if call.name in WRITES and call.is_answered)
        return time.monotonic_ns() - max(ends) > 2_000_000_000

    def served_s(self) -> float | None:
        """Seconds from being back until every SKU answered what was asked since; None while one has not."""
        first: dict[str, int] = {}
        for call in self.callers.calls:
            if call.is_answered and call.start >= self.back_ns and self.via in (None, call.via):
                end = call.tries[-1].end
                for sku in call.skus():
                    first[sku] = min(first.get(sku, end), end)
        if len(first) < len(self.callers.skus):
            return None
        return (max(first.values()) - self.back_ns) / 1e9


@dataclass(slots=True)
class Report:
    """What one run of a scenario came to."""

    scenario: str
    operations: int
    unknown: int
    """Tries without an answer."""
    retried: int
    """Tries that were told that nothing happened."""
    back_s: float
    """From what was away being back until every SKU answers again. What is replaced by what stood by or is
    started by the supervisor (a host) counts as back at the fault; all else, as the API, once it serves."""
    away_s: float
    """From the fault until the process was back."""
    findings: Findings
    notes: list[str]
    back_s_max: float | None = None
    """How long that may take; None where no time is promised."""

    def found(self) -> list[str]:
        """Return what is wrong, in words."""
        if self.back_s_max is None or self.back_s <= self.back_s_max:
            return self.findings.all()
        late = f"late: served again after {self.back_s:.2f} s, more than {self.back_s_max:g}"
        return [*self.findings.all(), late]


Fault = Callable[[Stage], Awaitable[None]]


async def play(
    binkeeper: Running,
    name: str,
    fault: Fault,
    *,
    site: str,
    seed: int,
    answers: int = 400,
    via: str | None = None,
    url: str | None = None,
    back_s_max: float | None = None,
) -> Report:
    """Run a scenario and look at what it left. `url` is another API than `up`'s."""
    await until(lambda: settled(binkeeper), "all is quiet", 90.0)
    await until(lambda: len(binkeeper.pids("host")) > 1, "a standby is ready", 90.0)
    offset_ns = wall_to_monotonic_ns()
    stage = Stage(binkeeper, Callers(site, seed, SKUS), via)
    async with opened(binkeeper, site, url) as channels:
        await _under_load(stage, fault, channels, answers)
        findings = await concluded(binkeeper, stage.callers, offset_ns)
    return _report(name, stage, findings, back_s_max)


def wall_to_monotonic_ns() -> int:
    """Return what is added to the ledger's time to have this process's clock; less, as that is rounded."""
    return time.monotonic_ns() - time.time_ns() - 5_000_000


@asynccontextmanager
async def opened(binkeeper: Running, site: str, url: str | None = None) -> AsyncIterator[list[Channel]]:
    """Open a way for each caller, those for readers last. `url` is another API than `up`'s."""
    sessions = Sessions(binkeeper.run["postgres_url"], "callers", size=1)
    token = (binkeeper.home / "lane.token").read_text().strip()
    directory = PostgresDirectory(sessions)
    gateway = LaneGateway(directory, token, await directory.partitions())
    https = [binkeeper.http(connections=1) for _ in range(HTTP_CALLERS)]
    if url is not None:
        for http in https:
            http.base_url = url + "/v1"
    channels: list[Channel] = [HttpChannel(http, site) for http in https]
    channels += [LaneChannel(gateway, site) for _ in range(LANE_CALLERS + READERS)]
    try:
        yield channels
    finally:
        await gateway.close()
        await sessions.close()
        for http in https:
            await http.aclose()


async def work(callers: Callers, channels: Sequence[Channel]) -> None:
    """Have each channel's caller ask until it is over."""
    readers = HTTP_CALLERS + LANE_CALLERS
    asking = [
        callers.run(number, channel, is_reader=number >= readers) for number, channel in enumerate(channels)
    ]
    fates = await asyncio.gather(*asking, return_exceptions=True)
    for fate in fates:
        if isinstance(fate, BaseException):
            raise fate


async def concluded(binkeeper: Running, callers: Callers, offset_ns: int) -> Findings:
    """Let what is undecided be settled, read everything once more, and look at what was left."""
    async with binkeeper.http() as http:

        async def is_settled() -> bool:
            return await nothing_is_tentative(http, callers.site, callers.skus)

        await until(is_settled, "attempts are settled", _TENTATIVE_S_MAX)
        await callers.close(HttpChannel(http, callers.site))
    return await examine(binkeeper, callers.site, callers.skus, callers.calls, offset_ns)


async def _under_load(stage: Stage, fault: Fault, channels: list[Channel], answers: int) -> None:
    await stage.callers.open(channels[0])
    working = asyncio.create_task(work(stage.callers, channels))
    try:
        await stage.until_answered(answers)
        await fault(stage)
        await until(lambda: stage.served_s() is not None, "every SKU answers again", SERVED_S_MAX)
        await stage.until_answered(answers)
    finally:
        stage.callers.is_over = True
        await working


def _report(name: str, stage: Stage, findings: Findings, back_s_max: float | None) -> Report:
    calls = stage.callers.calls
    outcomes = Counter(sent.outcome for call in calls for sent in call.tries)
    return Report(
        name,
        operations=len(calls),
        unknown=outcomes["unknown"],
        retried=outcomes["nothing"],
        back_s=stage.served_s() or 0.0,
        away_s=(stage.back_ns - stage.fault_ns) / 1e9,
        findings=findings,
        notes=stage.notes,
        back_s_max=back_s_max,
    )

"""Closed loop: how much each contender does in a second, in rounds, one contender after the other in each."""

from dataclasses import dataclass, field
from typing import Any

from bench.contenders import Contender
from bench.latency import Latencies
from bench.samples import rounded
from bench.workloads import Workload


@dataclass(slots=True)
class Throughput:
    """A contender's rounds with one workload."""

    contender: Contender
    workload: Workload
    in_flight: int
    ops_s: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    latencies: Latencies = field(default_factory=Latencies)
    _done: int = 0
    _cpu_s: dict[str, float] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Its part of the figures' names."""
        return f"{self.contender.key}_{self.workload.name.replace('-', '_')}"

    async def measure(self, salt: int, *, warm_s: float, seconds: float) -> None:
        """Measure a round, let the store come to rest, and audit it. Raises LoadFailed or AuditFailed."""
        contender, workload = self.contender, self.workload
        before = contender.cpu_s()
        told = await contender.load.ask(
            "closed", workload, salt, in_flight=self.in_flight, warm_s=warm_s, seconds=seconds
        )
        after = contender.cpu_s()
        contender.store.count(workload, told)
        self.ops_s.append(told["ops_s"] * contender.operations)
        if told["operations"]:
            self.p50_ms.append(told["p50_ms"])
            self.latencies.add(Latencies.read(told["histogram"]))
        self._done += sum(told["acknowledged"].values()) // _lines(workload)
        for role, used_s in after.items():
            spent_s = max(0.0, used_s - before.get(role, 0.0))
            self._cpu_s[role] = self._cpu_s.get(role, 0.0) + spent_s
        await contender.store.rest()
        await contender.store.audit(workload)

    def cpu_s_per_million(self) -> dict[str, float]:
        """Return the CPU seconds that a million operations cost, by role."""
        return {
            role: rounded(used_s / max(1, self._done) * 1e6)
            for role, used_s in sorted(self._cpu_s.items())
            if used_s
        }

    def plain(self) -> dict[str, Any]:
        """Return it as the result's file has it."""
        return {
            "contender": self.contender.label,
            "workload": self.workload.name,
            "in_flight": self.in_flight,
            "rounds": [rounded(rate) for rate in self.ops_s],
            "latencies": {name: rounded(value) for name, value in self.latencies.figures().items()},
            "cpu_s_per_million": self.cpu_s_per_million(),
        }


def _lines(workload: Workload) -> int:
    """Return how many lines an operation has, on average."""
    return (workload.lines_min + workload.lines_max) // 2 or 1

"""What the product's processes and the generator use while a load runs: memory, and time on the cores."""

import asyncio
import contextlib
import time
from typing import Any

import psutil

from bench.load_process import LoadProcess
from bench.product import Product
from bench.samples import rounded

_SAMPLE_S = 0.25
_MIB = 1024 * 1024
_ROLES = ("host", "api")
"""Whose memory counts."""


class Usage:
    """Samples while a load runs."""

    def __init__(self, product: Product, load: LoadProcess) -> None:
        self._product = product
        self._load = load
        self._seen_mib: dict[str, list[float]] = {}
        self._cpu: list[tuple[float, dict[str, float]]] = []
        """(when, CPU seconds used until then by role)"""

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            self._cpu.append((time.monotonic(), self.cpu_s()))
            for role, rss in self._resident_mib().items():
                self._seen_mib.setdefault(role, []).append(rss)
            await asyncio.sleep(_SAMPLE_S)

    def cpu_s(self) -> dict[str, float]:
        """Return the CPU seconds used until now by role; the generator's is `load`."""
        return {**self._product.cpu_s(), "load": self._load.cpu_s}

    def cores(self, from_s: float, until_s: float) -> dict[str, float]:
        """Return how many cores each role had between two times after the first sample, on average."""
        began_s = self._cpu[0][0]
        inside = [(at_s, used) for at_s, used in self._cpu if from_s <= at_s - began_s <= until_s]
        (first_s, first), (last_s, last) = inside[0], inside[-1]
        return {role: (last[role] - first.get(role, 0.0)) / (last_s - first_s) for role in last}

    def _resident_mib(self) -> dict[str, float]:
        now: dict[str, float] = {}
        for entry in self._product.processes():
            role = str(entry.get("role"))
            if role in _ROLES:
                with contextlib.suppress(psutil.Error):
                    rss = psutil.Process(entry["pid"]).memory_info().rss / _MIB
                    now[role] = max(now.get(role, 0.0), rss)
        return now

    def memory(self) -> dict[str, Any]:
        """Return each role's first, largest and last figure in MiB, and how far it grew.

        `grown` is from the middle of a load to its end, `peak` from its beginning to the largest figure.
        """
        found: dict[str, Any] = {}
        for role, seen in self._seen_mib.items():
            half = seen[len(seen) // 2 :]
            found |= {
                f"{role}_grown_mib": rounded(half[-1] - half[0]),
                f"{role}_peak_mib": rounded(max(seen) - seen[0]),
                f"{role}_first_mib": rounded(seen[0]),
                f"{role}_most_mib": rounded(max(seen)),
                f"{role}_last_mib": rounded(seen[-1]),
            }
        return found


def of_product(cores: dict[str, float]) -> float:
    """Return the sum over the product's roles."""
    return sum(used for role, used in cores.items() if role != "load")

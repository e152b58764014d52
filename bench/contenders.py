"""Contenders: who is measured, and the storage in which it is audited."""

import contextlib
import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import psutil

from bench.audit import Tally, compare, confirm
from bench.probe import Probe
from bench.product import Product
from bench.workloads import ON_HAND, Workload

_READ_MAX = 10_000
"""Bins that are read one by one after a load; of more, a sample. The ledger is summed up whole."""


class Store(ABC):
    """Where stock is kept, and what callers were told of it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.audits = 0
        self._tallies: dict[str, Tally] = {}
        self._on_hand: dict[str, list[int]] = {}
        """Of workloads that change it, by bin."""

    def count(self, workload: Workload, told: dict[str, Any]) -> None:
        """Remember what the callers of a load were told."""
        tally = self._tallies.setdefault(workload.name, Tally(workload.bins))
        tally.add(told["acknowledged"], told["unknown"])
        if "on_hand" in told:
            on_hand = self._on_hand.setdefault(workload.name, [ON_HAND] * workload.bins)
            for index, units in told["on_hand"].items():
                on_hand[int(index)] += units

    async def audit(self, workload: Workload) -> None:
        """Compare what callers were told with what is stored. Raises AuditFailed."""
        tally = self._tallies.setdefault(workload.name, Tally(workload.bins))
        confirm(f"{self.name}, {workload.name}", compare(tally, *await self.reserved(workload)))
        if workload.name in self._on_hand:
            found = zip(self._on_hand[workload.name], *await self.on_hand(workload), strict=True)
            wrong = [index for index, units in enumerate(found) if len(set(units)) > 1]
            confirm(f"{self.name}, {workload.name}", [f"bin {index}: units on hand" for index in wrong])
        self.audits += 1

    async def rest(self) -> float:
        """Wait until nothing is left to do that others would pay for; return how long it took."""
        return 0.0

    @abstractmethod
    async def reserved(self, workload: Workload) -> tuple[Sequence[int], Sequence[int]]:
        """Return the units reserved by bin, as the engine says and as its books say. Raises AuditFailed."""

    async def on_hand(self, workload: Workload) -> tuple[Sequence[int], Sequence[int]]:
        """Return the units on hand by bin, as `reserved` does."""
        raise NotImplementedError(f"{self.name} has no workload that changes what is on hand")

    @abstractmethod
    def cpu_s(self) -> dict[str, float]:
        """Return the CPU seconds that the server's processes have used, by role."""


class ProductStore(Store):
    """Binkeeper."""

    def __init__(self, product: Product, probe: Probe) -> None:
        super().__init__("Binkeeper")
        self._product = product
        self._probe = probe

    async def rest(self) -> float:
        """See `Store.rest`: snapshots are written, everything is broadcast."""
        return await self._probe.rest()

    async def reserved(self, workload: Workload) -> tuple[Sequence[int], Sequence[int]]:
        """See `Store.reserved`: the hosts' memory, and the sum of the ledger's entries."""
        return await self._units(workload, "reserved")

    async def on_hand(self, workload: Workload) -> tuple[Sequence[int], Sequence[int]]:
        """See `Store.on_hand`."""
        return await self._units(workload, "on_hand")

    async def _units(self, workload: Workload, what: str) -> tuple[Sequence[int], Sequence[int]]:
        ledger = await self._probe.in_ledger(workload, what)
        bins = range(workload.bins)
        chosen = bins if workload.bins <= _READ_MAX else random.Random(self.audits).sample(bins, _READ_MAX)
        memory = list(ledger)
        for index, units in zip(chosen, await self._probe.in_memory(workload, chosen, what), strict=True):
            memory[index] = units
        return memory, ledger

    def cpu_s(self) -> dict[str, float]:
        """See `Store.cpu_s`."""
        return self._product.cpu_s()


class Peer(Protocol):
    """What a peer's server looks like from here."""

    async def reserved(self, workload: Workload) -> list[int]:
        """Return the units reserved by bin, after its own books were found to agree. Raises AuditFailed."""

    def pids(self) -> dict[str, list[int]]:
        """Return its server's processes by role, without their children."""


class PeerStore(Store):
    """A peer's."""

    def __init__(self, name: str, peer: Peer) -> None:
        super().__init__(name)
        self._peer = peer

    async def reserved(self, workload: Workload) -> tuple[Sequence[int], Sequence[int]]:
        """See `Store.reserved`."""
        found = await self._peer.reserved(workload)
        return found, found

    def cpu_s(self) -> dict[str, float]:
        """See `Store.cpu_s`; children count, as Postgres's do its work."""
        return {role: sum(map(family_cpu_s, pids)) for role, pids in self._peer.pids().items()}


def family_cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process and its children have used; those that are gone count nothing."""
    used = 0.0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for member in (process, *process.children()):
            with contextlib.suppress(psutil.Error):
                times = member.cpu_times()
                used += times.user + times.system
    return used


class Load(Protocol):
    """Makes load: `bench.load_process.LoadProcess`, and what stands for it."""

    async def ask(self, do: str, workload: Workload, salt: int, **options: Any) -> dict[str, Any]:  # noqa: ANN401 - plain values
        """Have a load made; return what came of it. Raises LoadFailed."""

    @property
    def cpu_s(self) -> float:
        """CPU seconds that the caller has used."""


@dataclass(slots=True)
class Contender:
    """A way to reserve stock."""

    key: str
    """Its part of the figures' names."""
    label: str
    store: Store
    load: Load
    in_flight: int
    """How many requests are under way when its capacity is measured."""
    operations: int = 1
    """How many a request carries."""

    def cpu_s(self) -> dict[str, float]:
        """Return the CPU seconds used until now, the caller's as `client`."""
        return {**self.store.cpu_s(), "client": self.load.cpu_s}

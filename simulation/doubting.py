"""Who may find fault with what is stored, and for how long: owners of what was harmed, and nobody else.

A partition is in doubt from the harm until its snapshot is written anew, or its entry is put right and
somebody serves it. A host that had one in doubt may count a drift until it has audited everything once more:
its gauge is lowered at the end of a whole round only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulation.launching import SimulatedHost
    from simulation.world import World

_ROUNDS = 2
"""The round under way when a doubt ended, which may have seen what was wrong, and a whole one after it."""


class Doubting:
    """Partitions in doubt, places in ledgers that do not hold, and hosts that may count a drift."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._partitions: set[int] = set()
        self._places: dict[tuple[int, int], float | None] = {}
        """(partition, seq) of entries that were harmed, and when they were put right and served again."""
        self._rebuilt: dict[int, int] = {}
        """The epoch in which each partition was rebuilt last: who hears no answer writes it once more."""
        self._rounds: dict[str, int] = {}
        """How many rounds each host had audited when it last had a partition in doubt, by name."""

    def harmed(self, number: int, seq: int | None = None) -> None:
        """Doubt a partition, and an entry of its ledger."""
        self._partitions.add(number)
        if seq is not None:
            self._places[number, seq] = None
        self._note()

    def settled(self, number: int) -> None:
        """Doubt a partition no longer: nothing of it is harmed."""
        self._note()
        self._partitions.discard(number)

    def served(self, number: int) -> None:
        """Note that a ledger was put right, and that somebody serves it."""
        now_s = self._world.loop.time()
        for place, ended_s in self._places.items():
            if place[0] == number and ended_s is None:
                self._places[place] = now_s

    def places(self, since_s: float) -> list[tuple[int, int]]:
        """Return the (partition, seq) of entries that somebody may have refused since an instant."""
        return [place for place, ended_s in self._places.items() if ended_s is None or ended_s >= since_s]

    def may_rebuild(self, number: int, epoch: int) -> bool:
        """Whether a snapshot may be written anew from the ledger now, by the owner of that epoch."""
        is_again = self._rebuilt.get(number) == epoch
        self._rebuilt[number] = epoch
        return is_again or number in self._partitions

    def may_drift(self, host: SimulatedHost) -> bool:
        """Whether a host may count a drift now."""
        self._note()
        rounds = self._rounds.get(host.name)
        return rounds is not None and host.running.host.gauges.audit_rounds < rounds + _ROUNDS

    def _note(self) -> None:
        """Note who has a partition in doubt."""
        if self._partitions:
            for host in self._world.hosts:
                core = host.running.host
                if not self._partitions.isdisjoint(core.owned):
                    self._rounds[host.name] = core.gauges.audit_rounds

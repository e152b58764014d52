"""Judges what is left when everything has come to rest: streams, promises, memory, snapshots, the auditor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from simulation.keeping import wrong_memory, wrong_snapshot
from simulation.promises import Promise

if TYPE_CHECKING:
    from simulation.listening import Listening
    from simulation.model import LedgerModel
    from simulation.world import World


class Ending:
    """Compares what there is with what the ledger says; `blame` takes a promise and what broke it."""

    def __init__(
        self,
        world: World,
        models: Sequence[LedgerModel],
        blame: Callable[[str, str], None],
        listening: Listening,
    ) -> None:
        self._world = world
        self._models = models
        self._blame = blame
        self._listening = listening

    def judge(self) -> None:
        """Judge all of it."""
        self._listening.judge_end()
        self._judge_promises()
        for model in self._models:
            self._judge_owner(model)
            tables = self._world.storage.database.partitions[model.partition]
            self._blame_p7(f"the snapshot of partition {model.partition}", wrong_snapshot(tables, model))

    def _blame_p7(self, where: str, wrong: str | None) -> None:
        if wrong is not None:
            self._blame("P7", f"{where}: {wrong}")

    def _judge_owner(self, model: LedgerModel) -> None:
        host = self._world.owner_of(model.partition)
        owned = host.running.host.owned.get(model.partition) if host is not None else None
        if host is None or owned is None:
            self._blame("liveness", f"nobody owns partition {model.partition}")
            return
        core = host.running.host
        if core.gauges.drift:
            self._blame("P7", f"{host.name} counts a drift of {core.gauges.drift}")
        self._blame_p7(f"memory of partition {model.partition}", wrong_memory(owned.state, model))

    def _judge_promises(self) -> None:
        attempts: dict[str, list[Promise]] = {}
        opened: dict[str, int] = {}
        for model in self._models:
            host = self._world.owner_of(model.partition)
            now_ms = self._world.clock(host.name if host is not None else "")()
            for promise in model.promises.values():
                is_over = promise.expires_at_ms is not None and promise.expires_at_ms < now_ms - 1_000
                if is_over and promise.open_units:
                    self._blame("liveness", f"reservation {promise.number} is past its time and open")
                if promise.attempt is not None:
                    attempts.setdefault(promise.attempt, []).append(promise)
                if not promise.is_share and promise.reference is not None:
                    opened[promise.reference] = opened.get(promise.reference, 0) + 1
        for reference, count in opened.items():
            if count > 1:
                self._blame("P3", f"{reference} made {count} reservations")
        for attempt, promises in attempts.items():
            self._judge_attempt(attempt, promises)

    def _judge_attempt(self, attempt: str, promises: list[Promise]) -> None:
        """A reservation over several partitions: all its shares hold, or none does."""
        decided = [promise for promise in promises if promise.parts is not None]
        shares = [promise for promise in promises if promise.is_share]
        if not decided:
            for share in shares:
                if share.open_units or share.home_number:
                    self._blame("P1", f"a share of attempt {attempt}, which was not decided, still holds")
            return
        named = {(part[0], part[1]) for part in decided[0].parts or ()}
        held = {(share.partition, share.number) for share in shares if share.home_number}
        if len(decided) > 1 or named - held:
            self._blame("P1", f"attempt {attempt} was decided, but shares {sorted(named - held)} do not hold")

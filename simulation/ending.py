"""Judges what is left when everything has come to rest: streams, memory, promises, snapshots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from simulation.model import UNITS, LedgerModel, Place, Promise

if TYPE_CHECKING:
    from simulation.world import World


class Ending:
    """Compares what there is with what the ledger says; `blame` takes a promise and what broke it."""

    def __init__(
        self, world: World, models: Sequence[LedgerModel], blame: Callable[[str, str], None]
    ) -> None:
        self._world = world
        self._database = world.storage.database
        self._models = models
        self._blame = blame

    def judge(self) -> None:
        """Judge all of it."""
        self._judge_streams()
        self._judge_memory()
        self._judge_promises()
        self._judge_snapshots()

    def _judge_streams(self) -> None:
        broadcast = self._world.broadcast
        for model in self._models:
            ledger = self._database.partitions[model.partition].ledger
            told = 0
            for message in broadcast.ledger.get(f"ledger.{model.partition}", []):
                body = msgspec.msgpack.decode(message.payload)
                if body["first_seq"] > told + 1:
                    self._blame("P8", f"{message.subject} has a gap between {told} and {body['first_seq']}")
                for row in body["entries"]:
                    if row != dict(zip(ledger[0]._fields, ledger[row["seq"] - 1], strict=True)):
                        self._blame("P8", f"{message.subject}: entry {row['seq']} is not the ledger's")
                told = max(told, body["last_seq"])
            if told != model.seq:
                self._blame("P8", f"partition {model.partition} is broadcast up to {told} of {model.seq}")
            for place, history in model.bins.items():
                self._judge_subject(place, history[-1])

    def _judge_subject(self, place: Place, known: tuple[int, ...]) -> None:
        payload = self._world.broadcast.stock.get(".".join(("stock", *place)))
        body = msgspec.msgpack.decode(payload) if payload is not None else None
        if body is None or (body["seq"], *(body[unit] for unit in UNITS)) != known:
            self._blame("P8", f"the last broadcast of {place} is {body}, the ledger says {known}")

    def _judge_memory(self) -> None:
        for model in self._models:
            host = self._world.owner_of(model.partition)
            owned = host.running.host.owned.get(model.partition) if host is not None else None
            if host is None or owned is None:
                self._blame("liveness", f"nobody owns partition {model.partition}")
                continue
            if host.running.host.gauges.drift:
                self._blame("P7", f"{host.name} counts a drift of {host.running.host.gauges.drift}")
            for (site, sku), stock in owned.state.stocks.items():
                for location, bin_ in stock.bins.items():
                    sums = tuple(sum(getattr(lot, unit) for lot in bin_.lots) for unit in UNITS)
                    known = model.bin_at((site, sku, location), model.seq)
                    if (bin_.seq, *sums) != known:
                        self._blame("P7", f"memory has {(bin_.seq, *sums)} of {sku} {location}, not {known}")

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
                if "attempt" in promise.detail:
                    attempts.setdefault(promise.detail["attempt"], []).append(promise)
                if "home" not in promise.detail and promise.reference is not None:
                    opened[promise.reference] = opened.get(promise.reference, 0) + 1
        for reference, count in opened.items():
            if count > 1:
                self._blame("P3", f"{reference} made {count} reservations")
        for attempt, promises in attempts.items():
            self._judge_attempt(attempt, promises)

    def _judge_attempt(self, attempt: str, promises: list[Promise]) -> None:
        """A reservation over several partitions: all its shares hold, or none does."""
        decided = [promise for promise in promises if "parts" in promise.detail]
        shares = [promise for promise in promises if "home" in promise.detail]
        if not decided:
            for share in shares:
                if share.open_units or share.is_confirmed:
                    self._blame("P1", f"a share of attempt {attempt}, which was not decided, still holds")
            return
        named = {(part[0], part[1]) for part in decided[0].detail["parts"]}
        held = {(share.partition, share.number) for share in shares if share.is_confirmed}
        if len(decided) > 1 or named - held:
            self._blame("P1", f"attempt {attempt} was decided, but shares {sorted(named - held)} do not hold")

    def _judge_snapshots(self) -> None:
        for model in self._models:
            tables = self._database.partitions[model.partition]
            for rows in tables.lots.values():
                for place in {(row.site, row.sku, row.location) for row in rows.values()}:
                    stored = [row for row in rows.values() if (row.site, row.sku, row.location) == place]
                    sums = tuple(sum(getattr(row, unit) for row in stored) for unit in UNITS)
                    known = model.bin_at(place, tables.snapshot_seq)
                    if sums != known[1:]:
                        self._blame("P7", f"the snapshot has {sums} of {place}, the ledger {known}")

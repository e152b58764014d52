"""Judges what clients and subscribers saw against the ledger, by a model of its own.

The first thing that breaks a promise (P1 to P8 of the README) is a `Violation`, and the run ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from actors.outcomes import Answered
from engine.refusals import Refused
from simulation.deeds import wrong_deed
from simulation.model import LedgerModel, Place, Promise, address_of
from simulation.plan import SITE

if TYPE_CHECKING:
    from persistence.ports import Message
    from simulation.clients import Call
    from simulation.world import World

_UNITS = ("on_hand", "reserved", "held")


class Violation(Exception):
    """A promise was broken. Says which, and where."""


class Referee:
    """Follows every commit, message and answer of a run."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._database = world.storage.database
        self.models = [LedgerModel(number) for number in range(world.partitions)]
        self.violation: Violation | None = None
        self.answers = self.refusals = self.unknown = 0
        self._seen: dict[Place, int] = {}
        """The newest state of each bin that any client was told of."""
        self._first: dict[str, dict[str, Any]] = {}
        """The first answer to each key."""
        self._told: dict[str, int] = {}
        """The newest state of each bin that was broadcast, by subject, and entries by partition."""
        world.storage.on_committed = self._committed
        world.broadcast.on_message = self._published

    def blame(self, promise: str, what: str) -> None:
        """Remember the first thing that went wrong."""
        if self.violation is None:
            self.violation = Violation(f"{promise}: {what}")

    # The ledger

    def _committed(self, writer: str, entries: Sequence[Any]) -> None:
        latest_ms = self._world.clock("")() + self._world.ahead_ms_max
        for entry in entries:
            if entry.at_ms > max(latest_ms, self.models[entry.partition].at_ms):
                self.blame("P5", f"entry {entry.seq} of {entry.partition} is dated later than any clock")
            wrong = self.models[entry.partition].check(entry, writer)
            if wrong is not None:
                self.blame("P4" if "written by" in wrong else "P2", wrong)

    def seqs(self) -> list[int]:
        """Return how far each partition's ledger is."""
        return [model.seq for model in self.models]

    def floor(self, sku: str) -> dict[Place, int]:
        """Return what clients already know of a SKU's bins: nobody may be told less from now on."""
        return {place: seq for place, seq in self._seen.items() if place[1] == sku}

    # Answers

    def judge(self, call: Call, outcome: object) -> None:
        """Judge what a client was told."""
        if isinstance(outcome, Answered):
            self.answers += 1
            self._judge_answer(call, outcome)
        elif isinstance(outcome, Refused):
            self.refusals += 1
            self._judge_refusal(call, outcome)
        else:
            self.unknown += 1

    def nothing_happened(self, call: Call) -> None:
        """Judge a fault that says so, of a key that was sent once."""
        entry = self._database.keys.get(call.key)
        if entry is not None and entry.kind != "request_noted":  # That changes no stock.
            self.blame("P6", f"{call.key} ({call.operation.kind}): told that nothing happened, but it did")

    def _judge_answer(self, call: Call, outcome: Answered) -> None:
        view, kind = outcome.view, call.operation.kind
        if call.is_command and call.key not in self._database.keys:
            self.blame("P1", f"{call.key} ({kind}) is acknowledged and not in the ledger")
            return
        if call.is_command:
            if call.key not in self._first and not call.is_reuse:
                self._judge_deed(call)
            first = self._first.setdefault(call.key, view)
            if first != view:
                self.blame("P3", f"{call.key} ({kind}): the repeat's answer {view} differs from {first}")
        if call.is_reuse:
            self.blame("P3", f"{call.key} ({kind}): another body under the same key was accepted")
        for bin_ in _bins_in(view):
            self._judge_bin(call, bin_, is_now=not outcome.replayed)
        if "id" in view:
            self._judge_reservation(call, view, is_now=not outcome.replayed)

    def _judge_deed(self, call: Call) -> None:
        ledgers = [tables.ledger for tables in self._database.partitions]
        wrong = wrong_deed(call, self._database.keys[call.key], ledgers, self.models)
        if wrong is not None:
            self.blame("P1", f"{call.key} ({call.operation.kind}): {wrong}")

    def _judge_bin(self, call: Call, view: dict[str, Any], *, is_now: bool) -> None:
        place = (view["site"], view["sku"], view["location"])
        model = self.models[call.partition]
        if view["seq"] > model.seq:
            self.blame("P5", f"{place} is shown at {view['seq']}, the ledger has {model.seq}")
            return
        known = model.bin_at(place, view["seq"])
        if known != (view["seq"], *(view[unit] for unit in _UNITS)):
            self.blame("P5", f"{place} is shown as {view}, the ledger says {known}")
        if is_now and view["seq"] < call.floor.get(place, 0):
            self.blame("P5", f"{place} is shown at {view['seq']} after {call.floor[place]} was")
        self._seen[place] = max(self._seen.get(place, 0), view["seq"])

    def _judge_reservation(self, call: Call, view: dict[str, Any], *, is_now: bool) -> None:
        partition, number = address_of(view["id"])
        model = self.models[partition]
        promise = model.promises.get(number)
        if promise is None:
            self.blame("P1", f"reservation {view['id']} is acknowledged and not in the ledger")
            return
        lines = view["lines"]
        if call.operation.kind.startswith("reserve") and promise.reference != call.key:
            self.blame("P1", f"{call.key}: its reservation is {promise.reference}'s")
        if "parts" in promise.detail or not is_now:
            return
        shown = tuple(sum(line[name] for line in lines) for name in promise.ended)
        open_units = sum(allocation["open"] for line in lines for allocation in line["allocations"])
        known = model.promise_states(number, call.seqs[partition], model.seq)
        if (*shown, open_units) not in known:
            self.blame(
                "P5", f"reservation {number} of {partition} is shown as {view}, the ledger has {known}"
            )

    def _judge_refusal(self, call: Call, refused: Refused) -> None:
        entry = self._database.keys.get(call.key) if call.is_command else None
        operation = call.operation
        # Of two attempts at several partitions that run at once, one may be refused before the other decides.
        is_old = entry is not None and entry.seq <= call.seqs[entry.partition]
        is_command_done = entry is not None and entry.kind != "request_noted" and not call.is_reuse
        if is_command_done and (is_old or len(operation.skus) == 1):
            self.blame("P3", f"{call.key} ({operation.kind}) is refused ({refused.code}) and in the ledger")
        if call.is_reuse and refused.code != "idempotency_key_reused" and call.key in self._first:
            self.blame("P3", f"{call.key}: another body under the same key is refused as {refused.code}")
        is_checked = operation.kind == "reserve" and operation.skus[0] != 0 and not call.is_reuse
        if is_checked and not refused.replayed and refused.code == "insufficient_stock":
            model = self.models[call.partition]
            place = (SITE, call.skus[0], call.location or "")
            least = model.least_available(place, call.seqs[call.partition], model.seq)
            if least >= (1 if operation.flag else operation.quantity):
                self.blame("P5", f"{call.key}: refused for stock, but {least} of {place} were always there")

    # The broadcast

    def _published(self, message: Message) -> None:
        body = msgspec.msgpack.decode(message.payload)
        if message.subject.startswith("ledger."):
            model = self.models[body["partition"]]
            if body["last_seq"] > model.seq:
                self.blame(
                    "P5", f"entry {body['last_seq']} of {model.partition} is broadcast before its commit"
                )
            told = self._told.get(message.subject, 0)
            if body["first_seq"] > told + 1 and not self._world.broadcast.epoch:
                self.blame("P8", f"{message.subject} goes on at {body['first_seq']} after {told}")
            self._told[message.subject] = max(told, body["last_seq"])
            return
        place = (body["site"], body["sku"], body["location"])
        model = next(model for model in self.models if place in model.bins or model is self.models[-1])
        known = model.bin_at(place, body["seq"])
        if known != (body["seq"], *(body[unit] for unit in _UNITS)):
            self.blame("P5", f"{place} is broadcast as {body}, the ledger says {known}")

    # The end

    def judge_end(self) -> None:
        """Judge what is left when everything has come to rest."""
        self._judge_streams()
        self._judge_memory()
        self._judge_promises()
        self._judge_snapshots()

    def _judge_streams(self) -> None:
        broadcast = self._world.broadcast
        for model in self.models:
            ledger = self._database.partitions[model.partition].ledger
            told = 0
            for message in broadcast.ledger.get(f"ledger.{model.partition}", []):
                body = msgspec.msgpack.decode(message.payload)
                if body["first_seq"] > told + 1:
                    self.blame("P8", f"{message.subject} has a gap between {told} and {body['first_seq']}")
                for row in body["entries"]:
                    if row != dict(zip(ledger[0]._fields, ledger[row["seq"] - 1], strict=True)):
                        self.blame("P8", f"{message.subject}: entry {row['seq']} is not the ledger's")
                told = max(told, body["last_seq"])
            if told != model.seq:
                self.blame("P8", f"partition {model.partition} is broadcast up to {told} of {model.seq}")
            for place, history in model.bins.items():
                self._judge_subject(place, history[-1])

    def _judge_subject(self, place: Place, known: tuple[int, ...]) -> None:
        payload = self._world.broadcast.stock.get(".".join(("stock", *place)))
        body = msgspec.msgpack.decode(payload) if payload is not None else None
        if body is None or (body["seq"], *(body[unit] for unit in _UNITS)) != known:
            self.blame("P8", f"the last broadcast of {place} is {body}, the ledger says {known}")

    def _judge_memory(self) -> None:
        for model in self.models:
            host = self._world.owner_of(model.partition)
            owned = host.running.host.owned.get(model.partition) if host is not None else None
            if host is None or owned is None:
                self.blame("liveness", f"nobody owns partition {model.partition}")
                continue
            if host.running.host.gauges.drift:
                self.blame("P7", f"{host.name} counts a drift of {host.running.host.gauges.drift}")
            for (site, sku), stock in owned.state.stocks.items():
                for location, bin_ in stock.bins.items():
                    sums = tuple(sum(getattr(lot, unit) for lot in bin_.lots) for unit in _UNITS)
                    known = model.bin_at((site, sku, location), model.seq)
                    if (bin_.seq, *sums) != known:
                        self.blame("P7", f"memory has {(bin_.seq, *sums)} of {sku} {location}, not {known}")

    def _judge_promises(self) -> None:
        attempts: dict[str, list[Promise]] = {}
        opened: dict[str, int] = {}
        for model in self.models:
            host = self._world.owner_of(model.partition)
            now_ms = self._world.clock(host.name if host is not None else "")()
            for promise in model.promises.values():
                is_over = promise.expires_at_ms is not None and promise.expires_at_ms < now_ms - 1_000
                if is_over and promise.open_units:
                    self.blame("liveness", f"reservation {promise.number} is past its time and open")
                if "attempt" in promise.detail:
                    attempts.setdefault(promise.detail["attempt"], []).append(promise)
                if "home" not in promise.detail and promise.reference is not None:
                    opened[promise.reference] = opened.get(promise.reference, 0) + 1
        for reference, count in opened.items():
            if count > 1:
                self.blame("P3", f"{reference} made {count} reservations")
        for attempt, promises in attempts.items():
            self._judge_attempt(attempt, promises)

    def _judge_attempt(self, attempt: str, promises: list[Promise]) -> None:
        """A reservation over several partitions: all its shares hold, or none does."""
        decided = [promise for promise in promises if "parts" in promise.detail]
        shares = [promise for promise in promises if "home" in promise.detail]
        if not decided:
            for share in shares:
                if share.open_units or share.is_confirmed:
                    self.blame("P1", f"a share of attempt {attempt}, which was not decided, still holds")
            return
        named = {(part[0], part[1]) for part in decided[0].detail["parts"]}
        held = {(share.partition, share.number) for share in shares if share.is_confirmed}
        if len(decided) > 1 or named - held:
            self.blame("P1", f"attempt {attempt} was decided, but shares {sorted(named - held)} do not hold")

    def _judge_snapshots(self) -> None:
        for model in self.models:
            tables = self._database.partitions[model.partition]
            for rows in tables.lots.values():
                for place in {(row.site, row.sku, row.location) for row in rows.values()}:
                    stored = [row for row in rows.values() if (row.site, row.sku, row.location) == place]
                    sums = tuple(sum(getattr(row, unit) for row in stored) for unit in _UNITS)
                    known = model.bin_at(place, tables.snapshot_seq)
                    if sums != known[1:]:
                        self.blame("P7", f"the snapshot has {sums} of {place}, the ledger {known}")


def _bins_in(view: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the bins that an answer shows."""
    if "bins" in view:
        return list(view["bins"])
    if "from" in view:
        return [view["from"], view["to"]]
    if "bin" in view:
        return [view["bin"]]
    return [view] if "location" in view and "seq" in view else []

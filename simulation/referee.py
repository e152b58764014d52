"""Judges what clients and subscribers saw against the ledger, by a model of its own.

The first thing that breaks a promise (P1 to P8 of the README) is a `Violation`, and the run ends.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from actors.outcomes import Answered
from engine.refusals import Refused
from simulation.deeds import wrong_deed
from simulation.ending import Ending
from simulation.model import UNITS, LedgerModel, Place, address_of
from simulation.refusing import wrong_refusal

if TYPE_CHECKING:
    from persistence.ports import Message
    from simulation.clients import Call
    from simulation.world import SimulatedHost, World


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
        self.digest = hashlib.blake2b(digest_size=12)
        """Of what every client was told, in order."""
        self._seen: dict[Place, int] = {}
        """The newest state of each bin that any client was told of."""
        self._first: dict[str, dict[str, Any]] = {}
        """The first answer to each key."""
        self._given_up: list[Call] = []
        """Of which a client was told that nothing happened, and left it at that."""
        self._told: dict[str, int] = {}
        """The newest state of each bin that each host broadcast, and entries by subject."""
        world.on_kill = self.examine
        world.storage.on_committed = self._committed
        world.broadcast.on_message = self._published

    def blame(self, promise: str, what: str) -> None:
        """Remember the first thing that went wrong."""
        if self.violation is None:
            self.violation = Violation(f"{promise}: {what}")

    def examine(self, host: SimulatedHost) -> None:
        """Judge what a living host says of itself: one that mends its memory had something wrong in it."""
        core = host.running.host
        if core.gauges.rebuilds or core.gauges.drift or core.refused:
            found = f"{core.gauges.rebuilds} rebuilds, a drift of {core.gauges.drift}"
            self.blame("P7", f"{host.name} found fault with itself: {found}, refused {core.refused}")

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
        told = tuple(outcome) if isinstance(outcome, Answered | Refused) else str(outcome)
        self.digest.update(repr((call.key, type(outcome).__name__, told)).encode())
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

    def given_up(self, call: Call) -> None:
        """Remember a key that was sent once, and never will be again: nothing may come of it later either."""
        self._given_up.append(call)

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
        if not call.is_command:
            self._judge_freshness(call, view)
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
        if known != (view["seq"], *(view[unit] for unit in UNITS)):
            self.blame("P5", f"{place} is shown as {view}, the ledger says {known}")
        if is_now and view["seq"] < call.floor.get(place, 0):
            self.blame("P5", f"{place} is shown at {view['seq']} after {call.floor[place]} was")
        self._seen[place] = max(self._seen.get(place, 0), view["seq"])

    def _judge_freshness(self, call: Call, view: dict[str, Any]) -> None:
        """A read shows all that was in the ledger when it was asked."""
        model, seq = self.models[call.partition], call.seqs[call.partition]
        shown = {bin_["location"]: bin_["seq"] for bin_ in _bins_in(view)}
        if call.operation.kind == "read_stock":
            missing = model.bins_known(view["site"], view["sku"], seq) - shown.keys()
            if missing:
                self.blame("P5", f"{call.key}: {view['sku']} is shown without {sorted(missing)}")
        for location, shown_seq in shown.items():
            known = model.bin_at((view["site"], view["sku"], location), seq)
            if shown_seq < known[0]:
                self.blame("P5", f"{view['sku']} {location} is shown at {shown_seq} after {known[0]}")

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
        if call.is_reuse or refused.replayed:
            return
        latest_ms = self._world.clock("")() + self._world.ahead_ms_max
        wrong = wrong_refusal(call, refused.code, self.models, latest_ms)
        if wrong is not None:
            self.blame("P5", f"{call.key} ({operation.kind}) is refused as {refused.code}: {wrong}")

    # The broadcast

    def _published(self, message: Message, connection: int) -> None:
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
        if known != (body["seq"], *(body[unit] for unit in UNITS)):
            self.blame("P5", f"{place} is broadcast as {body}, the ledger says {known}")
        # One host's states of a bin follow each other. One that was deposed may speak late: others mend that.
        own = f"{message.subject} of connection {connection}"
        if body["seq"] < self._told.get(own, 0):
            self.blame("P8", f"{own} goes back to {body['seq']} after {self._told[own]}")
        self._told[own] = body["seq"]

    def judge_end(self) -> None:
        """Judge what is left when everything has come to rest."""
        for call in self._given_up:
            self.nothing_happened(call)
        Ending(self._world, self.models, self.blame).judge()


def _bins_in(view: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the bins that an answer shows."""
    if "bins" in view:
        return list(view["bins"])
    if "from" in view:
        return [view["from"], view["to"]]
    if "bin" in view:
        return [view["bin"]]
    return [view] if "location" in view and "seq" in view else []

"""Judges what clients and subscribers saw against the ledger, by a model of its own.

Every entry must have been asked for (`causes`) and do what was asked (`deeds`), every answer show what the
ledger says (`answers`), every refusal be right at some prefix (`refusing`), and in the end everything that is
kept agree (`ending`). The first thing that breaks a promise (P1 to P8 of the README) is a `Violation`, and
the run ends.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from actors.outcomes import Answered, LedgerRefused
from engine.refusals import Refused
from simulation.answers import wrong_answer, wrong_read
from simulation.causes import Causes, Group
from simulation.ending import Ending
from simulation.listening import Listening
from simulation.model import LedgerModel
from simulation.refusing import wrong_refusal

if TYPE_CHECKING:
    from engine.entries import Entry
    from simulation.clients import Call
    from simulation.launching import SimulatedHost
    from simulation.world import World


class Violation(Exception):
    """A promise was broken. Says which, and where."""


class Referee:
    """Follows every commit, message and answer of a run."""

    def __init__(self, world: World, *, must_answer: bool = False) -> None:
        self._world = world
        self._must_answer = must_answer
        """Whether nothing goes wrong: partitions may move on purpose, and no request fails for that."""
        self.models = [LedgerModel(number) for number in range(world.partitions)]
        self.causes = Causes(self.models)
        self.violation: Violation | None = None
        self.answers = self.refusals = self.unknown = 0
        self.digest = hashlib.blake2b(digest_size=12)
        """Of what every client was told, in order."""
        self._first: dict[str, dict[str, Any]] = {}
        """The first answer to each key."""
        self._given_up: list[Call] = []
        """Of which a client was told that nothing happened, and left it at that."""
        self._refused: list[tuple[Call, str, list[int]]] = []
        """What was refused, as what, and how often each partition had been claimed by then."""
        self._listening = Listening(world, self.models, self.blame)
        world.on_kill = self.examine
        world.storage.on_committed = self._committed
        world.storage.on_saved = self._saved
        world.storage.on_replaced = self._replaced
        world.broadcast.on_message = self._listening.published

    def blame(self, promise: str, what: str) -> None:
        """Remember the first thing that went wrong."""
        if self.violation is None:
            self.violation = Violation(f"{promise}: {what}")

    def look(self, *, is_quiet: bool) -> None:
        """Judge what must not last while nothing goes wrong."""
        self._listening.judge_time(is_quiet=is_quiet)

    def set_back(self) -> str | None:
        """Say of which bin the last message is not the newest."""
        return next((f"{subject} is set back" for subject in self._listening.set_back), None)

    def examine(self, host: SimulatedHost) -> None:
        """Judge what a living host says of itself: it finds fault with what was harmed, and nothing else."""
        core, doubting = host.running.host, self._world.harming.doubting
        for number, misfit in core.refused.items():
            if (number, misfit.seq) not in doubting.places(self._world.loop.time()):
                self.blame("P7", f"{host.name} refuses a ledger that holds: {misfit}")
        if core.gauges.drift and not doubting.may_drift(host):
            self.blame("P7", f"{host.name} found fault with itself: a drift of {core.gauges.drift}")

    def _replaced(self, number: int, epoch: int) -> None:
        """Judge that a snapshot is written anew from the ledger."""
        if not self._world.harming.doubting.may_rebuild(number, epoch):
            self.blame("P7", f"the snapshot of {number} was rebuilt, and nothing of it was harmed")
        self._world.loop.effects["snapshot rebuilt after a row was harmed"] += 1
        self._world.harming.replaced(number)

    def _judge_served(self, call: Call, outcome: object) -> None:
        """Judge that nobody serves a ledger that does not hold, and that callers are told where."""
        harming, loop = self._world.harming, self._world.loop
        if isinstance(outcome, LedgerRefused):
            loop.effects["request refused, the ledger does not hold"] += 1
            told = [f"Partition {number} is not served: its ledger does not hold at entry {seq}:"
                    for number, seq in harming.doubting.places(loop.time() - call.lasted_s)]  # fmt: skip
            if not str(outcome).startswith(tuple(told)):
                self.blame("P7", f"{call.key} is told of a ledger that holds: {outcome}")
        elif isinstance(outcome, Answered) or (
            isinstance(outcome, Refused) and call.operation.kind != "reserve_several"
        ):
            number = call.partition if call.subject is None else call.subject[0]
            if harming.is_refused_since(number, loop.time() - call.lasted_s):
                self.blame("P7", f"{call.key} is served in partition {number}, whose ledger does not hold")

    # The ledger

    def _committed(self, writer: str, entries: Sequence[Entry]) -> None:
        latest_ms = self._world.latest_ms(writer)
        start = 0
        while start < len(entries):
            first = entries[start]
            model = self.models[first.partition]
            group = entries[start : start + first.span]
            start += len(group)
            if not group or len(group) < first.span or group[-1].partition != first.partition:
                self.blame("P3", f"entry {first.seq} of {first.partition} spans {first.span}, not so many")
                return
            if first.at_ms > max(latest_ms, model.at_ms):
                place = f"entry {first.seq} of {first.partition}"
                self.blame("P5", f"{place} is dated later than the clock of {writer}")
            if first.kind == "partition_claimed" and self._world.harming.is_harmed(
                first.partition, first.seq - 1
            ):
                # Who claims does not believe that entry's time, and goes by the one before.
                model.at_ms = max(min(model.at_ms, first.at_ms), *(row.at_ms for row in model.rows[-2:-1]), 0)
            cause = self.causes.wrong(group)
            for entry in group:
                wrong = model.check(entry, writer)
                if wrong is not None:  # Comes first: what was asked is compared in what the model says.
                    self.blame("P4" if "written by" in wrong else "P2", wrong)
            if cause is not None:
                place = f"entry {first.seq} of {first.partition} ({first.kind})"
                self.blame(cause[0], f"{cause[1]}: {place}")

    def _saved(self, epochs: dict[int, tuple[int, int, int]]) -> None:
        """Judge the moment of a snapshot; its rows are compared in the end."""
        for number, (epoch, seq, _) in epochs.items():
            model = self.models[number]
            if epoch != model.epoch:
                self.blame(
                    "P7", f"the snapshot of {number} is written by epoch {epoch}, {model.epoch} owns it"
                )
            if seq > model.seq:
                self.blame("P7", f"the snapshot of {number} is of {seq}, the ledger at {model.seq}")

    def sent(self, call: Call) -> None:
        """Note how far each partition's ledger is when a client sends a request."""
        call.seqs = [model.seq for model in self.models]
        self.causes.sent(call)

    # Answers

    def judge(self, call: Call, outcome: object) -> None:
        """Judge what a client was told."""
        told = tuple(outcome) if isinstance(outcome, Answered | Refused) else str(outcome)
        self.digest.update(msgspec.msgpack.encode((call.key, type(outcome).__name__, told)))
        self._judge_served(call, outcome)
        if isinstance(outcome, Answered):
            self.answers += 1
            self._judge_answer(call, outcome)
        elif isinstance(outcome, Refused):
            self.refusals += 1
            self._judge_refusal(call, outcome)
        else:
            self.unknown += 1
            if self._must_answer:
                self.blame("liveness", f"{call.key} fails while nothing goes wrong: {told}")

    def nothing_happened(self, call: Call) -> None:
        """Judge a fault that says so, of a key that was sent once."""
        if self._effects(call):
            self.blame("P6", f"{call.key} ({call.operation.kind}): told that nothing happened, but it did")

    def _effects(self, call: Call) -> list[Group]:
        """Return what was made of a request and changes stock."""
        return [group for group in self.causes.of_key(call.key) if group.first.kind != "request_noted"]

    def given_up(self, call: Call) -> None:
        """Remember a key that was sent once, and never will be again: nothing may come of it later either."""
        self._given_up.append(call)

    def _judge_refused(self, call: Call, code: str, claims: list[int]) -> None:
        """Judge in the end that what was refused was not done later.

        A refusal is remembered in memory only (ADR 5). So where another host has taken the partition since,
        what was still under way of the same request may be decided anew.
        """
        for group in self._effects(call):
            later = self.models[group.partition].claims[claims[group.partition] :]
            if not later or later[0][0] > group.first.seq:
                told = f"told that it is refused as {code}, but it did"
                self.blame("P3", f"{call.key} ({call.operation.kind}): {told}")
            self._world.loop.effects["refused, and done after another host took over"] += 1

    def _judge_answer(self, call: Call, outcome: Answered) -> None:
        view, about = outcome.view, f"{call.key} ({call.operation.kind})"
        if not call.is_command:
            wrong = wrong_read(call, view, self.models)
        elif call.is_reuse:
            wrong = ("P3", "another body under the same key was accepted")
        else:
            first = self._first.setdefault(call.key, view)
            if first != view:
                wrong = ("P3", f"the repeat's answer {view} differs from {first}")
            elif first is not view:
                wrong = None  # It was judged when it was given first.
            else:
                wrong = wrong_answer(call, view, self.models, self.causes)
        if wrong is not None:
            self.blame(wrong[0], f"{about}: {wrong[1]}")

    def _judge_refusal(self, call: Call, refused: Refused) -> None:
        made = self.causes.made.get(call.key) if call.is_command else None
        about = f"{call.key} ({call.operation.kind}) is refused as {refused.code}"
        if refused.code == "idempotency_key_reused":
            if not call.is_reuse:
                self.blame("P3", f"{about}, its body is the same")
            return
        if call.is_reuse:
            self.blame("P3", f"{about}, it is another body under the same key")
            return
        if made is not None and made.first.kind != "request_noted":
            # Of two attempts at several partitions that run at once, one may be refused before the other
            # decides.
            if made.first.seq <= call.seqs[made.partition] or call.operation.kind != "reserve_several":
                self.blame("P3", f"{about}, and in the ledger")
        elif "changed" in refused.fields and call.subject is not None:
            # Shares answer one by one: the refusal of one says which others were changed.
            home = self.models[call.subject[0]].promises[call.subject[1]]
            done = {sku for sku in self.causes.changed_by(call.key, home) if call.sku in (None, sku)}
            if done != set(refused.fields["changed"]):
                self.blame("P6", f"{about}, told that {refused.fields['changed']} changed, but {done} did")
        elif call.is_command and not call.operation.twice:
            self._refused.append((call, str(refused.code), [len(model.claims) for model in self.models]))
        # Of several partitions one may repeat what it said at first, when the others do what is new.
        is_repeat = refused.replayed or "changed" in refused.fields
        since = self.causes.asked_seqs[call.key] if is_repeat else call.seqs
        wrong = wrong_refusal(call, refused, self.models, since)
        if wrong is not None:
            self.blame("P5", f"{about}: {wrong}")

    def judge_end(self) -> None:
        """Judge what is left when everything has come to rest."""
        for call in self._given_up:
            self.nothing_happened(call)
        for refused in self._refused:
            self._judge_refused(*refused)
        Ending(self._world, self.models, self.blame, self._listening).judge()
